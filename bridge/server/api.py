"""The OpenAI front: one handler for every request, from its bytes to the last byte of its reply.

    path and key ─▶ body ─▶ route ─▶ Exchange ─▶ upstream ─▶ reply, log line, metrics

Whatever goes wrong, the client gets OpenAI's error envelope with its true status, or, once a stream has
begun, an error event at its honest end.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.errors import BridgeError, RequestError
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.proxy.forwarder import Forwarder
from bridge.proxy.outcomes import log_internal_error
from bridge.server.request_ids import RequestIds
from bridge.server.response import DateHeader, Response
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.request_template import SessionRule
    from bridge.routes.table import RouteTable
    from bridge.server.request import Request
    from bridge.telemetry.metrics import Metrics
    from bridge.upstream.client import UpstreamClient

__all__ = ["OpenAIHandler", "ServerState"]

_BODY_TIMEOUT = 60.0  # seconds between two pieces of a client's body

_ENDPOINTS: Mapping[str, EndpointSpec] = {f"/{endpoint.path}": endpoint for endpoint in ENDPOINTS.values()}
_TARGETS: Mapping[bytes, EndpointSpec] = {f"/v1{path}".encode(): one for path, one in _ENDPOINTS.items()}


@dataclass(slots=True)
class ServerState:
    """What the handlers share. `table` is replaced as a whole when the file changes."""

    table: RouteTable
    created: int
    draining: bool = False


class OpenAIHandler:
    """Answers clients."""

    def __init__(self, state: ServerState, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._state = state
        self._metrics = metrics
        self._dates = DateHeader()
        self._names = RequestIds()
        self.carrier = Forwarder(upstream, metrics)

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        name = self._names()
        server = self._state.table.server
        origin = _origin(request, server.cors) if server.cors else None
        reply = Response(request, _request_id(request, name), origin, self._dates)
        endpoint: EndpointSpec | None = None
        try:
            if request.error is not None:
                raise request.error
            endpoint = _TARGETS.get(request.target)
            path = request.path.removeprefix("/v1").rstrip("/") if endpoint is None else ""
            endpoint = endpoint or _ENDPOINTS.get(path)
            if request.method == "OPTIONS" and reply.allowed_origin:
                return reply.preflight()
            self._check_key(request)
            if endpoint is not None:
                _check_method(request, "POST")
                if b"content-encoding" in request.headers:
                    _check_encoding(request)
                data = request.buffered_body()  # which has come with the head, as most do
                if data is None:
                    data = await _read_body(request, self._state.table.max_body)
                return await self._forward(request, endpoint, data, reply, name)
            if path == "/models" or path.startswith("/models/"):
                _check_method(request, "GET", "HEAD")
                return reply.set_body(200, json.dumps(self._models(path[len("/models/") :])))
            raise RequestError(404, f"there is no {request.method} {request.path}", code="unknown_url")
        except BridgeError as error:
            refusal = error
        except ConnectionError:
            raise
        except Exception as error:
            refusal = log_internal_error(error)
        self._metrics.request_rejected(endpoint.name if endpoint else "", refusal.status)
        log("refused", id=reply.id, path=request.path[:200], status=refusal.status, error=refusal.code)
        return reply.set_error(refusal)

    def _forward(
        self, request: Request, endpoint: EndpointSpec, data: bytes, reply: Response, name: str
    ) -> Coroutine[Any, Any, Response]:
        """The reply of the route that the body asks for."""
        table = self._state.table
        if len(data) > table.max_body:
            raise _too_large(table.max_body)
        body = parse_request(endpoint, data)
        route, model = table.find(body["model"], endpoint)
        if len(data) > route.limits.body:
            raise _too_large(route.limits.body)
        session = route.callouts.session
        context = RequestContext(
            route, endpoint, body, data, id=name, now=time.time(), model=model,
            authorization=request.header(b"authorization") if route.request.forwards_client_key else None,
            conversation=None if session is None else _conversation_id(session, request),
        )  # fmt: skip
        return self.carrier.forward(context, reply)

    def _check_key(self, request: Request) -> None:
        bearers = self._state.table.authorizations
        if not bearers:
            return
        shown = request.headers.get(b"authorization", b"")
        if _matches_any_key(shown, bearers):
            return
        scheme, _, given = shown.partition(b" ")
        given = given.strip()
        if scheme.lower() != b"bearer" or not _matches_any_key(b"Bearer " + given, bearers):
            raise RequestError(
                401,
                "Incorrect API key provided"
                if given
                else "You didn't provide an API key: Authorization: Bearer KEY",
                code="invalid_api_key",
            )

    def _models(self, name: str) -> dict[str, Any]:
        table = self._state.table
        if not name:
            return {"object": "list", "data": [self._model(model) for model in table.models]}
        if not table.serves(name):
            raise RequestError(
                404, f"the model `{name}` does not exist", param="model", code="model_not_found"
            )
        return self._model(name)

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._state.created, "owned_by": "bridge"}


def _origin(request: Request, allowed: Sequence[str]) -> str | None:
    """The origin that may read the answer, where the file allows it."""
    origin = request.header(b"origin")
    return origin if origin in allowed or "*" in allowed else None


def _matches_any_key(shown: bytes, bearers: tuple[bytes, ...]) -> bool:
    """Every one is compared, so that time tells nothing of which one was nearly right."""
    found = False
    for bearer in bearers:
        found |= hmac.compare_digest(shown, bearer)
    return found


def _conversation_id(session: SessionRule, request: Request) -> str | None:
    """What the client calls its conversation, where the route finds it by a header."""
    return request.header(session.header.lower().encode()) if session.header else None


def _check_method(request: Request, *allowed: str) -> None:
    if request.method not in allowed:
        error = RequestError(
            405,
            f"{request.method} is not allowed for {request.path}: use {allowed[0]}",
            code="method_not_allowed",
        )
        error.headers["Allow"] = ", ".join(allowed)
        raise error


def _check_encoding(request: Request) -> None:
    if (request.header(b"content-encoding") or "identity").lower() != "identity":
        raise RequestError(
            415, "compressed bodies are not taken: send it as it is", code="unsupported_encoding"
        )


async def _read_body(request: Request, limit: int) -> bytes:
    """The body, of at most so many bytes. Raises RequestError (400, 408, 413)."""
    if int(request.headers.get(b"content-length", 0)) > limit:
        raise _too_large(limit)
    if request.headers.get(b"expect", b"").lower() == b"100-continue":
        request.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    pieces, size = [], 0
    try:
        while data := await asyncio.wait_for(request.read_chunk(), _BODY_TIMEOUT):
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise _too_large(limit)
    except TimeoutError:
        raise RequestError(
            408, f"no more of the body came in {_BODY_TIMEOUT:g} s", code="request_timeout"
        ) from None
    return b"".join(pieces)


def _too_large(limit: int) -> RequestError:
    return RequestError(413, f"the body is over {limit} bytes (limits.body)", code="request_too_large")


def _request_id(request: Request, name: str) -> str:
    """The client's own where it is sane, else a new one."""
    given = request.header(b"x-request-id")
    if given is None:
        return f"req_{name}"
    sane = 0 < len(given) <= 128 and given.isascii() and all(c.isalnum() or c in "-_.:/+=@" for c in given)
    return given if sane else f"req_{name}"
