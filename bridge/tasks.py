"""Tasks that outlive the code that started them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["TaskRegistry"]

T = TypeVar("T")


class TaskRegistry:
    """Running tasks without another owner."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        # asyncio holds tasks by weak references only, so a task without an owner may vanish.
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as a task. Several callers may await the task, each through `asyncio.shield`."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - expiry is not an error here
        """Wait until no task is running, tasks started meanwhile included, for up to `timeout` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._tasks and (remaining := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=remaining)

    def cancel(self) -> None:
        """Cancel every task."""
        for task in self._tasks:
            task.cancel()
