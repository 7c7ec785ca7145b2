"""Legacy completions: the checks of a request, the encoder of chunks, and the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core.errors import RequestError
from bridge.core.finish_reasons import text_finish_reason
from bridge.openai.encoders import ChunkEncoder, CompletionEncoder
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec
from bridge.openai.request_validation import COMMON_MEMBERS, missing_member
from bridge.openai.token_estimate import input_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Delta
    from bridge.core.json import JSONObject

__all__ = ["COMPLETIONS", "TextChunkEncoder"]


class TextChunkEncoder(ChunkEncoder):
    """Encodes deltas as chunks with `text`, which have neither a role, nor reasoning, nor tool calls."""

    __slots__ = ()

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Return the chunks of deltas."""
        return super().write([delta._replace(reasoning="", tool_calls=None) for delta in deltas])

    def _first_chunks(self, choice: int, delta: Delta | None) -> list[bytes]:
        return []

    def _choice(self, choice: int, delta: JSONObject, finish: str | None, logprobs: Any) -> JSONObject:
        reason = text_finish_reason(finish) if finish else None
        text = delta.get("content", "")
        return {"text": text, "index": choice, "logprobs": logprobs, "finish_reason": reason}


def _check_prompt(body: JSONObject) -> None:
    prompt = body.get("prompt")
    if prompt is None:
        raise missing_member("prompt")
    if isinstance(prompt, list) and not prompt:
        raise RequestError(400, "`prompt` must not be empty", param="prompt", code="empty_array")


def _expand_sample(text: Any) -> JSONObject:
    return {"choices": [{"text": str(text)}]}


COMPLETIONS: Final = EndpointSpec(
    name="completions",
    path="completions",
    operation="text_completion",
    input_member="prompt",
    body=BodySchema.of(COMMON_MEMBERS, _check_prompt),
    unchecked_parameters=frozenset({"best_of", "echo", "suffix", "top_k"}),
    example={"prompt": "Hello!"},
    estimate_prompt=input_tokens("prompt"),
    output="text",
    slots=("choices", "text", "reasoning", "finish_reason", "tool_calls"),
    object="text_completion",
    chunk_object="text_completion",
    id_prefix="cmpl-",
    encoder=CompletionEncoder,
    stream_encoder=TextChunkEncoder,
    expand_sample=_expand_sample,
)
