"""Faults of an upstream at every stage of its response, and what the official client gets of each."""
