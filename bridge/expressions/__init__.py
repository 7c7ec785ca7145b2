"""The expressions of a routes file: paths, conditions, templates and slots, compiled to closures.

    text or data of the file ─▶ compile_… ─▶ a function of a Scope

Everything is decided when the file is loaded. Compilers do not raise: they add each error of an expression to
a `RuleErrors`, with the keys and indexes that lead to the error.
"""
