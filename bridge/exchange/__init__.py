"""One client's request and its reply, carried out by objects that do no I/O.

    Exchange ─▶ requests to send    start, feed, close ◀─ what came back    bytes for the client ─▶

The clock, ids and bytes arrive as arguments, so a whole conversation is plain calls.
"""
