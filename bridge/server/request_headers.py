"""The headers of a client's request that the API reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs

from bridge.core.errors import RequestError
from bridge.server.request_body import check_content_encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.server.request import Request

__all__ = ["allowed_origin", "authorization", "check_method", "check_post", "request_id"]

_MAX_REQUEST_ID_LENGTH = 128  # characters of a client's X-Request-Id
# The content types with which browsers send requests of any page without a preflight request (Fetch, 2.2.2).
_TYPES_OF_ANY_PAGE = ("", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded")
_KEY_HEADERS = ("X-Api-Key", "Api-Key")  # of Anthropic's clients, and of Azure's


def allowed_origin(request: Request, allowed: Sequence[str]) -> str | None:
    """Return the origin of the page that sends the request, if its pages may read responses."""
    origin = request.headers.get(hdrs.ORIGIN)
    return origin if origin in allowed or "*" in allowed else None


def check_post(request: Request, origin: str | None) -> None:
    """Raise RequestError (403, 405, 415) for a request that is refused by its headers."""
    check_method(request, hdrs.METH_POST)
    if hdrs.ORIGIN in request.headers and origin is None:
        _check_origin(request)
    if encoding := request.headers.get(hdrs.CONTENT_ENCODING):
        check_content_encoding(encoding)


def check_method(request: Request, *allowed: str) -> None:
    """Raise RequestError (405) for another method."""
    if request.method not in allowed:
        message = f"{request.method} is not allowed for {request.path}: use {allowed[0]}"
        error = RequestError(405, message, code="method_not_allowed")
        error.headers[hdrs.ALLOW] = ", ".join(allowed)
        raise error


def _check_origin(request: Request) -> None:
    """Raise RequestError (403) for a request that a page of any origin could send."""
    content_type = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if content_type in _TYPES_OF_ANY_PAGE:
        message = (
            "the origin of the page is not allowed: send application/json, or name the origin in server.cors"
        )
        raise RequestError(403, message, code="origin_not_allowed")


def authorization(request: Request) -> str | None:
    """Return the key of a client as an Authorization header, whatever header the client uses."""
    headers = request.headers
    authorization = headers.get(hdrs.AUTHORIZATION)
    if authorization is not None:
        return authorization
    key = next((headers[name] for name in _KEY_HEADERS if name in headers), None)
    return None if key is None else f"Bearer {key}"


def request_id(request: Request, id_: str) -> str:
    """Return the client's request id if it can be logged and sent back as it is, else a new one."""
    sent = request.headers.get("X-Request-Id")
    if not sent or len(sent) > _MAX_REQUEST_ID_LENGTH or not sent.isascii():
        return f"req_{id_}"
    safe = all(character.isalnum() or character in "-_.:/+=@" for character in sent)
    return sent if safe else f"req_{id_}"
