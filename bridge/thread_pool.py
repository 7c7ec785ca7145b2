"""Threads for work that would hold the event loop, such as parsing or building a large body.

A thread that runs Python code gives way to the event loop every few milliseconds. A single call of a C
function does not, so large JSON is parsed in steps (`core/json.py`).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 2  # each one that runs may delay the event loop by 5 ms, the switch interval of Python


class ThreadPool:
    """A pool of threads, started with the first work."""

    __slots__ = ("_executor",)

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, "bridge")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread. After a cancellation, return no earlier than the function has."""
        job = self._executor.submit(function, *args, **kwargs)
        future = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The objects that the function changes are in use until its end.
            if not job.cancel():
                await asyncio.wait([future])
                if not future.cancelled():
                    future.exception()  # retrieved, so that asyncio does not log it
            raise

    def close(self) -> None:
        """Start nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
