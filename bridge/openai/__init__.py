"""OpenAI's side: bodies in, replies and errors out.

Sources: OpenAI's API reference (chat completions, completions, models, streaming, errors) and what its
Python and Node clients accept.
"""
