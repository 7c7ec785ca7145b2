"""Routes: the declared keys of a file (spec), their compilation (compile), the results (rules), the table."""
