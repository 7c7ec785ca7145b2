"""Recorded cases, played by plain calls on an exchange, without a network.

    outcome = play(case.exchange(), case, [case.data])

Time passes only where the bridge waits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.errors import UpstreamError
from bridge.exchange.commands import DeliverResponse, FetchedResponse, SendRequest, Sleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.exchange.exchange import Exchange
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import UpstreamRequest
    from tests.case_files import Case

__all__ = ["Outcome", "play", "sent_requests"]


class Outcome(NamedTuple):
    """The bytes that the client receives, and the error."""

    out: bytes
    status: int
    error: str
    retry_after: str | None


def play(exchange: Exchange, case: Case, pieces: Iterable[bytes]) -> Outcome:
    """Play a case, the body of the last response cut into pieces."""
    out = b"".join(_CallPlayer(exchange, call, case, list(pieces)).run() for call in exchange.calls)
    error = exchange.error
    status = error.status if error is not None and not exchange.started else 200
    envelope = json.dumps(error.envelope) if error is not None else ""
    return Outcome(out, status, envelope, error.retry_after if error is not None else None)


def sent_requests(case: Case) -> list[UpstreamRequest]:
    """Return the requests that the upstream receives, those of callouts before and after a call included."""
    exchange, requests = case.exchange(), []
    for call in exchange.calls:
        player = _CallPlayer(exchange, call, case, [case.data])
        player.run()
        requests += player.requests
    return requests


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]


class _CallPlayer:
    """A call of an exchange, with the recorded responses to its callouts.

    Attributes:
        requests: The requests of the call and of its callouts.
    """

    def __init__(self, exchange: Exchange, call: UpstreamCall, case: Case, pieces: list[bytes]) -> None:
        self.requests: list[UpstreamRequest] = []
        self._exchange = exchange
        self._call = call
        self._now = 0.0
        self._responses: Iterator[_Response] = iter([
            *(_Response(recorded.status, recorded.lower_headers, [recorded.data]) for recorded in case.calls),
            _Response(case.status, case.lower_headers, pieces),
        ])  # fmt: skip
        self._latest = _Response(0, {}, [])
        self._out = b""

    def run(self) -> bytes:
        """Play the call, and return the bytes that the client receives."""
        exchange, call = self._exchange, self._call
        try:
            if not self._run_callouts():
                self._send(call.request())
                exchange.start(call, self._latest.status, self._latest.headers)
                self._feed()
            self._out += exchange.close(call)
        except UpstreamError as error:
            self._out += exchange.connection_lost(call, error)
        if call.callouts is not None:
            self.requests += [
                command.request for command in call.callouts.after() if isinstance(command, SendRequest)
            ]
        return self._out

    def _run_callouts(self) -> bool:
        """Run the callouts before the call. Return whether a callout brought the client's response."""
        call, result = self._call, None
        if call.callouts is None:
            return False
        commands = call.callouts.before()
        while True:
            try:
                command = commands.send(result)
            except StopIteration as stop:
                return bool(stop.value)
            result = None
            match command:
                case SendRequest(request):
                    self._send(request)
                    status, headers, pieces = self._latest
                    result = FetchedResponse(status, headers, b"".join(pieces), self._now)
                case Sleep(seconds):
                    self._now += seconds
                case DeliverResponse(response):
                    if not call.decoder.started:
                        self._exchange.start(call, response.status, response.headers)
                    self._feed()

    def _send(self, request: UpstreamRequest) -> None:
        self.requests.append(request)
        self._latest = next(self._responses, self._latest)

    def _feed(self) -> None:
        for piece in self._latest.pieces:
            if not self._exchange.finished(self._call):
                self._out += self._exchange.feed(self._call, piece)
