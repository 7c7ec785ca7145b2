"""The client's body: parsed, and checked only as far as the bridge itself relies on it.

Parameters that no schema checks are accepted. Errors name the member at fault as `param`, as OpenAI's do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.errors import RequestError
from bridge.core.json_bounds import has_more_values, nests_deeper
from bridge.core.messages import MAX_CHOICES
from bridge.openai.endpoint_spec import MemberCheck

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.openai.endpoint_spec import BodySchema, EndpointSpec

__all__ = [
    "COMMON_MEMBERS",
    "STRING",
    "are_prompts",
    "are_strings",
    "check_messages",
    "check_values",
    "invalid_type",
    "missing_member",
    "no_stream",
    "parse_request",
]


def parse_request(
    endpoint: EndpointSpec, data: bytes, *, max_values: int | None = None, in_steps: bool = False
) -> JSONObject:
    """Parse and check a request body. Raises RequestError (400) that names the member at fault.

    A body with more than `max_values` JSON values is rejected before it is parsed. With `in_steps`, as in a
    thread, a body with many values is parsed without holding the other threads.
    """
    if max_values is not None:
        check_values(data, max_values)
    body = _parse(data, in_steps=in_steps)
    if len(body) > _MAX_MEMBERS:
        raise RequestError(
            400, f"the body has {len(body)} members: expected up to {_MAX_MEMBERS}", code="too_many_members"
        )
    schema = endpoint.body
    # An escape may be a letter of a name. A search for one byte is ten times as fast as one for several.
    if data.count(b'"model"') > 1 or (b"\\" in data and b"\\u00" in data):
        _check_repeated_names(data)
    if not schema.names.issuperset(body) and set(map(str.casefold, body)) != body.keys():
        _check_case_of_names(schema, body)
    if "model" not in body:
        if schema.default_model is None:
            raise missing_member("model")
        body["model"] = schema.default_model
    valid_types = schema.valid_types
    for name, value in body.items():
        if name in valid_types and type(value) not in valid_types[name]:
            check = schema.members[name]
            if check.is_valid is None or not check.is_valid(value):
                raise invalid_type(name, check.expected, value)
    _check_model(body["model"])
    schema.check(body)
    return body


def check_values(data: bytes, limit: int) -> None:
    """Raise RequestError (400) if a body has more JSON values than a limit."""
    if has_more_values(data, limit):
        raise RequestError(
            400, f"the body has more than {limit} JSON values (limits.values)", code="too_many_values"
        )


def _parse(data: bytes, *, in_steps: bool) -> JSONObject:
    """Return the object in a body."""
    in_steps = in_steps and has_more_values(data, json.MAX_AT_ONCE)
    try:
        body = json.loads_in_steps(data) if in_steps else json.loads(data)
    except json.DepthError:
        raise _too_deep() from None
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise RequestError(400, f"the body must be a JSON object, not {_kind(body)}", code="invalid_json")
    # Each level takes two brackets. The levels are counted in the parsed value, since a scan of the bytes
    # would read every string again.
    if len(data) > 2 * _MAX_DEPTH and nests_deeper(body, _MAX_DEPTH):
        raise _too_deep()
    return body


def _check_repeated_names(data: bytes) -> None:
    """Raise RequestError (400) if the body repeats a name: upstreams may read either of the members."""
    seen: set[str] = set()
    for name in json.member_names(data):
        if name in seen:
            raise RequestError(
                400, f"the body has `{name}` more than once", param=name, code="duplicate_parameter"
            )
        seen.add(name)


def _check_case_of_names(schema: BodySchema, body: JSONObject) -> None:
    """Raise RequestError (400) if names differ in case only. Go's servers read `MODEL` as `model`."""
    seen = {name: name for name in schema.members}
    for name in body:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise RequestError(
                400,
                f"`{name}` differs from `{other}` in upper and lower case only: expected `{other}` alone",
                param=name,
                code="duplicate_parameter",
            )


def _too_deep() -> RequestError:
    return RequestError(400, f"the body is nested deeper than {_MAX_DEPTH} levels", code="invalid_json")


def _check_model(model: str) -> None:
    if not model:
        raise RequestError(400, "`model` must not be empty", param="model", code="invalid_value")
    if len(model) > _MAX_MODEL_NAME:
        raise RequestError(
            400,
            f"`model` has {len(model)} characters: expected up to {_MAX_MODEL_NAME}",
            param="model",
            code="string_above_max_length",
        )
    # The model's name goes into headers, URLs and every chunk.
    if not model.isascii() and _SURROGATE.search(model):
        raise invalid_type("model", "a string of whole characters", model)


def missing_member(name: str) -> RequestError:
    """Return the error of a required member that a body lacks."""
    return RequestError(400, f"`{name}` is missing", param=name, code="missing_required_parameter")


def invalid_type(name: str, expected: str, value: Any) -> RequestError:
    """Return the error of a member with a value that is not as expected."""
    return RequestError(
        400, f"`{name}` must be {expected}, not {_kind(value)}", param=name, code="invalid_type"
    )


def check_messages(body: JSONObject) -> None:
    """Raise RequestError (400) unless a body has a list of messages, each an object."""
    messages = body.get("messages")
    if messages is None:
        raise missing_member("messages")
    if not messages:
        raise RequestError(400, "`messages` must not be empty", param="messages", code="empty_array")
    for number, message in enumerate(messages):
        if type(message) is not dict:
            raise invalid_type(f"messages[{number}]", "an object", message)


def no_stream(outputs: str) -> RequestError:
    """Return the error of a request for a stream of outputs that are never streamed."""
    return RequestError(
        400, f"{outputs} are not streamed here: leave `stream` out", param="stream", code="unsupported_value"
    )


def are_prompts(value: Any) -> bool:
    """Return whether a value is a list of texts, of tokens, or of lists of tokens."""
    return are_strings(value) or _are_tokens(value) or (type(value) is list and all(map(_are_tokens, value)))


def are_strings(value: Any) -> bool:
    """Return whether a value is a list of strings."""
    return type(value) is list and all(type(item) is str for item in value)


def _are_tokens(value: Any) -> bool:
    return type(value) is list and all(type(item) is int for item in value)


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
_MAX_DEPTH = 100  # levels; JSON writers give up between 250 and 1000
_MAX_MEMBERS = 10_000  # they are copied for each upstream call
_MAX_MODEL_NAME = 256  # characters; names are kept in caches and written into every chunk

_INTEGER = MemberCheck("an integer", (int,))
_NUMBER = MemberCheck("a number", (int, float))
_OBJECT = MemberCheck("an object", (dict,))
STRING = MemberCheck("a string", (str,))

COMMON_MEMBERS: dict[str, MemberCheck] = {
    "model": STRING,
    "messages": MemberCheck("an array of messages", (list,)),
    "prompt": MemberCheck("a string, an array of strings or arrays of tokens", (str,), are_prompts),
    "stream": MemberCheck("a boolean", (bool,)),
    "stream_options": _OBJECT,
    "n": MemberCheck(
        f"an integer from 1 to {MAX_CHOICES}",
        (),
        lambda value: type(value) is int and 1 <= value <= MAX_CHOICES,
    ),
    "stop": MemberCheck("a string or an array of strings", (str,), are_strings),
    "max_tokens": _INTEGER,
    "max_completion_tokens": _INTEGER,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "seed": _INTEGER,
    "logit_bias": _OBJECT,
    "logprobs": MemberCheck("a boolean or an integer", (bool, int)),
    "top_logprobs": _INTEGER,
    "tools": MemberCheck("an array", (list,)),
    "tool_choice": MemberCheck("a string or an object", (str, dict)),
    "response_format": _OBJECT,
    "user": STRING,
}
"""The checks of members that all endpoints share."""
