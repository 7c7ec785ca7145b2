"""Secrets in a file, as the declarations of its keys mark them.

    password: option(TEXT, …, secret=True)               the text is secret, wherever it comes from
    headers: option(HEADERS, …, secret=EXTERNAL)         only texts from outside, such as ${KEY}, are secret

A mark holds for everything below the key, unless a declaration there has a mark of its own.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

from bridge.core.strings import Interpolated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.problems import Location
    from bridge.config.yaml_tree import Node

__all__ = ["EXTERNAL", "Secrecy", "basic_pair", "external_texts", "secret_texts", "url_passwords"]

EXTERNAL: Final = "external"
_USER_INFO = re.compile(r"://(?P<user>[^\s/?#@:]*):(?P<password>[^\s/?#]*)@")

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
        elif "://" in text:  # the address in a URL is not secret, its password is, and its query may be
            yield from (value for value in values if value in text.partition("?")[2])
            yield from url_passwords(text)
        elif node.secret:
            yield from values


def external_texts(tree: Node) -> Iterator[tuple[Location, str]]:
    """Yield the texts from outside the file, such as ${KEY}, with the locations where they are inserted.

    No problem at such a location quotes the text: a file that is named by mistake, or a variable at the wrong
    key, may contain anything.
    """
    for node in tree.walk():
        if isinstance(node.value, Interpolated):
            yield from ((node.location, value) for value in node.value.values if value)


def url_passwords(url: str) -> Iterator[str]:
    """Yield the password of a URL as written and as sent, and the pair for `Authorization: Basic`."""
    if (match := _USER_INFO.search(url)) is not None and match["password"]:
        yield match["password"]
        yield unquote(match["password"])
        yield basic_pair(unquote(match["user"]), unquote(match["password"]))


def basic_pair(user: str, password: str) -> str:
    """Return a name and a password as `Authorization: Basic` carries both."""
    return b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode()
