"""One upstream call of an exchange: its requests, its session, and the reading of its answer."""

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
    from bridge.exchange.decode.passthrough import ChunkPassthrough
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
    _manner: ReadOptions | None = None
    replica: int | None = None
    callouts: Callouts | None = None

    def __init__(self, asking: RequestBuilder, id: str, conversation: str | None) -> None:  # noqa: A002
        self._id = id
        self.asking = asking
        self.course = course = asking.course
        self.local_stop_strings = asking.make_document()
        if course.has_callouts:
            self.callouts = Callouts(self, conversation)
            self._manner = self._read()  # of what the client says, not of what the calls are to find

    def _read(self) -> ReadOptions:
        """How its answer is to be read."""
        asking = self.asking
        prompt = str(asking.document.get("prompt", ""))
        number = f"_{asking.number}" if asking.number else ""
        return ReadOptions(
            prompt, self.local_stop_strings, asking.answers, f"call_{self._id}{number}", asking.estimate()
        )

    @cached_property
    def answering(self) -> ResponseDecoder:
        """What reads its answer."""
        manner = self._manner or self._read()
        reading = self.passing(manner) if self.passing else make_reader(self.course, manner)
        return ResponseDecoder(self.course, manner, reading)

    def send_new_turn_only(self) -> None:
        """The server knows what was said before: only the new turn is sent."""
        asking = self.asking
        asking.messages = [*new_turn(asking.messages)]
        if "messages" in asking.body:
            asking.body = {**asking.body, "messages": asking.messages}
        asking.data = None
        self.local_stop_strings = asking.make_document()
        self._manner = self._read()
        vars(self).pop("answering", None)

    @property
    def keeps_session(self) -> bool:
        """Whether the session is kept for the next turn."""
        session = self.course.route.callouts.session
        return session is not None and session.conversation and self.course.endpoint.streams

    @property
    def succeeded(self) -> bool:
        """Whether the server's answer was read to its end, and all of it written."""
        answering = self.answering
        return self.done and answering.error is None and not answering.reading.ended

    @property
    def refused(self) -> bool:
        """Whether the answer itself was a failure that the server reports."""
        answering = self.answering
        return (
            answering.started
            and answering.error is not None
            and answering.error.kind is UpstreamFailure.REFUSED
        )

    @property
    def fully_read(self) -> bool:
        """Whether the answer ended well by its own word, so that only its connection's end is awaited."""
        return self.answering.error is None and not self.answering.reading.ended

    def reindexed(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Its deltas among those of other calls: a choice that was not asked for has no place there."""
        first, most = self.asking.first_index, self.asking.answers
        return [delta._replace(choice=first + delta.choice) for delta in deltas if delta.choice < most]

    def request(self) -> UpstreamRequest:
        """The request whose answer is the client's."""
        return self.asking.build()
