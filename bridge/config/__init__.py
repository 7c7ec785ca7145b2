"""Configuration files: YAML with locations, checked against declarations of keys, all problems at once."""
