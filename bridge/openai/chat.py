"""Chat completions: the checks of a request, and the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.openai.encoders import ChunkEncoder, CompletionEncoder
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec
from bridge.openai.request_validation import COMMON_MEMBERS, check_messages, invalid_type, missing_member
from bridge.openai.token_estimate import chat_tokens

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["CHAT"]


def _check_messages(body: JSONObject) -> None:
    check_messages(body)
    for number, message in enumerate(body["messages"]):
        if type(message.get("role")) is not str:
            at = f"messages[{number}].role"
            raise invalid_type(at, "a string", message["role"]) if "role" in message else missing_member(at)
        content = message.get("content")
        if type(content) is not str and content is not None:
            _check_content(f"messages[{number}].content", content)


def _check_content(at: str, content: Any) -> None:
    if not isinstance(content, list):
        raise invalid_type(at, "a string or a list of content parts", content)
    for number, part in enumerate(content):
        if not isinstance(part, dict):
            raise invalid_type(f"{at}[{number}]", "an object", part)


def _expand_sample(text: Any) -> JSONObject:
    return {"choices": [{"message": {"content": str(text)}}]}


CHAT: Final = EndpointSpec(
    name="chat",
    path="chat/completions",
    operation="chat",
    input_member="messages",
    body=BodySchema.of(COMMON_MEMBERS, _check_messages),
    unchecked_parameters=frozenset({
        "audio", "function_call", "functions", "metadata", "modalities", "moderation", "parallel_tool_calls",
        "prediction", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "safety_identifier",
        "service_tier", "store", "top_k", "verbosity", "web_search_options",
    }),
    has_messages=True,
    example={"messages": [{"role": "user", "content": "Hello!"}]},
    estimate_prompt=chat_tokens,
    output="text",
    slots=("choices", "text", "reasoning", "finish_reason", "tool_calls"),
    object="chat.completion",
    chunk_object="chat.completion.chunk",
    id_prefix="chatcmpl-",
    encoder=CompletionEncoder,
    stream_encoder=ChunkEncoder,
    expand_sample=_expand_sample,
)  # fmt: skip
