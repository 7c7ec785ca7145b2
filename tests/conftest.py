"""The event loops and the Hypothesis profile of the tests.

A test runs on asyncio's own event loop. A module with `ON_BOTH_LOOPS = True` runs on uvloop as well, which
`format-bridge serve` uses.

Property tests try few examples by default. `HYPOTHESIS_PROFILE=thorough` has them try ten times as many.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web
    from pytest_aiohttp import AiohttpServer

    ServeApp = Callable[[web.Application], Awaitable[str]]

# Neither the time nor the size of an example says anything about the bridge on a loaded machine.
_COMMON = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=True
)
settings.register_profile("fast", _COMMON, max_examples=50)
settings.register_profile("thorough", _COMMON, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loops on which a test runs, by their names."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if getattr(item.module, "ON_BOTH_LOOPS", False):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture
def serve_app(aiohttp_server: AiohttpServer) -> ServeApp:
    """Return a function that serves an application until the end of the test, and returns its URL."""

    async def serve(app: web.Application) -> str:
        # Handlers that still wait at the end of a test are cancelled immediately.
        server = await aiohttp_server(app, shutdown_timeout=0.1)
        return str(server.make_url("")).removesuffix("/")

    return serve
