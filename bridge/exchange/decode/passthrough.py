"""Answers of servers that speak OpenAI's language: passed on, and mended where they have faults.

These stand where `Reading` and a reply stand for other servers, and what flows between them are the bytes
themselves. An answer that comes in another shape than was asked for is read by the rules all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.openai.encoders import DONE, sse_event, usage_object
from bridge.openai.normalize import keep_items, normalize_finish_reason, normalize_usage, with_members
from bridge.openai.normalize_completion import normalize_completion
from bridge.openai.normalize_stream import ChunkNormalizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.encoders import CompletionInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["ChunkPassthrough", "CompletionPassthrough", "PassthroughEncoder", "PassthroughStreamEncoder"]


class CompletionPassthrough(ResponseReader):
    """A whole answer: its own bytes, unless something in them has to be mended."""

    __slots__ = ("_head",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions, head: CompletionInfo) -> None:
        super().__init__(rule, options)
        self._head = head

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """The bytes of the body; nothing where it is no completion."""
        super().read(scope)
        self.has_output = self.has_output or _may_lack_content(scope.doc)
        if not self.has_output:
            return []
        mended = normalize_completion(scope.doc, self._head, self.usage)
        return [data if mended is scope.doc and data is not None else json.dumps(mended)]

    def close(self) -> list[Any]:
        """Nothing is held back."""
        return []


class ChunkPassthrough(ResponseReader):
    """A stream: its chunks as they come, unless something in them has to be mended.

    Chunks that say nothing yet are held, so that a failure right behind them keeps its status; so is one
    that ends a choice as it speaks, until the next one shows whether the server means it.
    """

    __slots__ = ("_ending", "_held", "_usage", "normalizer")

    def __init__(self, rule: ResponseSlots, options: ReadOptions, head: CompletionInfo) -> None:
        super().__init__(rule, options)
        self.normalizer = ChunkNormalizer(head)
        self._held: list[bytes] = []
        self._ending: tuple[dict[str, Any], bytes] | None = None
        self._usage: tuple[dict[str, Any], bytes] | None = None

    @property
    def finish_seen(self) -> bool:
        """Whether a choice has had its finish."""
        return bool(self.normalizer.finished)

    def has_only_text(self, scope: Scope, data: bytes, deltas: list[Any]) -> bool:
        """Return whether a chunk passed unchanged, and holds a text of the first choice and nothing else."""
        match scope.doc:
            case {"choices": [{"index": 0, "delta": {"content": str(), **more}, **choice}], **rest}:
                others = more or choice.get("finish_reason") or choice.get("usage") or rest.get("usage")
                return not others and deltas == [_event({}, data)]
        return False

    def read_text(self, text: str, data: bytes | str | None) -> list[Any] | None:
        """Return the event of a chunk that holds this text of the first choice and nothing else.

        None: the chunk has to be read.
        """
        if self._held or self._ending is not None or 0 in self.normalizer.finished:
            return None
        if self._tally is not None:
            super().read_text(text, data)
        return [_event({}, data)]

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """The event of one chunk; nothing for what must not go on."""
        chunk = scope.doc
        if type(chunk) is not dict:
            super().read(scope)
            return []
        self._count_of(scope, chunk, data)
        if self._tally is not None:
            super().read(scope)  # to count what is said
        mended = self.normalizer.normalize(chunk)
        self.has_output = self.normalizer.has_output
        if mended is None:
            if not self.has_output and self._tally is None:
                super().read(scope)  # remembered, to say where the text would have been
                self.has_output = False
            return []
        out = _event(mended, data if mended is chunk else None)
        if (
            self._ending is None
            and not self._held
            and self.normalizer.has_content
            and not self.normalizer.finished_with_content
        ):
            return [out]
        self._release()
        if self.normalizer.finished_with_content:
            self._ending = (mended, out)
        else:
            self._held.append(out)
        return self._given() if self.normalizer.has_content else []

    def close(self) -> list[Any]:
        """What was held."""
        self.normalizer.resumed = frozenset()
        self._release()
        return self._given()

    def usage_event(self, usage: Usage) -> bytes:
        """The last chunk, with the token counts: as the server sent it, where it did."""
        chunk, data = self._usage or ({}, None)
        counts = normalize_usage(chunk["usage"], usage) if chunk else usage_object(usage)
        choices = keep_items([], chunk.get("choices"))
        normalized = with_members(self.normalizer.with_identity(chunk), {"choices": choices, "usage": counts})
        return _event(normalized, data if normalized is chunk else None)

    def _count_of(self, scope: Scope, chunk: dict[str, Any], data: bytes | str | None) -> None:
        choices = chunk.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if chunk.get("usage") or (type(first) is dict and first.get("usage")):
            self.count(scope)
            if first is None and type(chunk.get("usage")) is dict:
                self._usage = (chunk, data if type(data) is bytes else b"")

    def _release(self) -> None:
        """The chunk that ended a choice goes on, as it is or, where the choice does too, without that."""
        if self._ending is not None:
            chunk, out = self._ending
            self._held.append(sse_event(self.normalizer.reopened(chunk)) if self.normalizer.resumed else out)
            self._ending = None

    def _given(self) -> list[Any]:
        held, self._held = self._held, []
        return held


class PassthroughEncoder:
    """The reply to a whole answer that is passed on."""

    __slots__ = ("_body",)

    started = False

    def __init__(self) -> None:
        self._body = b""

    def write(self, bodies: Sequence[Any]) -> bytes:
        """Nothing yet: the body leaves when it is known to be good."""
        self._body += b"".join(bodies)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """The body."""
        return self._body

    def fail(self, error: BridgeError) -> bytes:
        """Nothing: the error's own envelope is the whole reply."""
        return b""


class PassthroughStreamEncoder:
    """The reply to a stream that is passed on."""

    __slots__ = ("_include_usage", "_reading", "started")

    def __init__(self, reader: ChunkPassthrough, *, include_usage: bool) -> None:
        self._reading = reader
        self._include_usage = include_usage
        self.started = False

    def write(self, events: Sequence[Any]) -> bytes:
        """The events as they are."""
        out = b"".join(events)
        self.started = self.started or bool(out)
        return out

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """What is missing at the end: finishes, usage where it was asked for, and the last word."""
        normalizer = self._reading.normalizer
        out = [sse_event(chunk) for chunk in normalizer.finish()]
        if usage is not None and self._include_usage:
            out.append(self._reading.usage_event(usage))
        return b"".join([*out, DONE])

    def fail(self, error: BridgeError) -> bytes:
        """The end of a stream that failed on the way."""
        return sse_event(error.envelope)


def _event(chunk: dict[str, Any], data: bytes | str | None) -> bytes:
    """An event: of the data that came, where it may go on as it is."""
    if type(data) is bytes and data and b"\n" not in data:
        return b"data: " + data + b"\n\n"
    return sse_event(chunk)


def _may_lack_content(doc: Any) -> bool:
    """Whether a completion without content is none of an error: filtered, cut short, refused, spoken."""
    choices = doc.get("choices") if isinstance(doc, dict) else None
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(choice, dict) and _has_reason(choice) for choice in choices)


def _has_reason(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    said = message if isinstance(message, dict) else {}
    if isinstance(said.get("content"), list):
        return True  # in parts, as Mistral's models answer that think
    return normalize_finish_reason(choice.get("finish_reason")) in (
        "length",
        "content_filter",
        "tool_calls",
    ) or any(said.get(name) is not None for name in ("refusal", "audio", "function_call"))
