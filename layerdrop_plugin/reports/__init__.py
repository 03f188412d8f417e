"""Pages that people read: a table, a picture and what they come from, made of records in JSON files."""
