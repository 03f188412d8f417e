"""Plans, the rules that make them, and the surgery and gates that apply them. This folder does not use tasks."""
