"""A conversation carried out by plain calls: what the server says comes from its files.

    outcome = carry_out(conversation.exchange(), conversation, pieces)

`pieces` are the bytes of the last answer; the calls ahead of it are answered whole. Time passes only where
the bridge waits.
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
    """What the client gets: the bytes, and the failure if there was one."""

    out: bytes
    status: int
    error: str
    retry_after: str | None


def play(exchange: Exchange, conversation: Case, pieces: Iterable[bytes]) -> Outcome:
    """The exchange on the recorded answers, the bytes of the last one cut into these pieces."""
    out = b"".join(_CallPlayer(exchange, call, conversation, list(pieces)).run() for call in exchange.calls)
    error = exchange.error
    status = error.status if error is not None and not exchange.started else 200
    envelope = json.dumps(error.envelope) if error is not None else ""
    return Outcome(out, status, envelope, error.retry_after if error is not None else None)


def sent_requests(conversation: Case) -> list[UpstreamRequest]:
    """What reaches the server, each call of an exchange with those ahead of it and behind it."""
    exchange, sent = conversation.exchange(), []
    for call in exchange.calls:
        playing = _CallPlayer(exchange, call, conversation, [conversation.data])
        playing.run()
        sent += playing.sent
    return sent


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]


class _CallPlayer:
    """One call of an exchange; `sent` are its requests and those around it."""

    def __init__(
        self, exchange: Exchange, call: UpstreamCall, conversation: Case, pieces: list[bytes]
    ) -> None:
        self.sent: list[UpstreamRequest] = []
        self._exchange = exchange
        self._leg = call
        self._now = 0.0
        self._left: Iterator[_Response] = iter([
            *(_Response(call.status, call.lower_headers, [call.data]) for call in conversation.calls),
            _Response(conversation.status, conversation.lower_headers, pieces),
        ])  # fmt: skip
        self._latest = _Response(0, {}, [])
        self._out = b""

    def run(self) -> bytes:
        """What the client gets of it."""
        exchange, call = self._exchange, self._leg
        try:
            if not self._before():
                self._ask(call.request())
                exchange.start(call, self._latest.status, self._latest.headers)
                self._feed()
            self._out += exchange.close(call)
        except UpstreamError as error:
            self._out += exchange.connection_lost(call, error)
        if call.callouts is not None:
            self.sent += [step.request for step in call.callouts.after() if isinstance(step, SendRequest)]
        return self._out

    def _before(self) -> bool:
        """Make the calls ahead; whether the client has got its answer by them."""
        call, came = self._leg, None
        if call.callouts is None:
            return False
        steps = call.callouts.before()
        while True:
            try:
                step = steps.send(came)
            except StopIteration as stop:
                return bool(stop.value)
            came = None
            match step:
                case SendRequest(request):
                    self._ask(request)
                    status, headers, pieces = self._latest
                    came = FetchedResponse(status, headers, b"".join(pieces), self._now)
                case Sleep(seconds):
                    self._now += seconds
                case DeliverResponse(heard):
                    if not call.decoder.started:
                        self._exchange.start(call, heard.status, heard.headers)
                    self._feed()

    def _ask(self, request: UpstreamRequest) -> None:
        self.sent.append(request)
        self._latest = next(self._left, self._latest)

    def _feed(self) -> None:
        for piece in self._latest.pieces:
            if not self._exchange.finished(self._leg):
                self._out += self._exchange.feed(self._leg, piece)
