"""Asynchronous servers for tests that block: an event loop in a thread."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

__all__ = ["in_background", "wait_blocking"]

_TIMEOUT = 60.0  # seconds to enter or to leave a context
_WAIT_TIMEOUT = 20.0  # seconds

T = TypeVar("T")


@contextmanager
def in_background(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter an asynchronous context manager in the event loop of a new thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    def call(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_TIMEOUT)

    async def enter() -> T:
        return await manager.__aenter__()

    async def leave() -> None:
        await manager.__aexit__(None, None, None)

    try:
        value: T = call(enter())
        try:
            yield value
        finally:
            call(leave())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def wait_blocking(condition: Callable[[], object], expected: str) -> None:
    """Wait until a condition of another thread is true, by polling."""
    deadline = time.monotonic() + _WAIT_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"expected after {_WAIT_TIMEOUT} s: {expected}"
        time.sleep(0.002)
