"""Reads embeddings: one answer, as many vectors in it as there were inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, Embedding
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.strings import count_of
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.expressions.paths import vector_paths
from bridge.openai.embeddings import normalize_embeddings, read_vectors

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.encoders import CompletionInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["EmbeddingsPassthrough", "EmbeddingsReader"]


class EmbeddingsReader(ResponseReader):
    """The embeddings of one upstream call."""

    __slots__ = ("_seen_docs",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions) -> None:
        super().__init__(rule, options)
        self._seen_docs: list[Any] = []

    @property
    def usage(self) -> Usage | None:
        """The token counts found: all of them are the inputs'."""
        usage = super().usage
        return usage and usage._replace(prompt_tokens=usage.prompt_tokens or usage.total_tokens)

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """The vectors, in the order of their inputs. Raises UpstreamError where they are not that many."""
        self.count(scope)
        found = self._found(scope)
        if found is MISSING:
            self._seen_docs.append(scope.doc)
            return []
        vectors, inputs = read_vectors(found), self._options.choices
        if len(vectors) != inputs:
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                f"the upstream sent {count_of(len(vectors), 'embedding')} for {count_of(inputs, 'input')}"
                + (", which `emulate: {batch: 1}` would send one by one" if len(vectors) == 1 else ""),
            )
        self.has_output = True
        return [Embedding(numbers, number) for number, numbers in enumerate(vectors)]

    def close(self) -> list[Any]:
        """Nothing is held back."""
        return []

    def has_text(self, scope: Scope) -> bool:
        """Whether there may be vectors in the answer."""
        return isinstance(self._found(scope), list | str)

    def no_text_message(self) -> str:
        """What to say of an answer in which none was found."""
        wanted = str(self._rule.embeddings or "")
        if not wanted:
            return "the route has no `embeddings` to read from this answer"
        where = ", ".join(vector_paths(self._seen_docs, wanted))
        return f"`{wanted}` matched no embedding in the upstream's answer; " + (
            f"numbers are at {where}" if where else "there is no list of numbers in it at all"
        )

    def _found(self, scope: Scope) -> Any:
        slot = self._rule.embeddings
        return MISSING if slot is None else slot.read(scope)


class EmbeddingsPassthrough(EmbeddingsReader):
    """The same of a server that speaks OpenAI's language: its own bytes, unless they have to be mended."""

    __slots__ = ("_head",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions, head: CompletionInfo) -> None:
        super().__init__(rule, options)
        self._head = head

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """The bytes of the body."""
        vectors = [vector.numbers for vector in super().read(scope)]
        if not vectors:
            return []
        mended = normalize_embeddings(scope.doc, vectors, self._head, self.usage)
        return [data if mended is scope.doc and data is not None else json.dumps(mended)]
