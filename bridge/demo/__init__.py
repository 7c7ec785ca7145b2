"""The servers of the first run: four formats that are not OpenAI's, in the bridge's own process.

    format-bridge serve --demo
        DEMO_AUTODEV   AutoDev's ChatGLM2 example: events of its own, text at $.choices[0].content
        DEMO_LITELLM   LiteLLM's custom/ format: non-streaming only
        DEMO_LLMAPI    llmapi-server: sessions, failure codes under status 200
        DEMO_ARTICLE   a mock that nearly has OpenAI's API

They are real HTTP servers on loopback addresses, so that a first run without a model shows what happens in
front of a real server. Except for ids and times, a response depends on the request alone.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from bridge.demo.autodev import AutoDev
from bridge.demo.litellm_custom import LiteLLM
from bridge.demo.llmapi import LLMAPI
from bridge.demo.openai_mock import OpenAIMock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["LLMAPI", "SERVERS", "AutoDev", "LiteLLM", "OpenAIMock", "running", "serving"]


@asynccontextmanager
async def running() -> AsyncIterator[dict[str, str]]:
    """Start all servers on free loopback ports; yield their URLs by the variables of routes.yaml."""
    async with AsyncExitStack() as stack:
        yield {
            variable: await stack.enter_async_context(serving(application()))
            for variable, application in SERVERS.items()
        }


def _quiet() -> logging.Logger:
    # aiohttp would log a traceback for each client that disconnects early.
    logger = logging.getLogger("bridge.demo")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free loopback port; yield its URL without a final slash."""
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_quiet(),
        handler_cancellation=True,  # a stream ends when its client disconnects
        shutdown_timeout=0.1,  # seconds
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


SERVERS: Final[Mapping[str, Callable[[], web.Application]]] = {
    "DEMO_AUTODEV": lambda: AutoDev().application(),
    "DEMO_LITELLM": lambda: LiteLLM().application(),
    "DEMO_LLMAPI": lambda: LLMAPI().application(),
    "DEMO_ARTICLE": lambda: OpenAIMock().application(),
}
