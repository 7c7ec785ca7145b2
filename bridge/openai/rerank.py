"""Rerank: the checks of a request, responses, and the endpoint.

OpenAI has no such API. The request and the response are those on which Cohere's version 2 and Jina agree:

    {"query": "…", "documents": ["…", {"text": "…"}], "top_n": 3, "return_documents": true}
    {"results": [{"index": 1, "relevance_score": 0.98, "document": {"text": "…"}}, …]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.errors import RequestError
from bridge.openai.endpoint_spec import BodySchema, EndpointSpec, MemberCheck
from bridge.openai.request_validation import COMMON_MEMBERS, STRING, invalid_type, missing_member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import RankedDocument, Usage
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["RERANK", "RerankEncoder"]


class RerankEncoder:
    """Encodes ranked documents as one response, the best first."""

    __slots__ = ("_documents", "_info")

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._documents: list[RankedDocument] = []

    def write(self, documents: Sequence[Any]) -> bytes:
        """Keep the documents."""
        self._documents += documents
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the response: up to `top_n` documents, with their texts if the client requests them."""
        request = self._info.request_body
        ranked = sorted(self._documents, key=lambda document: -document.score)[: request.get("top_n")]
        with_text = request.get("return_documents") is True
        results = [self._result(document, with_text=with_text) for document in ranked]
        body: JSONObject = {"id": self._info.id, "model": self._info.model, "results": results}
        if usage is not None:
            body["usage"] = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
        return json.dumps(body)

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""

    def _result(self, document: RankedDocument, *, with_text: bool) -> JSONObject:
        result: JSONObject = {"index": document.place, "relevance_score": document.score}
        if with_text:
            sent = document.document
            if sent is None:
                sent = self._info.request_body["documents"][document.place]
            result["document"] = {"text": sent} if isinstance(sent, str) else sent
        return result


def _check_documents(body: JSONObject) -> None:
    for name in ("query", "documents"):
        if body.get(name) is None:
            raise missing_member(name)
    if not body["documents"]:
        raise RequestError(400, "`documents` must not be empty", param="documents", code="empty_array")
    for number, document in enumerate(body["documents"]):
        text = document.get("text") if isinstance(document, dict) else document
        if not isinstance(text, str):
            raise invalid_type(f"documents[{number}]", "a string, or an object with a `text`", document)


def _expand_sample(indexes: Any) -> JSONObject:
    numbers = indexes if isinstance(indexes, list) else [indexes]
    return {"results": [{"index": number} for number in numbers]}


_MEMBERS = {
    "model": COMMON_MEMBERS["model"],
    "query": STRING,
    "documents": MemberCheck("an array of texts", (list,)),
    "top_n": MemberCheck("an integer of at least 1", (), lambda value: type(value) is int and value >= 1),
    "return_documents": MemberCheck("a boolean", (bool,)),
}

RERANK: Final = EndpointSpec(
    name="rerank",
    path="rerank",
    operation="rerank",
    input_member="documents",
    body=BodySchema.of(_MEMBERS, _check_documents),
    unchecked_parameters=frozenset({"max_tokens_per_doc", "max_chunks_per_doc", "rank_fields", "truncation"}),
    bridge_parameters=frozenset({"query", "top_n", "return_documents"}),
    has_choices=False,
    example={"query": "colour of the sea", "documents": ["Deep teal.", "A number."]},
    estimate_prompt=None,
    output="rerank",
    slots=("rerank", "index", "score", "document"),
    id_prefix="rerank-",
    has_output_tokens=False,
    encoder=RerankEncoder,
    expand_sample=_expand_sample,
)
