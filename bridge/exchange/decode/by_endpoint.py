"""Answers by what their endpoint asks for: who reads them, who passes them on, what the reply is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.exchange.decode.embeddings import EmbeddingsPassthrough, EmbeddingsReader
from bridge.exchange.decode.images import ImagePassing, ImagesReader
from bridge.exchange.decode.passthrough import CompletionPassthrough
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.openai.embeddings import EmbeddingsReply
from bridge.openai.encoders import CompletionEncoder
from bridge.openai.images import ImagesReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.routes.rules.route import EndpointPlan

__all__ = ["KINDS", "EndpointCodec", "EndpointEncoder", "EndpointPassthrough", "make_reader"]

EndpointPassthrough = CompletionPassthrough | EmbeddingsPassthrough | ImagePassing
EndpointEncoder = CompletionEncoder | EmbeddingsReply | ImagesReply


class EndpointCodec(NamedTuple):
    """Of whole answers: what reads them, what passes OpenAI's own on, and the reply to them."""

    reading: type[ResponseReader | EmbeddingsReader | ImagesReader]
    passing: type[EndpointPassthrough]
    reply: type[EndpointEncoder]


def make_reader(course: EndpointPlan, manner: ReadOptions) -> ResponseReader:
    """What reads the answers of a course."""
    if course.stream is not None:
        return ResponseReader(course.stream.answer, manner, cumulative=course.stream.cumulative)
    assert course.whole is not None
    return KINDS[course.output].reading(course.whole, manner)


KINDS: Final[Mapping[str, EndpointCodec]] = {
    "text": EndpointCodec(ResponseReader, CompletionPassthrough, CompletionEncoder),
    "embeddings": EndpointCodec(EmbeddingsReader, EmbeddingsPassthrough, EmbeddingsReply),
    "images": EndpointCodec(ImagesReader, ImagePassing, ImagesReply),
}
"""By the `finds` of an endpoint."""
