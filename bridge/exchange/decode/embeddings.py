"""Readers of embeddings: one response with one vector for each input of the upstream call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, Embedding
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.expressions.paths import vector_paths
from bridge.openai.embeddings import normalize_embeddings, read_vectors

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["EmbeddingsPassthrough", "EmbeddingsReader"]


class EmbeddingsReader(ResponseReader):
    """The reader of a response with embeddings."""

    __slots__ = ()

    @property
    def usage(self) -> Usage | None:
        """Return the token counts, of which all are the inputs'."""
        usage = super().usage
        return usage and usage._replace(prompt_tokens=usage.prompt_tokens or usage.total_tokens)

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the vectors in the order of their inputs.

        Raises UpstreamError if the response has not one vector for each input.
        """
        self.counts.read(self._rule.usage, scope)
        value = self._value(scope)
        if value is MISSING:
            self._samples.append(scope.doc)
            return []
        vectors, inputs = read_vectors(value), self._options.choices
        if len(vectors) != inputs:
            message = f"the upstream sent {_count(len(vectors), 'embedding')} for {_count(inputs, 'input')}"
            if len(vectors) == 1:
                message += ": `emulate: {batch: 1}` sends the inputs one by one"
            raise UpstreamError(UpstreamFailure.MALFORMED, message)
        self.has_output = True
        return [Embedding(numbers, index) for index, numbers in enumerate(vectors)]

    def close(self) -> list[Any]:
        """Return nothing: the reader holds nothing back."""
        return []

    def has_text(self, scope: Scope) -> bool:
        """Return whether a response that also has an error may contain vectors."""
        return isinstance(self._value(scope), list | str)

    def no_output_message(self) -> str:
        """Return the error text for a response without embeddings."""
        path = str(self._rule.embeddings or "")
        if not path:
            return "the route has no `embeddings` to read from this response"
        places = ", ".join(vector_paths(self._samples, path))
        return f"`{path}` matched no embedding in the upstream's response; " + (
            f"numbers are at {places}" if places else "the response contains no list of numbers"
        )

    def _value(self, scope: Scope) -> Any:
        slot = self._rule.embeddings
        return MISSING if slot is None else slot.read(scope)


class EmbeddingsPassthrough(EmbeddingsReader):
    """The reader of OpenAI's own embeddings: the upstream's bytes, unless they have to be normalized."""

    __slots__ = ("_info",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions, info: ResponseInfo) -> None:
        super().__init__(rule, options)
        self._info = info

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the bytes of the body."""
        vectors = [vector.numbers for vector in super().read(scope)]
        if not vectors:
            return []
        body = normalize_embeddings(scope.doc, vectors, self._info, self.usage)
        return [data if body is scope.doc and data is not None else json.dumps(body)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
