"""What an answer should look like; and by what its endpoint asks for: who reads it, passes it on, replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.exchange.embeddings import VectorPassing, VectorReading
from bridge.exchange.images import ImagePassing, ImageReading
from bridge.exchange.passing import CompletionPassing
from bridge.exchange.reading import Reading
from bridge.openai.embeddings import EmbeddingsReply
from bridge.openai.images import ImagesReply
from bridge.openai.replies import WholeReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.exchange.choices import Manner
    from bridge.routes.answers import AnswerRule, StreamRule
    from bridge.routes.failing import Failing
    from bridge.rules.slots import Slot

__all__ = ["KINDS", "Expected", "Kind", "Passing", "Whole"]

Passing = CompletionPassing | VectorPassing | ImagePassing
Whole = WholeReply | EmbeddingsReply | ImagesReply


class Kind(NamedTuple):
    """Of whole answers: what reads them, what passes OpenAI's own on, and the reply to them."""

    reading: type[Reading | VectorReading | ImageReading]
    passing: type[Passing]
    reply: type[Whole]


class Expected(NamedTuple):
    """What a call's answer should look like.

    `stream` None: it was asked to answer whole. `session` is where it names the session it opened. `finds` is
    what its endpoint asks for, a word of `KINDS`.
    """

    whole: AnswerRule | None
    stream: StreamRule | None
    failing: Failing
    manner: Manner
    session: Slot | None
    frame_limit: int
    answer_limit: int
    finds: str = "text"

    def reading(self) -> Reading:
        """What reads it."""
        if self.stream is not None:
            return Reading(self.stream.answer, self.manner, cumulative=self.stream.cumulative)
        assert self.whole is not None
        return KINDS[self.finds].reading(self.whole, self.manner)


KINDS: Final[Mapping[str, Kind]] = {
    "text": Kind(Reading, CompletionPassing, WholeReply),
    "embeddings": Kind(VectorReading, VectorPassing, EmbeddingsReply),
    "images": Kind(ImageReading, ImagePassing, ImagesReply),
}
"""By the `finds` of an endpoint."""
