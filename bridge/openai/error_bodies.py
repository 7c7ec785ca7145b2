"""What a failed answer says: OpenAI's error shape, and the shapes that other servers share.

{"error": {"message": …}}   {"error": "…"}   {"detail": [{"loc": …, "msg": …}]}   {"msg": …}   text, HTML
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

__all__ = ["ErrorDetails", "excerpt", "has_error", "parse_error_body"]

_MOST = 500  # characters of a body that are shown to a person


class ErrorDetails(NamedTuple):
    """What could be found of message, type, code and param; the message is never empty."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


def parse_error_body(doc: Any, text: str, status: int) -> ErrorDetails:
    """Read a failed answer: `doc` is its JSON, MISSING where it is none, and `text` its body."""
    if isinstance(doc, list) and len(doc) == 1:
        doc = doc[0]  # Gemini wraps the error of an array stream in an array
    if isinstance(doc, dict):
        inner = doc["error"] if isinstance(doc.get("error"), dict) else doc
        message = _message(inner) or _message(doc)
        if message:
            return ErrorDetails(
                message, _word(inner.get("type")), _word(inner.get("code")), _word(inner.get("param"))
            )
    said = excerpt(_strip_html(text))
    if 200 <= status < 300:
        return ErrorDetails(
            "the upstream reported a failure" + (f": {said}" if said else " without a word of it")
        )
    return ErrorDetails(f"the upstream answered {status}" + (f": {said}" if said else " with an empty body"))


def has_error(doc: Any) -> bool:
    """Whether a body or frame is nothing but an error in the shape most servers share."""
    error = doc.get("error") if isinstance(doc, dict) else None
    return error is True or (isinstance(error, str | dict | list) and bool(error))


def excerpt(text: str, most: int = _MOST) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(text[: most * 4].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _message(doc: dict[str, Any]) -> str:
    for name in _NAMES:
        if found := _text(doc.get(name)):
            return found
    return ""


def _text(value: Any) -> str:
    match value:
        case str():
            return value.strip()
        case {"msg": str(message), "loc": list(steps)}:
            return f"{'.'.join(map(str, steps))}: {message}"
        case dict():
            return _message(value)
        case list():
            return "; ".join(text for item in value if (text := _text(item)))
        case _:
            return ""


def _word(value: Any) -> str | None:
    """A code or type as OpenAI's clients take it: a string or null."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _strip_html(text: str) -> str:
    """What a person reads of a page: its title and text."""
    if "<" not in text:
        return text
    page = re.sub(r"(?is)<(style|script)\b.*?</\1>|<!--.*?-->", " ", text[:20_000])
    return re.sub(r"(?s)<[^>]*>", " ", page)


# Where servers put their words, the likelier first.
_NAMES = (
    "message", "error", "msg", "detail", "error_msg", "error_message", "errors", "err", "error_description",
    "errorMessage", "reason", "title", "description",
)  # fmt: skip
