"""The OpenAI API: one handler for every request, from the parsed head to the last byte of the response.

    key ─▶ body ─▶ route ─▶ Forwarder ─▶ response, log line, metrics

Whatever goes wrong, the client receives OpenAI's error body with an honest status, or, once a stream has
begun, an error event at the end of the stream.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs

from bridge.core import json
from bridge.core.errors import BridgeError, RequestError
from bridge.core.json_bounds import MAX_INLINE
from bridge.exchange.request_context import Client, RequestContext
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import check_values, parse_request
from bridge.openai.token_counts import TOKEN_COUNTS
from bridge.proxy.forwarder import Forwarder
from bridge.proxy.model_lists import ModelLists
from bridge.proxy.outcomes import log_internal_error
from bridge.server.client_address import forwarded_address
from bridge.server.client_keys import ClientKeys
from bridge.server.models import ANTHROPIC_VERSION, describe_model, describe_models, unknown_model
from bridge.server.paths import api_path
from bridge.server.request_body import read_body, too_large
from bridge.server.request_headers import allowed_origin, authorization, check_method, check_post, request_id
from bridge.server.request_ids import request_ids
from bridge.server.response import DateHeader, Response
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from bridge.core.json import JSONObject
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.openai.token_counts import TokenCount
    from bridge.proxy.concurrency import WorkerShare
    from bridge.routes.table import RouteTable
    from bridge.server.client_keys import ClientKey
    from bridge.server.client_limits import ClientKeyLimits, WorkerLimits
    from bridge.server.request import Request
    from bridge.telemetry.metrics import Metrics
    from bridge.thread_pool import ThreadPool
    from bridge.upstream.client import UpstreamClient

__all__ = ["OpenAIHandler", "ServerState"]

_MAX_LOGGED_PATH = 200  # characters

_BY_PATH: Mapping[str, EndpointSpec] = {f"/{endpoint.path}": endpoint for endpoint in ENDPOINTS.values()}
_BY_TARGET: Mapping[str, EndpointSpec] = {f"/v1{path}": endpoint for path, endpoint in _BY_PATH.items()}


class ServerState:
    """The state that the handlers of both ports share.

    table: the routes; replaced as a whole when the file changes.
    keys: the keys of clients; None: no key is required.
    created: the `created` member of models, in seconds of Unix time.
    draining: whether the process is shutting down.
    """

    __slots__ = ("_workers", "created", "draining", "keys", "table")

    def __init__(self, table: RouteTable, created: int, workers: WorkerLimits) -> None:
        self._workers = workers
        self.keys: ClientKeys | None = None
        self.replace(table)
        self.created = created
        self.draining = False

    def replace(self, table: RouteTable) -> None:
        """Use another table, and keep what clients have left of rates that did not change."""
        self.table = table
        keys = table.server.keys
        self.keys = ClientKeys(keys, self._workers, self.keys) if keys else None


class OpenAIHandler:
    """The handler of clients' requests.

    forwarder: the proxy that requests for models are forwarded by.
    model_lists: the upstreams' own lists of models.
    """

    def __init__(
        self,
        state: ServerState,
        upstream: UpstreamClient,
        metrics: Metrics,
        share: WorkerShare,
        threads: ThreadPool,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._date_header = DateHeader()
        self._request_ids = request_ids()
        self._threads = threads
        self.forwarder = Forwarder(upstream, metrics, share, threads)
        self.model_lists = ModelLists(upstream)

    async def answer(self, request: Request) -> Response:
        """Answer one request. Raise ConnectionError if the connection cannot be used any longer."""
        id_ = next(self._request_ids)
        origin = allowed_origin(request, cors) if (cors := self._state.table.server.cors) else None
        response = Response(request, request_id(request, id_), origin, self._date_header)
        endpoint: EndpointSpec | None = None
        key: ClientKey | None = None
        limits: ClientKeyLimits | None = None
        try:
            if request.error is not None:
                raise request.error
            endpoint = _BY_TARGET.get(request.target) or _BY_PATH.get(api_path(request.path))
            if request.method == hdrs.METH_OPTIONS and response.allowed_origin:
                return response.set_preflight()
            if endpoint is not None and endpoint.to_chat is not None:
                response.error_body = endpoint.error_body
            if self._state.keys is not None:
                key = self._state.keys.find(authorization(request) or "")
            if endpoint is None:
                return await self._answer_other(request, response, key)
            check_post(request, origin)
            if key is not None and key.limits is not None:
                limits = _enter(key.limits, response)
            body = request.buffered_body()  # most bodies arrive with the head
            if body is None:
                body = await read_body(request, self._state.table.max_body)
            if len(body) <= MAX_INLINE:
                parsed = parse_request(endpoint, body, max_values=self._state.table.max_values)
            else:
                parsed = await self._parse_in_thread(endpoint, body)
            return await self._forward(request, endpoint, body, parsed, response, id_, key)
        except BridgeError as error:
            return self._reject(request, endpoint, response, key, error)
        except ConnectionError:
            raise
        except Exception as error:
            return self._reject(request, endpoint, response, key, log_internal_error(error))
        finally:
            if limits is not None:
                limits.leave()

    def _reject(
        self,
        request: Request,
        endpoint: EndpointSpec | None,
        response: Response,
        key: ClientKey | None,
        error: BridgeError,
    ) -> Response:
        """Answer a request that has no route with an error."""
        if endpoint is None and (counts := TOKEN_COUNTS.get(api_path(request.path))):
            response.error_body = counts.endpoint.error_body
        client = self._client(request, key)
        self._metrics.request_rejected(endpoint.name if endpoint else "", error.status)
        if client.key is not None:
            self._metrics.key_used(client.key, error.status)
        path = request.path[:_MAX_LOGGED_PATH]
        log(
            "refused", id=response.id, client=client.address, key=client.key, path=path,
            status=error.status, error=error.code,
        )  # fmt: skip
        return response.set_error(error)

    async def _parse_in_thread(self, endpoint: EndpointSpec, data: bytes) -> JSONObject:
        """Parse and check a large body. Raise RequestError (400, 413)."""
        table = self._state.table
        if len(data) > table.max_body:
            raise too_large(table.max_body)
        return await self._threads.run(
            parse_request, endpoint, data, max_values=table.max_values, in_steps=True
        )

    def _client(self, request: Request, key: ClientKey | None) -> Client:
        """Return the sender of a request."""
        connection = request.connection
        client = connection.client
        if connection.from_proxy and (forwarded := request.headers.getall(hdrs.X_FORWARDED_FOR, None)):
            proxies = self._state.table.server.trusted_proxies
            client = Client(forwarded_address(client.address, forwarded, proxies))
        if key is None:
            return client
        limits = key.limits
        charge = limits.charge_tokens if limits is not None and limits.counts_tokens else None
        return Client(client.address, key.name, key.tenant, charge)

    def _forward(
        self,
        request: Request,
        endpoint: EndpointSpec,
        data: bytes,
        body: JSONObject,
        response: Response,
        id_: str,
        key: ClientKey | None,
    ) -> Coroutine[Any, Any, Response]:
        """Forward a request to the route of its model."""
        table = self._state.table
        if key is not None and key.restricted:
            key.check_model(body["model"])
        route, model = table.find(body["model"], endpoint)
        if len(data) > route.limits.body:
            raise too_large(route.limits.body)
        if route.limits.values < table.max_values:
            check_values(data, route.limits.values)
        session = route.callouts.session
        headers = request.headers
        context = RequestContext(
            route, endpoint, body, data, id_, time.time(), model,
            authorization(request) if route.request.forwards_client_key else None,
            headers.get(session.header) if session and session.header else None,
            self._client(request, key),
        )  # fmt: skip
        return self.forwarder.forward(context, response)

    async def _answer_other(self, request: Request, response: Response, key: ClientKey | None) -> Response:
        """Answer a request for a path that is not an endpoint."""
        counts = TOKEN_COUNTS.get(api_path(request.path))
        if counts is None:
            return await self._answer_models(request, response, key)
        limits = _enter(key.limits, response) if key is not None and key.limits is not None else None
        try:
            return await self._count_tokens(request, counts, response, key)
        finally:
            if limits is not None:
                limits.leave()

    async def _count_tokens(
        self, request: Request, counts: TokenCount, response: Response, key: ClientKey | None
    ) -> Response:
        """Answer a request with the number of its tokens."""
        check_method(request, hdrs.METH_POST)
        data = await read_body(request, self._state.table.max_body)
        body = await self._parse_in_thread(counts.endpoint, data)
        if key is not None and key.restricted:
            key.check_model(body["model"])
        self._state.table.find(body["model"], counts.endpoint)
        return response.set_body(200, json.dumps(await self._threads.run(counts.response, body)))

    async def _answer_models(self, request: Request, response: Response, key: ClientKey | None) -> Response:
        """Answer a request for a path that is not an endpoint: the list of models, or one of them."""
        if key is not None and key.limits is not None:
            _add_rates(key.limits, response)
        table, path = self._state.table, api_path(request.path)
        if path.startswith("/responses/"):
            message = "responses are not stored: send all items of a conversation in `input`"
            raise RequestError(404, message, code="unknown_url")
        if path != "/models" and not path.startswith("/models/"):
            raise RequestError(404, f"there is no {request.method} {request.path}", code="unknown_url")
        check_method(request, hdrs.METH_GET, hdrs.METH_HEAD)
        name, created = path[len("/models/") :], self._state.created
        for_anthropic = ANTHROPIC_VERSION in request.headers
        if not name:
            received = await self.model_lists.names(table.routes) if table.has_model_sources else {}
            names = [model for model in table.listed(received) if key is None or key.allows(model)]
            body = describe_models(names, created, for_anthropic=for_anthropic)
        elif not table.serves(name) or (key is not None and not key.allows(name)):
            raise unknown_model(name)
        else:
            body = describe_model(name, created, for_anthropic=for_anthropic)
        return response.set_body(200, json.dumps(body))


def _enter(limits: ClientKeyLimits, response: Response) -> ClientKeyLimits:
    """Count a request for its key, and return the limits to leave. Raise RequestError (429)."""
    try:
        limits.enter()
    finally:
        _add_rates(limits, response)
    return limits


def _add_rates(limits: ClientKeyLimits, response: Response) -> None:
    """Add the headers that show what is left of the rates of a key."""
    for name, value in limits.headers().items():
        response.add_header(name, value)
