"""The client's body: read, and checked only as far as the bridge itself relies on it.

A wrong type is told with its `param`, as OpenAI does; parameters that are not known here pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core import json
from bridge.core.errors import RequestError
from bridge.openai.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PARAMETERS", "STRUCTURAL_FIELDS", "content_text", "parse_request"]


def parse_request(endpoint: Endpoint, data: bytes) -> dict[str, Any]:
    """The body as a mapping. Raises RequestError (400) that names the member at fault."""
    if _depth(data) > _DEEPEST:
        raise RequestError(400, f"the body is nested deeper than {_DEEPEST} levels", code="invalid_json")
    try:
        body = json.loads(data)
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise RequestError(400, f"the body must be a JSON object, not {_kind(body)}", code="invalid_json")
    checks = _CHECKED[endpoint.name]
    if "model" not in body:
        if endpoint is not IMAGES:
            raise _missing("model")
        body["model"] = _IMAGE_MODEL
    sound = checks.trusted_types
    for name, value in body.items():
        if name in sound and type(value) not in sound[name]:
            _check_member(name, value, checks.members[name])
    model = body["model"]
    if not model:
        raise RequestError(400, "`model` must not be empty", param="model", code="invalid_value")
    if not model.isascii() and _SURROGATE.search(model):  # it goes into headers, URLs and every chunk
        raise _wrong("model", "a string of whole characters", model)
    checks.together(body)
    return body


def content_text(message: dict[str, Any]) -> str | None:
    """The text of a message: its content, or its text parts, a line each. None: it holds more than text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    texts = [part.get("text") for part in content if part.get("type", "text") in ("text", "input_text")]
    if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
        return None
    return "\n".join(texts)


def _depth(data: bytes) -> int:
    """How deep brackets nest, at most: counted only where there are enough of them."""
    if data.count(b"[") + data.count(b"{") <= _DEEPEST:
        return 0
    depth = deepest = 0
    for bracket in _BRACKET.finditer(data):
        match bracket[0][:1]:
            case b"[" | b"{":
                depth += 1
                deepest = max(deepest, depth)
            case b"]" | b"}":
                depth -= 1
    return deepest


def _check_member(name: str, value: Any, check: _Check) -> None:
    if check.holds is None or not check.holds(value):
        raise _wrong(name, check.expected, value)


def _check_messages(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise _missing("messages")
    if not messages:
        raise RequestError(400, "`messages` must not be empty", param="messages", code="empty_array")
    for number, message in enumerate(messages):
        if type(message) is not dict:
            raise _wrong(f"messages[{number}]", "an object", message)
        if type(message.get("role")) is not str:
            at = f"messages[{number}].role"
            raise _wrong(at, "a string", message["role"]) if "role" in message else _missing(at)
        content = message.get("content")
        if type(content) is not str and content is not None:
            _check_content(f"messages[{number}].content", content)


def _check_content(at: str, content: Any) -> None:
    if not isinstance(content, list):
        raise _wrong(at, "a string or a list of content parts", content)
    for number, part in enumerate(content):
        if not isinstance(part, dict):
            raise _wrong(f"{at}[{number}]", "an object", part)


def _check_prompt(body: dict[str, Any]) -> None:
    prompt = body.get("prompt")
    if prompt is None:
        raise _missing("prompt")
    if isinstance(prompt, list) and not prompt:
        raise RequestError(400, "`prompt` must not be empty", param="prompt", code="empty_array")


def _check_input(body: dict[str, Any]) -> None:
    given = body.get("input")
    if given is None:
        raise _missing("input")
    parts = given if isinstance(given, list) else []
    if given in ("", []) or "" in parts or [] in parts:
        raise RequestError(
            400, "`input` must not be empty, nor any part of it", param="input", code="invalid_value"
        )
    if body.get("stream"):
        raise _no_stream("embeddings")


def _check_image(body: dict[str, Any]) -> None:
    if not body.get("prompt"):
        raise _missing("prompt")
    if body.get("stream"):
        raise _no_stream("images")


def _no_stream(what: str) -> RequestError:
    return RequestError(
        400, f"{what} are not streamed here: leave `stream` out", param="stream", code="unsupported_value"
    )


class _Check(NamedTuple):
    """What a member must be: of one of the `kinds` that JSON makes, or what `holds` says of any other."""

    expected: str
    kinds: tuple[type, ...]
    holds: Callable[[Any], bool] | None = None


def _are_prompts(value: Any) -> bool:
    """Texts, tokens, or lists of tokens."""
    return _are_strings(value) or _are_tokens(value) or (type(value) is list and all(map(_are_tokens, value)))


def _are_strings(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _are_tokens(value: Any) -> bool:
    return type(value) is list and all(type(item) is int for item in value)


def _missing(name: str) -> RequestError:
    return RequestError(400, f"`{name}` is missing", param=name, code="missing_required_parameter")


def _wrong(name: str, expected: str, value: Any) -> RequestError:
    return RequestError(
        400, f"`{name}` must be {expected}, not {_kind(value)}", param=name, code="invalid_type"
    )


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 100  # levels; JSON writers give up between 250 and 1000
_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_INTEGER = _Check("an integer", (int,))
_NUMBER = _Check("a number", (int, float))
_OBJECT = _Check("an object", (dict,))
_STRING = _Check("a string", (str,))

_CHECKS: dict[str, _Check] = {
    "model": _STRING,
    "messages": _Check("an array of messages", (list,)),
    "prompt": _Check("a string, an array of strings or arrays of tokens", (str,), _are_prompts),
    "stream": _Check("a boolean", (bool,)),
    "stream_options": _OBJECT,
    "n": _Check("an integer of at least 1", (), lambda value: type(value) is int and 1 <= value <= 128),
    "stop": _Check("a string or an array of strings", (str,), _are_strings),
    "max_tokens": _INTEGER,
    "max_completion_tokens": _INTEGER,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "seed": _INTEGER,
    "logit_bias": _OBJECT,
    "logprobs": _Check("a boolean or an integer", (bool, int)),
    "top_logprobs": _INTEGER,
    "tools": _Check("an array", (list,)),
    "tool_choice": _Check("a string or an object", (str, dict)),
    "response_format": _OBJECT,
    "user": _STRING,
}

_EMBEDDING_CHECKS: dict[str, _Check] = {
    "input": _Check("a string, an array of strings, of tokens or of arrays of tokens", (str,), _are_prompts),
    "encoding_format": _Check("`float` or `base64`", (), lambda value: value in ("float", "base64")),
    "dimensions": _Check("an integer of at least 1", (), lambda value: type(value) is int and value >= 1),
}

_IMAGE_CHECKS: dict[str, _Check] = {
    "prompt": _STRING,
    "size": _STRING,
    "quality": _STRING,
    "response_format": _Check("`url` or `b64_json`", (), lambda value: value in ("url", "b64_json")),
}


class _Checks(NamedTuple):
    """What is checked of a body: of its `members`, and of all `together`.

    `sound`: the types in which a member needs no further look.
    """

    members: Mapping[str, _Check]
    trusted_types: Mapping[str, tuple[type, ...]]
    together: Callable[[dict[str, Any]], None]

    @classmethod
    def of(cls, members: Mapping[str, _Check], together: Callable[[dict[str, Any]], None]) -> _Checks:
        """The checks of one endpoint."""
        sound = {name: (*check.kinds, type(None)) for name, check in members.items()}
        return cls(members, sound, together)


_CHECKED: dict[str, _Checks] = {
    CHAT.name: _Checks.of(_CHECKS, _check_messages),
    COMPLETIONS.name: _Checks.of(_CHECKS, _check_prompt),
    EMBEDDINGS.name: _Checks.of(_CHECKS | _EMBEDDING_CHECKS, _check_input),
    IMAGES.name: _Checks.of(_CHECKS | _IMAGE_CHECKS, _check_image),
}

_IMAGE_MODEL = "dall-e-2"  # what OpenAI takes where none is named

STRUCTURAL_FIELDS = frozenset({"model", "messages", "prompt", "input", "stream", "stream_options"})
"""Members that make the request what it is; the others are parameters that a server may lack."""

PARAMETERS = (_CHECKS.keys() | _EMBEDDING_CHECKS.keys() | _IMAGE_CHECKS.keys()) - STRUCTURAL_FIELDS | {
    "audio", "background", "best_of", "echo", "function_call", "functions", "metadata", "modalities",
    "moderation", "output_compression", "output_format", "parallel_tool_calls", "prediction",
    "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "service_tier",
    "store", "style", "suffix", "top_k", "verbosity", "web_search_options",
}  # fmt: skip
"""The parameters OpenAI documents: a bounded set of names for metrics (and `top_k`, which many send)."""
