"""The admin port: /metrics for Prometheus, /healthz and /readyz for the operator."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from bridge.core import json
from bridge.core.errors import BridgeError, RequestError
from bridge.proxy.outcomes import log_internal_error
from bridge.telemetry.exposition import exposition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bridge.server.api import ServerState
    from bridge.telemetry.series import Series

__all__ = ["admin_app"]

_GZIP = zlib.MAX_WBITS | 16  # the form of zlib's compression
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"  # the content type of Prometheus' text format


def admin_app(state: ServerState, processes: Sequence[Series]) -> web.Application:
    """Return the application of the admin port. `processes` are the metrics of all workers."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: _EXPOSITION})
        # aiohttp's own compression takes turns with a thread for each piece, which takes as long as the text.
        accepts_gzip = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower()
        gzip = zlib.compressobj(zlib.Z_BEST_SPEED, wbits=_GZIP) if accepts_gzip else None
        if gzip is not None:
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            async for piece in exposition(processes):
                if data := piece if gzip is None else gzip.compress(piece):
                    await response.write(data)
            await response.write(b"" if gzip is None else gzip.flush())
        await response.write_eof()
        return response

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        if state.draining:
            return web.Response(status=503, text="draining\n")
        return web.Response(text=f"ready: {len(state.table.routes)} routes\n")

    app = web.Application(middlewares=[_error_bodies])
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthy)
    app.router.add_get("/readyz", ready)
    return app


@web.middleware
async def _error_bodies(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give errors the same bodies as those of the API."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        message = f"there is no {request.path}: expected /metrics, /healthz or /readyz"
        return _error_response(RequestError(404, message, code="unknown_url"))
    except web.HTTPMethodNotAllowed:
        message = f"{request.method} is not allowed: use GET"
        response = _error_response(RequestError(405, message, code="method_not_allowed"))
        response.headers[hdrs.ALLOW] = "GET, HEAD"
        return response
    except Exception as error:
        return _error_response(log_internal_error(error))


def _error_response(error: BridgeError) -> web.Response:
    body = json.dumps(error.envelope)
    return web.Response(status=error.status, body=body, content_type="application/json")
