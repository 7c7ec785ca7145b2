"""The way back to the client: a head that is held until there is something to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from bridge import json

if TYPE_CHECKING:
    from bridge.errors import BridgeError

__all__ = ["Reply"]


class Reply:
    """One reply: whole, or in pieces. `id` is the request's, `cors` the origin that may read it."""

    __slots__ = ("_request", "_stream", "cors", "headers", "id", "status")

    def __init__(self, request: web.BaseRequest, id: str, cors: str | None) -> None:  # noqa: A002
        self._request = request
        self._stream: web.StreamResponse | None = None
        self.id = id
        self.cors = cors
        self.status = 0
        self.headers = {"X-Request-Id": id, "Server": "bridge"}
        if cors is not None:
            self.headers |= {
                "Access-Control-Allow-Origin": cors,
                "Access-Control-Expose-Headers": "X-Request-Id, X-Bridge-Route, X-Bridge-Dropped",
                "Vary": "Origin",
            }

    async def whole(self, status: int, body: bytes, content_type: str = "application/json") -> web.Response:
        """The reply in one piece."""
        self.status = status
        headers = {**self.headers, "Content-Type": content_type}
        return web.Response(status=status, body=body, headers=headers)

    async def failed(self, error: BridgeError) -> web.Response:
        """An error's envelope, under its own status."""
        self.headers |= error.headers
        if error.retry_after is not None:
            self.headers["Retry-After"] = error.retry_after
        if error.status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"
        response = await self.whole(error.status, json.dumps(error.envelope))
        if not self._request.content.at_eof():
            response.force_close()  # what is left of the body is not read
        return response

    async def preflight(self) -> web.Response:
        """What a browser asks before a page may call."""
        self.headers |= {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": self._request.headers.get("Access-Control-Request-Headers", "*"),
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=self.headers)

    async def write(self, data: bytes, content_type: str) -> None:
        """A piece of a stream; the first one brings the head."""
        if self._stream is None:
            self.status = 200
            self._stream = web.StreamResponse(
                headers={
                    **self.headers,
                    "Content-Type": content_type,
                    "Cache-Control": "no-cache",
                    "X-Accel-Buffering": "no",
                }
            )
            await self._stream.prepare(self._request)
        await self._stream.write(data)

    async def end(self) -> web.StreamResponse:
        """The end of a stream."""
        assert self._stream is not None
        await self._stream.write_eof()
        return self._stream
