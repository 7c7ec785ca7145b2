"""The servers of the first run: four formats that are not OpenAI's, inside this process.

    format-bridge serve --demo
        DEMO_AUTODEV   AutoDev's ChatGLM2 example: SSE of its own, text at $.choices[0].content
        DEMO_LITELLM   LiteLLM's custom/ format: whole answers only
        DEMO_LLMAPI    llmapi-server: sessions, failure codes under 200
        DEMO_ARTICLE   an almost OpenAI-compatible mock: what a server forgets when it copies by hand

A newcomer has no model at hand; these are small, real HTTP servers on loopback, so that what the first run
shows is what happens before a real server. Their answers are a function of what was asked, but for ids and
times.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from bridge.demo.autodev import AutoDev
from bridge.demo.litellm_custom import LiteLLM
from bridge.demo.llmapi import LLMAPI
from bridge.demo.openai_mock import Article

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["LLMAPI", "SERVERS", "Article", "AutoDev", "LiteLLM", "running", "serving"]


@asynccontextmanager
async def running() -> AsyncIterator[dict[str, str]]:
    """Start all on free loopback ports; give the variables that routes.yaml reads, each with its URL."""
    async with AsyncExitStack() as stack:
        yield {
            variable: await stack.enter_async_context(serving(application()))
            for variable, application in SERVERS.items()
        }


def _quiet() -> logging.Logger:
    """A client that leaves at once is no news here: aiohttp would write a traceback for each."""
    logger = logging.getLogger("bridge.demo")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """Serve one application on a free loopback port; give its URL, without a slash at its end."""
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_quiet(),
        handler_cancellation=True,  # a stream ends when its client leaves
        shutdown_timeout=0.1,  # seconds: nothing here is worth waiting for
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
    "DEMO_ARTICLE": lambda: Article().application(),
}
