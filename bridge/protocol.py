"""What aiohttp's server does by itself, in the bridge's manner: requests that are no HTTP get an envelope."""

from __future__ import annotations

import logging
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bridge.errors import BridgeError, RequestError
from bridge.incoming import Request
from bridge.logs import log
from bridge.replying import Dates, Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["make_server"]


class _Handler(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        """Go on reading, if that was paused: aiohttp asks for it with every body, though it was not."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    async def drained(self) -> None:
        """Wait until the client takes more."""
        await self._drain_helper()

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        """Answer what aiohttp could not read, or what broke on its way to our handler."""
        if request.answered:
            raise ConnectionError("part of an answer was sent already")
        if status < 500:
            said = "the request is not HTTP as it should be"
            error: BridgeError = RequestError(status, said, code="bad_request")
        else:
            error = BridgeError(500, "the bridge failed to carry this request out", code="internal_error")
            log("internal error", logging.ERROR, error=type(exc).__name__)
        name = f"req_{token_hex(16)}"
        log("refused", id=name, status=status, error=error.code)
        reply = Reply(request, name, None, Dates()).failed(error)
        reply.keep_alive = False
        return reply


class _Server(web.Server):
    """Makes a handler for each connection."""

    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


def make_server(handle: Callable[[Request], Awaitable[Reply]]) -> web.Server:
    """The server of the front."""
    quiet = logging.getLogger("bridge.http")  # what clients do wrong is told in our own lines
    quiet.setLevel(logging.CRITICAL + 1)
    return _Server(
        handle,  # type: ignore[arg-type] # what it takes and gives is what aiohttp's own do, by their names
        request_factory=Request,  # type: ignore[arg-type]
        access_log=None,
        logger=quiet,
        # A client that leaves must end its upstream's work: aiohttp cancels a handler only if told to.
        handler_cancellation=True,
        # Bodies are taken as they are; one that is compressed is refused by name.
        auto_decompress=False,
    )
