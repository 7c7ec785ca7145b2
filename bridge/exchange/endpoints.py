"""The exchange's side of each endpoint: how requests are split, and how responses are read.

OpenAI's side of an endpoint is an `EndpointSpec`, in a module of `bridge/openai/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge.exchange.call_parts import chat_part, documents_part, image_part, input_batches, prompt_parts
from bridge.exchange.decode.completion_passthrough import CompletionPassthrough
from bridge.exchange.decode.embeddings import EmbeddingsPassthrough, EmbeddingsReader
from bridge.exchange.decode.images import ImagesPassthrough, ImagesReader
from bridge.exchange.decode.rerank import RerankPassthrough, RerankReader
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.exchange.decode.stream_passthrough import ChunkPassthrough

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.core.json import JSONObject
    from bridge.exchange.call_parts import CallParts
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["EXCHANGE_PARTS", "EndpointPassthrough", "ExchangeParts", "make_reader"]

EndpointPassthrough = CompletionPassthrough | EmbeddingsPassthrough | ImagesPassthrough | RerankPassthrough


@dataclass(frozen=True, slots=True)
class ExchangeParts:
    """The parts of an exchange that depend on the endpoint."""

    split: Callable[[EndpointPlan, JSONObject], CallParts]
    reader: type[
        ResponseReader | EmbeddingsReader | ImagesReader | RerankReader
    ]  # of non-streaming responses
    passthrough: type[EndpointPassthrough]  # of non-streaming responses in OpenAI's own shape


def make_reader(plan: EndpointPlan, options: ReadOptions, info: ResponseInfo | None) -> ResponseReader:
    """Return the reader of an upstream response; with `info`, the reader that forwards OpenAI's own."""
    if plan.stream_rule is not None:
        if info is not None:
            return ChunkPassthrough(plan.stream_rule.slots, options, info)
        return ResponseReader(
            plan.stream_rule.slots, options, streams=True, cumulative=plan.stream_rule.cumulative
        )
    parts, slots = EXCHANGE_PARTS[plan.endpoint.name], plan.route.response.non_streaming
    assert slots is not None  # an upstream without a stream has non-streaming responses
    return parts.reader(slots, options) if info is None else parts.passthrough(slots, options, info)


EXCHANGE_PARTS: Final[Mapping[str, ExchangeParts]] = {
    "chat": ExchangeParts(chat_part, ResponseReader, CompletionPassthrough),
    "completions": ExchangeParts(prompt_parts, ResponseReader, CompletionPassthrough),
    "embeddings": ExchangeParts(input_batches, EmbeddingsReader, EmbeddingsPassthrough),
    "images": ExchangeParts(image_part, ImagesReader, ImagesPassthrough),
    "rerank": ExchangeParts(documents_part, RerankReader, RerankPassthrough),
}
"""By the name of the endpoint."""
