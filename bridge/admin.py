"""The admin port: /metrics for Prometheus, /healthz and /readyz for whoever runs the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from bridge.accounts import Accounts
    from bridge.front import State
    from bridge.metrics import Metrics

__all__ = ["make_admin"]


def make_admin(state: State, accounts: Accounts, metrics: Metrics) -> web.Application:
    """The application of the admin port."""

    async def exposition(request: web.Request) -> web.Response:
        accounts.tell()
        return web.Response(
            body=metrics.exposition(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def healthy(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        if state.draining:
            return web.Response(status=503, text="draining\n")
        return web.Response(text=f"ready: {len(state.table.routes)} routes\n")

    application = web.Application()
    application.router.add_get("/metrics", exposition)
    application.router.add_get("/healthz", healthy)
    application.router.add_get("/readyz", ready)
    return application
