"""Sources: one module each, from files as they were logged to a table of documented fields."""
