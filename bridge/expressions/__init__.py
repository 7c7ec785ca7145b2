"""The small language inside a route: paths, conditions, templates and slots, compiled to closures.

    text or data of the file ─▶ compile_… ─▶ a function of a Scope

Everything is decided at load. Faults are gathered, with the way to them, not raised.
"""
