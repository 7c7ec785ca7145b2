"""`format-bridge try`: a request that is really sent, with everything that is sent and received."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from bridge.cli.exchange_report import print_reading, print_request, print_route, slots_of
from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import BridgeError
from bridge.exchange.decode.frame_document import INVALID_JSON, frame_document
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.expressions.extractors import Extractor
from bridge.expressions.scope import Scope
from bridge.framing import make_framer
from bridge.loader import load_routes
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.proxy.concurrency import WorkerShare
from bridge.proxy.forwarder import Forwarder
from bridge.telemetry.metrics import Metrics
from bridge.thread_pool import ThreadPool
from bridge.upstream.client import UpstreamClient
from bridge.upstream.response import UpstreamResponse

if TYPE_CHECKING:
    import argparse

    from bridge.core.frames import Frame
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.route import Route
    from bridge.routes.rules.transport import TransportSpec
    from bridge.upstream.response import ByteSink

__all__ = ["try_request"]

_MAX_SHOWN = 4096  # bytes of a read, a frame or a value that are printed


def try_request(arguments: argparse.Namespace) -> int:
    """Send a request, print each step, and return the exit code: 1 for an error. Raises ConfigError."""
    table = load_routes(arguments.file)
    endpoint = ENDPOINTS[arguments.endpoint]
    try:
        data = json.dumps(_body(endpoint, arguments))
        body = parse_request(endpoint, data)
        route, name = table.find(body["model"], endpoint)
        authorization = f"Bearer {arguments.key}" if arguments.key else None
        context = RequestContext(
            route, endpoint, body, data, id="tried", now=time.time(), authorization=authorization
        )
        print_route(route, name, Exchange(context))
        response = asyncio.run(_send(context))
    except BridgeError as error:
        print(f"refused with {error.status}:\n{json.pretty(error.envelope)}")
        return 1
    return 0 if response.status == 200 and not response.failed else 1


def _body(endpoint: EndpointSpec, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the client's body, with the text of the command line as its input."""
    body = {"model": arguments.model, **endpoint.example}
    if arguments.text:
        text = arguments.text
        body[endpoint.input_member] = [{"role": "user", "content": text}] if endpoint.has_messages else text
    return body | ({"stream": True} if arguments.stream else {})


async def _send(context: RequestContext) -> _Response:
    """Forward a request as the server does, and print what arrives."""
    async with AsyncExitStack() as stack:
        upstream = _PrintingClient(context.route)
        stack.push_async_callback(upstream.close)
        threads = ThreadPool()
        stack.callback(threads.close)
        forwarder = Forwarder(upstream, Metrics(), WorkerShare(), threads)
        stack.push_async_callback(forwarder.close)
        forwarder.use_routes([context.route])
        response = await forwarder.forward(context, _Response())
    exchange = Exchange(context)
    _print_frames(exchange, upstream.received)
    print_reading(context.route, exchange)
    response.show(is_stream=exchange.is_stream)
    return response


class _PrintingClient(UpstreamClient):
    """A client that prints each request, and each read of a response.

    received: the bytes of the newest response.
    """

    def __init__(self, route: Route) -> None:
        super().__init__()
        self._route = route
        self.received = b""

    async def send(
        self,
        request: UpstreamRequest,
        transport: TransportSpec,
        *,
        replica: int = 0,
        started: float | None = None,
    ) -> UpstreamResponse:
        """Send a request, printed. Return its response, whose reads are printed."""
        print_request("sends", request, self._route)
        self.received = b""
        began = time.monotonic()
        response = await super().send(request, transport, replica=replica, started=started)
        print(f"receives {response.status} after {(time.monotonic() - began) * 1000:.0f} ms")
        for name, value in response.headers.items():
            print(f"  {name}: {self._route.mask(value)}")
        return _PrintedResponse(response, self)

    def note(self, data: bytes) -> None:
        """Print and keep the bytes of one read."""
        self.received += data
        print(f"  {_masked_excerpt(self._route, repr(data)[1:])}")


class _PrintedResponse(UpstreamResponse):
    """A response whose reads are printed."""

    def __init__(self, response: UpstreamResponse, client: _PrintingClient) -> None:
        self._response = response
        self._client = client
        self.status, self.headers = response.status, response.headers

    @property
    def complete(self) -> bool:
        return self._response.complete

    async def read_into(self, sink: ByteSink) -> None:
        await self._response.read_into(_PrintingSink(sink, self._client))

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - as declared
        await self._response.drain(timeout)

    def note_failure(self) -> None:
        self._response.note_failure()

    async def close(self) -> None:
        await self._response.close()


class _PrintingSink:
    """A sink that prints what it passes on."""

    def __init__(self, sink: ByteSink, client: _PrintingClient) -> None:
        self._sink = sink
        self._client = client

    def feed(self, data: bytes) -> bool:
        """Print bytes and pass them on."""
        self._client.note(data)
        return self._sink.feed(data)


class _Response:
    """The client's response, kept for print.

    failed: the response is an error, or a stream with an error's event.
    """

    def __init__(self) -> None:
        self.id = "tried"
        self.status = 0
        self.started = False
        self.writing_paused = False
        self.failed = False
        self._body = b""

    def add_header(self, name: str, value: str) -> None:
        """Print a header of the response."""
        print(f"header   {name}: {value}")

    def remove_header(self, name: str) -> None:
        """Print that a header is not sent after all."""
        print(f"header   {name}: removed")

    def set_body(self, status: int, body: bytes, content_type: str = "") -> Self:
        """Keep the body."""
        self.status, self._body = status, body
        return self

    def set_error(self, error: BridgeError) -> Self:
        """Keep the error."""
        self.failed = True
        return self.set_body(error.status, json.dumps(error.envelope))

    def write(self, data: bytes, content_type: str) -> bool:
        """Keep a piece of a stream."""
        self.status, self.started = self.status or 200, True
        self._body += data
        return True

    async def drain(self) -> None:
        """Return at once: the response accepts everything."""

    def cancel(self) -> None:
        """Do nothing: nothing cancels the command."""

    def write_eof(self, data: bytes = b"") -> Self:
        """Keep the last piece of a stream."""
        self._body += data
        self.failed = self.failed or b'data: {"error"' in self._body
        return self

    def show(self, *, is_stream: bool) -> None:
        """Print the response."""
        if is_stream and self.started:
            print(f"answers  {self.status}, a stream\n{self._body.decode()}", end="")
        else:
            print(f"answers  {self.status}\n{json.pretty(json.loads(self._body))}")


def _print_frames(exchange: Exchange, received: bytes) -> None:
    """Print the frames of the last response, and what each slot finds in each."""
    stream = exchange.calls[0].plan.stream_rule
    if not received:
        return
    if stream is None:
        try:
            _print_slots(exchange, Scope(json.loads(received)))
        except ValueError:
            print("finds    nothing: the body is not JSON")
        return
    framer = make_framer(stream.framing, stream.inner, exchange.route.limits.frame)
    try:
        frames = [*framer.feed(received), *framer.close()]
    except BridgeError as error:
        print(f"frames   cannot be cut: {error.message}")
        return
    for number, frame in enumerate(frames):
        _print_frame(exchange, number + 1, frame, as_text=stream.text_data)


def _print_frame(exchange: Exchange, number: int, frame: Frame, *, as_text: bool) -> None:
    doc, _ = frame_document(frame, exchange.route.limits.response_values, as_text=as_text)
    fields = " ".join(f"{name}={value}" for name, value in frame.fields.items() if name != "data")
    data = _masked_excerpt(exchange.route, _text(frame.data))
    print(f"frame {number:<3}{f' ({fields})' if fields else ''} {data}")
    _print_slots(exchange, Scope(MISSING if doc is INVALID_JSON else doc, fields=frame.fields))


def _print_slots(exchange: Exchange, scope: Scope) -> None:
    for name, slot in slots_of(exchange):
        found = slot.read(scope) if isinstance(slot, Extractor) else MISSING
        if found is not MISSING:
            print(f"  {name.ljust(18)} {_masked_excerpt(exchange.route, json.dumps(found).decode())}")


def _text(data: bytes | str | None) -> str:
    return data.decode(errors="backslashreplace") if isinstance(data, bytes) else data or "without data"


def _masked_excerpt(route: Route, text: str) -> str:
    """Return a text without secrets, shortened."""
    text = route.mask(text)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"
