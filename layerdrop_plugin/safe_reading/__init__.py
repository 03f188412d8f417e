"""Files that may be damaged, or made to do harm: what they hold is checked before anything is made of it."""
