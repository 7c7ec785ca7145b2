"""One upstream call of an exchange: its requests, its session, and the reading of its answer."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bridge.core.errors import Kind
from bridge.exchange.callouts import Around
from bridge.exchange.conversation_key import new_turn
from bridge.exchange.decode.choice_state import Manner
from bridge.exchange.decode.response_decoder import Answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.core.deltas import Delta
    from bridge.exchange.decode.by_endpoint import Passing
    from bridge.exchange.decode.passthrough import ChunkPassing
    from bridge.exchange.request_builder import Asking
    from bridge.routes.rules.request_template import UpstreamRequest

__all__ = ["Leg"]


class Leg:
    """One call of the exchange that is called `id`.

    `passing` makes what passes its answer on, if that is not read by the rules. `settled`: all of its answer
    was read and written.
    """

    passing: Callable[[Manner], ChunkPassing | Passing] | None = None
    settled = False
    _manner: Manner | None = None
    replica: int | None = None
    around: Around | None = None

    def __init__(self, asking: Asking, id: str, conversation: str | None) -> None:  # noqa: A002
        self._id = id
        self.asking = asking
        self.course = course = asking.course
        self.cuts = asking.make_document()
        if course.around:
            self.around = Around(self, conversation)
            self._manner = self._read()  # of what the client says, not of what the calls are to find

    def _read(self) -> Manner:
        """How its answer is to be read."""
        asking = self.asking
        prompt = str(asking.document.get("prompt", ""))
        number = f"_{asking.number}" if asking.number else ""
        return Manner(prompt, self.cuts, asking.answers, f"call_{self._id}{number}", asking.estimate())

    @cached_property
    def answering(self) -> Answering:
        """What reads its answer."""
        manner = self._manner or self._read()
        return Answering(self.course, manner, self.passing(manner) if self.passing else None)

    def resume(self) -> None:
        """The server knows what was said before: only the new turn is sent."""
        asking = self.asking
        asking.messages = [*new_turn(asking.messages)]
        if "messages" in asking.body:
            asking.body = {**asking.body, "messages": asking.messages}
        asking.data = None
        self.cuts = asking.make_document()
        self._manner = self._read()
        vars(self).pop("answering", None)

    @property
    def keeps_session(self) -> bool:
        """Whether the session is kept for the next turn."""
        session = self.course.route.session
        return session is not None and session.conversation and self.course.finds == "text"

    @property
    def ended_well(self) -> bool:
        """Whether the server's answer was read to its end, and all of it written."""
        answering = self.answering
        return self.settled and answering.error is None and not answering.reading.ended

    @property
    def refused(self) -> bool:
        """Whether the answer itself was a failure that the server reports."""
        answering = self.answering
        return answering.started and answering.error is not None and answering.error.kind is Kind.REFUSED

    @property
    def whole_read(self) -> bool:
        """Whether the answer ended well by its own word, so that only its connection's end is awaited."""
        return self.answering.error is None and not self.answering.reading.ended

    def placed(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Its deltas among those of other calls: a choice that was not asked for has no place there."""
        first, most = self.asking.first, self.asking.answers
        return [delta._replace(choice=first + delta.choice) for delta in deltas if delta.choice < most]

    def request(self) -> UpstreamRequest:
        """The request whose answer is the client's."""
        return self.asking.main()
