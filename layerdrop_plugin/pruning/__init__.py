"""Plans, the rules that make them, and the surgery and gates that apply them. Knows nothing of tasks."""
