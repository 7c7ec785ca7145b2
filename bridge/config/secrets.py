"""Secrets in a file, as the declarations of its keys mark them.

    password: option(TEXT, …, secret=True)               the text is secret, wherever it comes from
    headers: option(HEADERS, …, secret=EXTERNAL)         only texts from outside, such as ${KEY}, are secret

A mark holds for everything below the key, unless a declaration there has a mark of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from bridge.core.strings import Interpolated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.yaml_tree import Node

__all__ = ["EXTERNAL", "Secrecy", "secret_texts"]

EXTERNAL: Final = "external"
Secrecy = bool | Literal["external"]


def secret_texts(tree: Node) -> Iterator[str]:
    """Yield the secret texts of a tree that was checked against its declarations."""
    for node in tree.walk():
        text = node.value
        if not isinstance(text, str):
            continue
        values = [value for value in text.values if value] if isinstance(text, Interpolated) else []
        if node.secret is True:
            yield from (str(text), *values)
        elif "://" in text:  # the address in a URL is not secret, its query may be
            yield from (value for value in values if value in text.partition("?")[2])
        elif node.secret:
            yield from values
