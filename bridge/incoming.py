"""A client's request, no more than its parts: aiohttp's own makes much that the bridge does not ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

__all__ = ["Client", "Request"]


class Client(Protocol):
    """The connection that a request came on."""

    transport: asyncio.Transport | None

    @property
    def writing_paused(self) -> bool:
        """Whether the client is to be waited for."""

    async def drained(self) -> None:
        """Wait until it takes more."""


class Request:
    """One request. `answered`: some of its reply was sent.

    `_finish`, `_cancel` and `_task` are what aiohttp's server looks for in what it calls a request.
    """

    __slots__ = (
        "_task",
        "answered",
        "content",
        "headers",
        "keep_alive",
        "method",
        "path",
        "protocol",
        "version",
    )

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: Client,
        writer: object,
        task: asyncio.Task[None],
    ) -> None:
        self._task = task
        self.protocol = protocol
        self.method = message.method
        self.headers: Mapping[str, str] = message.headers
        self.version: tuple[int, int] = message.version
        self.keep_alive = not message.should_close
        self.content = payload
        self.answered = False
        target = message.path
        plain = target.startswith("/") and "%" not in target and "?" not in target and "#" not in target
        self.path = target if plain else message.url.path

    def _finish(self) -> None:
        """Nothing is left behind."""

    def _cancel(self, error: BaseException) -> None:
        self.content.set_exception(error)
