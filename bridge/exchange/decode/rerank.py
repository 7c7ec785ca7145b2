"""Readers of ranked documents: one response with a score for each document of the request."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import RankedDocument
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.exchange.decode.values import as_list

if TYPE_CHECKING:
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["RerankPassthrough", "RerankReader"]

_INDEXES = ("index", "corpus_id", "document_index")
_SCORES = ("relevance_score", "score")


class RerankReader(ResponseReader):
    """The reader of a response with ranked documents."""

    __slots__ = ()

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the documents in the order of the response. Raises UpstreamError about an invalid one."""
        self.counts.read(self._rule.usage, scope)
        items = self._items(scope)
        inputs = self._options.choices
        documents = [self._document(scope.with_item(item), number) for number, item in enumerate(items)]
        for document in documents:
            if not 0 <= document.place < inputs:
                raise _malformed(f"index {document.place} for {inputs} documents")
        if documents:
            self.has_output = True
        else:
            self._samples.append(scope.doc)
        return documents

    def close(self) -> list[Any]:
        """Return nothing: the reader holds nothing back."""
        return []

    def has_text(self, scope: Scope) -> bool:
        """Return whether a response that also has an error may contain documents."""
        return bool(self._items(scope))

    def no_output_message(self) -> str:
        """Return the error text for a response without documents."""
        path = self._rule.rerank.text if self._rule.rerank else ""
        if not path:
            return "the route has no `rerank` to read from this response"
        return f"`{path}` matched no list of ranked documents in the upstream's response"

    def _items(self, scope: Scope) -> list[Any]:
        rerank = self._rule.rerank
        return [] if rerank is None else as_list(rerank.find(scope))

    def _document(self, scope: Scope, number: int) -> RankedDocument:
        """Return the document of one item: by the rule's slots, by usual names, or a score by itself."""
        rule, item = self._rule, scope.item
        members = item if isinstance(item, dict) else {}
        index = rule.index.read(scope) if rule.index else _first(members, _INDEXES, number)
        score = rule.score.read(scope) if rule.score else _first(members, _SCORES, item)
        document = rule.document.read(scope) if rule.document else members.get("document")
        if type(index) is not int:
            raise _malformed(f"an index that is not an integer: {str(index)[:40]}")
        if type(score) not in (int, float) or not isfinite(score):
            raise _malformed(f"a score that is not a finite number: {str(score)[:40]}")
        return RankedDocument(index, score, document if isinstance(document, str | dict) else None)


class RerankPassthrough(RerankReader):
    """The reader of responses in the usual shape: the upstream's bytes."""

    __slots__ = ()

    def __init__(self, rule: ResponseSlots, options: ReadOptions, info: ResponseInfo) -> None:
        super().__init__(rule, options)

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the bytes of the body."""
        if not super().read(scope):
            return []
        return [data if data is not None else json.dumps(scope.doc)]


def _first(members: dict[str, Any], names: tuple[str, ...], default: Any) -> Any:
    """Return the first member of these names, else the default."""
    return next((members[name] for name in names if name in members), default)


def _malformed(what: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream sent {what}")
