"""The bridge: an OpenAI front before any model server, by rules in YAML."""

__version__ = "0.1.0"
