"""Responses of the demo servers: a JSON value, or pieces that are sent one at a time."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from aiohttp import web

from bridge.core.json import dumps

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

__all__ = ["json", "stream"]


def json(value: object, *, status: int = 200) -> web.Response:
    """Return a response of `application/json` without a charset, as FastAPI sends it."""
    return web.Response(body=dumps(value), status=status, content_type="application/json")


async def stream(
    request: web.Request, pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send each piece as it is generated. When the client disconnects, close the generator."""
    response = web.StreamResponse(headers=headers)
    async with aclosing(pieces):
        await response.prepare(request)
        async for piece in pieces:
            await response.write(piece)
    return response
