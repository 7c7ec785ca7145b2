"""Reading a YAML file with the places of everything in it, and checking it against declared shapes."""
