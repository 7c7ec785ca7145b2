"""Routes: what the file says (spec), made into functions (compiler), found by model (table)."""
