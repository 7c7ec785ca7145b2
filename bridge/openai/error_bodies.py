"""Readers of error responses: OpenAI's shape, and the shapes that other servers share.

{"error": {"message": …}}   {"error": "…"}   {"detail": [{"loc": …, "msg": …}]}   {"msg": …}   text, HTML
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core import json

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["ErrorDetails", "excerpt", "has_error", "parse_error_body"]

_MAX_EXCERPT = 500  # characters of a body in an error text
_MAX_MORE = 16_384  # bytes of further members of an error
_OPENAI_MEMBERS = frozenset({"message", "type", "code", "param"})
_STATUS_MEMBERS = ("status", "status_code", "statusCode", "http_status", "httpStatus", "code")
_SEPARATORS = str.maketrans("", "", "-_. ")
_AUTHENTICATION = frozenset({
    "authenticationerror", "authenticationfailed", "invalidapikey", "invalidauthentication",
    "invalidkeyexception", "unauthenticated", "unauthorized",
})  # fmt: skip


class ErrorDetails(NamedTuple):
    """The details of an error response."""

    message: str  # never empty
    type: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None  # that the body itself names
    more: JSONObject = {}  # further members of OpenAI's `error` object  # noqa: RUF012

    @property
    def is_authentication(self) -> bool:
        """Return whether the error concerns the credentials of the request."""
        words = (each.lower().translate(_SEPARATORS) for each in (self.type, self.code) if each)
        return self.status in (401, 403) or any(word in _AUTHENTICATION for word in words)


def parse_error_body(doc: Any, text: str, status: int) -> ErrorDetails:
    """Return the details of an error response: `doc` is its JSON or MISSING, `text` its body."""
    if isinstance(doc, list) and len(doc) == 1:
        doc = doc[0]  # Gemini sends the error of a stream that is a JSON array in an array
    if isinstance(doc, dict):
        inner = doc["error"] if isinstance(doc.get("error"), dict) else doc
        message = _message(inner) or _message(doc)
        if message:
            return ErrorDetails(
                message,
                _word(inner.get("type")),
                _word(inner.get("code")),
                _word(inner.get("param")),
                _own_status(inner) or _own_status(doc),
                {} if inner is doc else _further_members(inner),
            )
    body = excerpt(_strip_html(text))
    if 200 <= status < 300:
        return ErrorDetails(
            "the upstream reported a failure" + (f": {body}" if body else " without a message")
        )
    return ErrorDetails(f"the upstream responded {status}" + (f": {body}" if body else " with an empty body"))


def _own_status(doc: JSONObject) -> int | None:
    """Return the HTTP status of an error that a body names; None if the body names no such status."""
    for name in _STATUS_MEMBERS:
        value = doc.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if type(value) is int and 400 <= value <= 599:
            return value
    return None


def _further_members(error: JSONObject) -> JSONObject:
    """Return the members of an error besides OpenAI's four; {} if they are large."""
    more = {name: value for name, value in error.items() if name not in _OPENAI_MEMBERS}
    return more if more and len(json.dumps(more)) <= _MAX_MORE else {}


def has_error(doc: Any) -> bool:
    """Return whether a body or frame is an error in the shape that most servers share."""
    error = doc.get("error") if isinstance(doc, dict) else None
    return error is True or (isinstance(error, str | dict | list) and bool(error))


def excerpt(text: str, limit: int = _MAX_EXCERPT) -> str:
    """Return a text on one line, cut at `limit` characters."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _message(doc: dict[str, Any]) -> str:
    return next((text for name in _MESSAGE_MEMBERS if (text := _text(doc.get(name)))), "")


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
    """Return a code or type as OpenAI's clients expect it: a string or null."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _strip_html(text: str) -> str:
    """Return the title and text of an HTML page."""
    if "<" not in text:
        return text
    return _TAG.sub(" ", _HIDDEN.sub(" ", text[:_MAX_PAGE]))


_MAX_PAGE = 20_000  # characters
# What lacks its end hides the rest of the page, as in browsers. Without `\Z`, and with `>` in place of `<` in
# the set, every beginning would be searched for an end: work with the square of the page.
_HIDDEN = re.compile(r"<(style|script)\b.*?(?:</\1>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


# The members in which servers send messages, the most frequent first.
_MESSAGE_MEMBERS = (
    "message", "error", "msg", "detail", "error_msg", "error_message", "errors", "err", "error_description",
    "errorMessage", "reason", "title", "description",
)  # fmt: skip
