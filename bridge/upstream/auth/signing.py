"""What every kind of credential is made with: clocks, small calls, and places in a request.

one waiter leaves ─╮
waiter ─────────── shield ─── one task ─── the call      it goes on for the others, and for the next one
waiter ───────────╯
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from bridge.core.urls import append_query, encode_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec

    Fetch = Callable[[UpstreamRequest, TransportSpec, int], Awaitable[tuple[int, Mapping[str, str], bytes]]]

__all__ = ["SignerContext", "TaskRegistry", "wire_method_and_body", "with_headers", "with_query"]

T = TypeVar("T")


class TaskRegistry:
    """Tasks that outlive whoever began them, until the bridge ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Begin something that several may wait for, each by `asyncio.shield`."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what is left."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class SignerContext(NamedTuple):
    """`monotonic` for what runs out, since the time of day may jump; `now` is told to others."""

    fetch: Fetch
    running: TaskRegistry
    monotonic: Callable[[], float]
    now: Callable[[], float]


def wire_method_and_body(request: UpstreamRequest) -> tuple[str, bytes]:
    """The method and body that go out: a websocket is opened by a GET, and the body is a message on it."""
    return (request.method, request.body or b"") if request.websocket is None else ("GET", b"")


def with_headers(request: UpstreamRequest, headers: Mapping[str, str]) -> UpstreamRequest:
    """A request with these headers in place of equal ones."""
    names = {name.lower() for name in headers}
    kept = {name: value for name, value in request.headers.items() if name.lower() not in names}
    return replace(request, headers={**kept, **headers})


def with_query(request: UpstreamRequest, pairs: Mapping[str, str]) -> UpstreamRequest:
    """A request of one URL with these query parameters behind its own."""
    if not pairs:
        return request
    (url,) = request.urls
    return replace(request, urls=(append_query(url, encode_query(pairs.items())),))
