"""The exchange's side of each endpoint: how requests are split, and how responses are read.

OpenAI's side of an endpoint is an `EndpointSpec`, in a module of `bridge/openai/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.exchange.call_parts import chat_part, image_part, input_batches, prompt_parts
from bridge.exchange.decode.completion_passthrough import CompletionPassthrough
from bridge.exchange.decode.embeddings import EmbeddingsPassthrough, EmbeddingsReader
from bridge.exchange.decode.images import ImagesPassthrough, ImagesReader
from bridge.exchange.decode.response_reader import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.core.json import JSONObject
    from bridge.exchange.call_parts import CallPart
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["EXCHANGE_PARTS", "EndpointPassthrough", "ExchangeParts", "make_reader"]

EndpointPassthrough = CompletionPassthrough | EmbeddingsPassthrough | ImagesPassthrough


class ExchangeParts(NamedTuple):
    """The parts of an exchange that depend on the endpoint."""

    split: Callable[[EndpointPlan, JSONObject], Iterator[CallPart]]
    reader: type[ResponseReader | EmbeddingsReader | ImagesReader]  # of non-streaming responses
    passthrough: type[EndpointPassthrough]  # of non-streaming responses in OpenAI's own shape


def make_reader(plan: EndpointPlan, options: ReadOptions) -> ResponseReader:
    """Return the reader of an upstream response."""
    if plan.stream_rule is not None:
        return ResponseReader(plan.stream_rule.slots, options, cumulative=plan.stream_rule.cumulative)
    assert plan.route.response.non_streaming is not None
    return EXCHANGE_PARTS[plan.endpoint.name].reader(plan.route.response.non_streaming, options)


EXCHANGE_PARTS: Final[Mapping[str, ExchangeParts]] = {
    "chat": ExchangeParts(chat_part, ResponseReader, CompletionPassthrough),
    "completions": ExchangeParts(prompt_parts, ResponseReader, CompletionPassthrough),
    "embeddings": ExchangeParts(input_batches, EmbeddingsReader, EmbeddingsPassthrough),
    "images": ExchangeParts(image_part, ImagesReader, ImagesPassthrough),
}
"""By the name of the endpoint."""
