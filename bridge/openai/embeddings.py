"""Embeddings: vectors in the shapes that upstreams send, responses in OpenAI's shape, and the endpoint.

    [0.5, -0.25]   [[…], […]]   [{"index": 1, "embedding": […]}, …]   "[0.5, -0.25]"   "AAAAPwAAgL4="
        └──────────────┴─────────────────────┬─────────────────────────────┴────────────────┘
                                    [[0.5, -0.25], …]

A client receives the format that it requests, whatever the upstream sends. Every number must fit a 32-bit
float, which base64 carries, and all vectors of a response must have the same length.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.deltas import Usage
from bridge.core.errors import RequestError, UpstreamError, UpstreamFailure
from bridge.openai.encoders import usage_object
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.normalize import keep_items, omit, upstream_identity, with_members
from bridge.openai.request_validation import COMMON_MEMBERS, are_prompts, missing_member, no_stream
from bridge.openai.token_estimate import input_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["EMBEDDINGS", "EmbeddingsEncoder", "normalize_embeddings", "read_vectors"]

Numbers = list[float]


def read_vectors(value: Any) -> list[Numbers]:
    """Return the vectors in a value that a slot found. Raises UpstreamError about an invalid vector."""
    value = _unwrapped(value)
    if value == []:
        return []
    if not isinstance(value, list):
        raise _malformed("sent no list of numbers as an embedding")
    if _is_one_vector(value):
        return [_checked(value)]
    return [_checked(_one_row(_unwrapped(item))) for item in _in_order(value)]


class EmbeddingsEncoder:
    """Encodes vectors as one response."""

    __slots__ = ("_info", "_vectors")

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._vectors: dict[int, Numbers] = {}

    def write(self, vectors: Sequence[Any]) -> bytes:
        """Keep the vectors."""
        self._vectors.update((vector.choice, vector.numbers) for vector in vectors)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the response. Raises UpstreamError if the vectors have different lengths."""
        vectors = [self._vectors[number] for number in sorted(self._vectors)]
        return json.dumps(normalize_embeddings({}, vectors, self._info, usage))

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""


def normalize_embeddings(
    body: JSONObject, vectors: list[Numbers], info: ResponseInfo, usage: Usage | None
) -> JSONObject:
    """Return a body with these vectors in the requested format: the same object if nothing differs.

    `usage` are the token counts that were read from the body; without counts, they are 0. Raises
    UpstreamError if the vectors differ in length, or have not the requested `dimensions`.
    """
    request = info.request_body
    _check_lengths(vectors, request.get("dimensions"))
    sent = body.get("data")
    items = _in_order(sent) if isinstance(sent, list) and len(sent) == len(vectors) else [{}] * len(vectors)
    encode = _as_base64 if request.get("encoding_format") == "base64" else _as_numbers
    data = [
        with_members(
            item if isinstance(item, dict) else {},
            {"object": "embedding", "index": number, "embedding": encode(numbers)},
        )
        for number, (item, numbers) in enumerate(zip(items, vectors, strict=True))
    ]
    members: JSONObject = {
        "object": "list",
        "data": keep_items(data, sent),
        "model": upstream_identity(info, body).model,
    }
    # Typed clients require the counts.
    counts = usage_object(usage or Usage())
    own = body["usage"] if isinstance(body.get("usage"), dict) else {}
    members["usage"] = with_members(own, {name: counts[name] for name in counts if name in _COUNTS})
    return with_members(omit(body, "error"), members)


def _unwrapped(value: Any) -> Any:
    """Return the list in JSON text, in base64, or in an object of OpenAI's shape."""
    if isinstance(value, dict):
        value = value.get("embedding")
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        try:
            return _unwrapped(json.loads_text(value))
        except ValueError:
            raise _malformed("sent an embedding as text that is not JSON") from None
    try:
        data = b64decode(value.encode().translate(None, _WHITE_SPACE), validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (ValueError, struct.error):
        raise _malformed("sent an embedding as text that is neither JSON nor base64 of floats") from None


def _is_one_vector(value: list[Any]) -> bool:
    """Return whether a list is one vector, valid or not, instead of a list of vectors."""
    return not isinstance(value[0], list | dict | str)


def _in_order(items: list[Any]) -> list[Any]:
    """Return items in the order of their indexes if all indexes are different integers."""
    indexes = [item.get("index") if isinstance(item, dict) else None for item in items]
    if all(type(index) is int for index in indexes) and len(set(indexes)) == len(items):
        return sorted(items, key=lambda item: int(item["index"]))
    return items


def _one_row(item: Any) -> Any:
    """Return the vector of an input: the only row of a list. Raises UpstreamError if there are more rows."""
    if not isinstance(item, list) or not item or _is_one_vector(item):
        return item
    if len(item) > 1:
        raise _malformed(
            f"sent {len(item)} rows for one input, an embedding for each token: turn on pooling in the "
            "upstream's settings"
        )
    return _unwrapped(item[0])


def _checked(numbers: Any) -> Numbers:
    """Return a vector that both formats can encode. Raises UpstreamError about any other value."""
    if not isinstance(numbers, list) or not numbers:
        raise _malformed("sent an embedding with no numbers")
    if not set(map(type, numbers)) <= {int, float}:
        raise _malformed("sent an embedding with values that are not finite numbers (NaN, perhaps)")
    try:
        struct.pack(f"<{len(numbers)}f", *numbers)
    except (struct.error, OverflowError):
        raise _malformed("sent an embedding with a number that does not fit a 32-bit float") from None
    if not all(map(isfinite, numbers)):
        raise _malformed("sent an embedding with NaN or infinity")
    return numbers


def _check_lengths(vectors: list[Numbers], dimensions: Any) -> None:
    lengths = {len(numbers) for numbers in vectors}
    if len(lengths) > 1:
        raise _malformed(f"sent embeddings of different lengths: {', '.join(map(str, sorted(lengths)))}")
    if dimensions is not None and lengths != {dimensions}:
        raise UpstreamError(
            UpstreamFailure.MALFORMED,
            f"the upstream sent embeddings of {lengths.pop()} numbers: expected {dimensions}, the requested "
            "`dimensions`",
            status=400,  # another request succeeds, the same one never does
            param="dimensions",
            code="unsupported_parameter",
        )


def _as_base64(numbers: Numbers) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _as_numbers(numbers: Numbers) -> Numbers:
    return numbers


def _malformed(what: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream {what}")


_WHITE_SPACE = b" \t\n\v\f\r"
_COUNTS = {"prompt_tokens", "total_tokens", "estimated"}  # embeddings have no completion tokens


def _check_input(body: JSONObject) -> None:
    value = body.get("input")
    if value is None:
        raise missing_member("input")
    parts = value if isinstance(value, list) else []
    if value in ("", []) or "" in parts or [] in parts:
        raise RequestError(
            400, "`input` and all parts of `input` must not be empty", param="input", code="invalid_value"
        )
    if body.get("stream"):
        raise no_stream("embeddings")


def _expand_sample(vector: Any) -> JSONObject:
    return {"data": [{"embedding": vector}]}


_MEMBERS = COMMON_MEMBERS | {
    "input": MemberCheck(
        "a string, an array of strings, of tokens or of arrays of tokens", (str,), are_prompts
    ),
    "encoding_format": MemberCheck("`float` or `base64`", (), lambda value: value in ("float", "base64")),
    "dimensions": MemberCheck(
        "an integer of at least 1", (), lambda value: type(value) is int and value >= 1
    ),
}

EMBEDDINGS: Final = EndpointSpec(
    name="embeddings",
    path="embeddings",
    operation="embeddings",
    input_member="input",
    body=BodySchema.of(_MEMBERS, _check_input),
    bridge_parameters=frozenset({"encoding_format"}),
    has_choices=False,
    example={"input": "Hello!"},
    estimate_prompt=input_tokens("input"),
    output="embeddings",
    slots=("embeddings",),
    object="list",
    has_output_tokens=False,
    encoder=EmbeddingsEncoder,
    expand_sample=_expand_sample,
)
