"""One upstream call of an exchange: its requests, its session, and the reader of its answer."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamFailure
from bridge.exchange.callouts import Callouts
from bridge.exchange.conversation_key import new_turn
from bridge.exchange.decode.choice_state import ReadOptions
from bridge.exchange.decode.response_decoder import ResponseDecoder
from bridge.exchange.endpoints import make_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.core.deltas import Delta
    from bridge.exchange.decode.stream_passthrough import ChunkPassthrough
    from bridge.exchange.endpoints import EndpointPassthrough
    from bridge.exchange.request_builder import RequestBuilder
    from bridge.routes.rules.request_template import UpstreamRequest

__all__ = ["UpstreamCall"]


class UpstreamCall:
    """One call of the exchange that is called `id`.

    `passing` makes what passes its answer on, if that is not read by the rules. `settled`: all of its answer
    was read and written.
    """

    passing: Callable[[ReadOptions], ChunkPassthrough | EndpointPassthrough] | None = None
    done = False
    _options: ReadOptions | None = None
    replica: int | None = None
    callouts: Callouts | None = None

    def __init__(self, builder: RequestBuilder, id: str, conversation: str | None) -> None:  # noqa: A002
        self._id = id
        self.builder = builder
        self.plan = plan = builder.plan
        self.local_stop_strings = builder.make_document()
        if plan.has_callouts:
            self.callouts = Callouts(self, conversation)
            self._options = self._read()  # of what the client says, not of what the calls are to find

    def _read(self) -> ReadOptions:
        """How its answer is to be read."""
        builder = self.builder
        prompt = str(builder.document.get("prompt", ""))
        number = f"_{builder.number}" if builder.number else ""
        return ReadOptions(
            prompt, self.local_stop_strings, builder.answers, f"call_{self._id}{number}", builder.estimate()
        )

    @cached_property
    def decoder(self) -> ResponseDecoder:
        """What reads its answer."""
        options = self._options or self._read()
        reader = self.passing(options) if self.passing else make_reader(self.plan, options)
        return ResponseDecoder(self.plan, options, reader)

    def send_new_turn_only(self) -> None:
        """The server knows what was said before: only the new turn is sent."""
        builder = self.builder
        builder.messages = [*new_turn(builder.messages)]
        if "messages" in builder.body:
            builder.body = {**builder.body, "messages": builder.messages}
        builder.data = None
        self.local_stop_strings = builder.make_document()
        self._options = self._read()
        vars(self).pop("decoder", None)

    @property
    def keeps_session(self) -> bool:
        """Whether the session is kept for the next turn."""
        session = self.plan.route.callouts.session
        return session is not None and session.is_kept and self.plan.endpoint.streams

    @property
    def succeeded(self) -> bool:
        """Whether the server's answer was read to its end, and all of it written."""
        decoder = self.decoder
        return self.done and decoder.error is None and not decoder.reader.ended

    @property
    def refused(self) -> bool:
        """Whether the answer itself was a failure that the server reports."""
        decoder = self.decoder
        return decoder.started and decoder.error is not None and decoder.error.kind is UpstreamFailure.REFUSED

    @property
    def fully_read(self) -> bool:
        """Whether the answer ended well by its own word, so that only its connection's end is awaited."""
        return self.decoder.error is None and not self.decoder.reader.ended

    def reindexed(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Its deltas among those of other calls: a choice that was not asked for has no place there."""
        first, most = self.builder.first_index, self.builder.answers
        return [delta._replace(choice=first + delta.choice) for delta in deltas if delta.choice < most]

    def request(self) -> UpstreamRequest:
        """The request whose answer is the client's."""
        return self.builder.build()
