"""Answers by what their endpoint asks for: who reads them, who passes them on, what the reply is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.exchange.decode.embeddings import VectorPassing, VectorReading
from bridge.exchange.decode.images import ImagePassing, ImageReading
from bridge.exchange.decode.passthrough import CompletionPassing
from bridge.exchange.decode.response_reader import Reading
from bridge.openai.embeddings import EmbeddingsReply
from bridge.openai.encoders import WholeReply
from bridge.openai.images import ImagesReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.exchange.decode.choice_state import Manner
    from bridge.routes.rules.route import Course

__all__ = ["KINDS", "Kind", "Passing", "Whole", "reading_of"]

Passing = CompletionPassing | VectorPassing | ImagePassing
Whole = WholeReply | EmbeddingsReply | ImagesReply


class Kind(NamedTuple):
    """Of whole answers: what reads them, what passes OpenAI's own on, and the reply to them."""

    reading: type[Reading | VectorReading | ImageReading]
    passing: type[Passing]
    reply: type[Whole]


def reading_of(course: Course, manner: Manner) -> Reading:
    """What reads the answers of a course."""
    if course.stream is not None:
        return Reading(course.stream.answer, manner, cumulative=course.stream.cumulative)
    assert course.whole is not None
    return KINDS[course.finds].reading(course.whole, manner)


KINDS: Final[Mapping[str, Kind]] = {
    "text": Kind(Reading, CompletionPassing, WholeReply),
    "embeddings": Kind(VectorReading, VectorPassing, EmbeddingsReply),
    "images": Kind(ImageReading, ImagePassing, ImagesReply),
}
"""By the `finds` of an endpoint."""
