"""Embeddings: what servers send for vectors, and the reply that clients expect.

    [0.5, -0.25]   [[…], […]]   [{"index": 1, "embedding": […]}, …]   "[0.5, -0.25]"   "AAAAPwAAgL4="
        └──────────────┴─────────────────────┬─────────────────────────────┴────────────────┘
                                    [[0.5, -0.25], …]

A client gets the format it asked for, whatever the server's was. Every number fits a 32-bit float, since
that is what base64 carries, and all vectors of a reply have one length.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.errors import RequestError, UpstreamError, UpstreamFailure
from bridge.openai.encoders import usage_object
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.normalize import json_equal, omit, with_upstream_identity
from bridge.openai.request_validation import COMMON_MEMBERS, are_prompts, missing_member, no_stream
from bridge.openai.token_estimate import input_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.encoders import CompletionInfo

__all__ = ["EMBEDDINGS", "EmbeddingsEncoder", "mend_embeddings", "read_vectors"]
Numbers = list[float]


def read_vectors(found: Any) -> list[Numbers]:
    """The vectors in what a slot found. Raises UpstreamError that says what is wrong with them."""
    found = _opened(found)
    if found == []:
        return []
    if not isinstance(found, list):
        raise _garbled("sent no list of numbers where an embedding should be")
    if _flat(found):
        return [_checked(found)]
    return [_checked(_one_row(_opened(item))) for item in _in_order(found)]


class EmbeddingsEncoder:
    """Folds vectors into one answer."""

    __slots__ = ("_head", "_vectors")

    started = False  # nothing leaves before the end, so a failure keeps its status

    def __init__(self, head: CompletionInfo) -> None:
        self._head = head
        self._vectors: dict[int, Numbers] = {}

    def write(self, vectors: Sequence[Any]) -> bytes:
        """Nothing yet: the vectors are kept."""
        self._vectors.update((vector.choice, vector.numbers) for vector in vectors)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """The answer. Raises UpstreamError where its vectors are not alike."""
        vectors = [self._vectors[number] for number in sorted(self._vectors)]
        return json.dumps(mend_embeddings({}, vectors, self._head, usage))

    def fail(self, error: BridgeError) -> bytes:
        """Nothing: the error's own envelope is the whole reply."""
        return b""


def mend_embeddings(
    body: JSONObject, vectors: list[Numbers], head: CompletionInfo, usage: Usage | None
) -> JSONObject:
    """An answer with these vectors in the format asked for: the same object, or a mended copy.

    `usage` are the counts that were understood of it; without any there are none in the answer. Raises
    UpstreamError where the vectors differ in length, or have not the `dimensions` that were asked for.
    """
    asked = head.request_body
    _check_lengths(vectors, asked.get("dimensions"))
    told = body.get("data")
    items = _in_order(told) if isinstance(told, list) and len(told) == len(vectors) else [{}] * len(vectors)
    encode = _as_base64 if asked.get("encoding_format") == "base64" else _as_numbers
    mended = {
        **omit(body, "error", "usage"),
        "object": "list",
        "data": [
            {
                **(item if isinstance(item, dict) else {}),
                "object": "embedding",
                "index": number,
                "embedding": encode(numbers),
            }
            for number, (item, numbers) in enumerate(zip(items, vectors, strict=True))
        ],
        "model": with_upstream_identity(head, body).model,
    }
    if usage is not None:
        counts = usage_object(usage)
        own = body["usage"] if isinstance(body.get("usage"), dict) else {}
        mended["usage"] = own | {name: counts[name] for name in counts if name in _COUNTS}
    return body if json_equal(mended, body) else mended


def _opened(found: Any) -> Any:
    """The list in a text of JSON or base64, or in an object of OpenAI's."""
    if isinstance(found, dict):
        found = found.get("embedding")
    if not isinstance(found, str):
        return found
    if found.lstrip().startswith(("[", "{")):
        try:
            return _opened(json.loads(found))
        except ValueError:
            raise _garbled("sent an embedding as text that is not JSON") from None
    try:
        data = b64decode("".join(found.split()), validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (ValueError, struct.error):
        raise _garbled("sent an embedding as text that is neither JSON nor base64 of floats") from None


def _flat(found: list[Any]) -> bool:
    """Whether it is one vector: whatever else is wrong with it, it holds no other vectors."""
    return not isinstance(found[0], list | dict | str)


def _in_order(items: list[Any]) -> list[Any]:
    """Items in the order of their indexes, where each has one of its own."""
    indexes = [item.get("index") if isinstance(item, dict) else None for item in items]
    if all(type(index) is int for index in indexes) and len(set(indexes)) == len(items):
        return sorted(items, key=lambda item: int(item["index"]))
    return items


def _one_row(item: Any) -> Any:
    """A vector that stands alone in a list of rows; more of them are those of single tokens."""
    if not isinstance(item, list) or not item or _flat(item):
        return item
    if len(item) > 1:
        raise _garbled(
            f"sent {len(item)} rows for one input, an embedding for each token: "
            "it must pool them, which is a setting of the server"
        )
    return _opened(item[0])


def _checked(numbers: Any) -> Numbers:
    """A vector that can be written in either format."""
    if not isinstance(numbers, list) or not numbers:
        raise _garbled("sent an embedding that holds no numbers")
    if not set(map(type, numbers)) <= {int, float}:
        raise _garbled("sent an embedding that holds something else than finite numbers (NaN, perhaps)")
    try:
        struct.pack(f"<{len(numbers)}f", *numbers)
    except (struct.error, OverflowError):
        raise _garbled("sent an embedding with a number that no 32-bit float holds") from None
    if not all(map(isfinite, numbers)):
        raise _garbled("sent an embedding that holds NaN or infinity")
    return numbers


def _check_lengths(vectors: list[Numbers], dimensions: Any) -> None:
    lengths = {len(numbers) for numbers in vectors}
    if len(lengths) > 1:
        raise _garbled(f"sent embeddings of different lengths: {', '.join(map(str, sorted(lengths)))}")
    if dimensions is not None and lengths != {dimensions}:
        raise _garbled(
            f"sent embeddings of {lengths.pop()} numbers where {dimensions} `dimensions` were asked for"
        )


def _as_base64(numbers: Numbers) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _as_numbers(numbers: Numbers) -> Numbers:
    return numbers


def _garbled(what: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream {what}")


_COUNTS = {"prompt_tokens", "total_tokens", "estimated"}  # there is nothing that embeddings complete


def _check_input(body: JSONObject) -> None:
    given = body.get("input")
    if given is None:
        raise missing_member("input")
    parts = given if isinstance(given, list) else []
    if given in ("", []) or "" in parts or [] in parts:
        raise RequestError(
            400, "`input` must not be empty, nor any part of it", param="input", code="invalid_value"
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
