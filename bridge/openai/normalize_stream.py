"""Normalization of chunks from nearly OpenAI-compatible upstreams.

    ChunkNormalizer.normalize(chunk) ─▶ the same object, a changed copy, or None for a chunk to drop

Repaired are the faults that upstreams have and that clients fail on: ids that change, a float `created`, a
role in every delta, a missing index, a missing or second finish, tool calls without an index, chunks without
choices. Vendors' members, tool calls and log probabilities are kept.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.core.finish_reasons import FAILED
from bridge.core.messages import choice_index
from bridge.openai.normalize import (
    choice_text,
    coerce_text_fields,
    dicts_in,
    keep_items,
    normalize_finish_reason,
    omit,
    upstream_identity,
    with_members,
)
from bridge.openai.tool_calls import ToolCallAssembler

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["ChunkNormalizer"]

_Choices = AbstractSet[int]  # indexes


class ChunkNormalizer:
    """Normalizes the chunks of one stream."""

    __slots__ = (
        "_has_identity", "_info", "_roles", "_said", "_seen", "_tool_calls", "_with_content", "failed",
        "finished", "finished_with_content", "has_content", "has_output", "resumed",
    )  # fmt: skip

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info  # fills in what the first chunk lacks
        self._has_identity = False  # the upstream's id, created and model were read
        self._roles: set[int] = set()  # choices whose role was sent
        self._said: set[tuple[int, str]] = set()  # choices and the members of their deltas
        self._seen: set[int] = set()  # choices
        self._tool_calls: dict[int, ToolCallAssembler] = {}  # by choice
        self._with_content = False  # the current choice of the current chunk has content
        self.has_output = False  # a choice had content, which may have been empty
        self.has_content = False  # a choice had content that was not empty
        self.failed: JSONObject | None = None  # a choice whose finish reason reports a failure
        self.finished: set[int] = set()  # choices that have had a finish reason
        # Some upstreams send a finish reason in every chunk. So a finish beside content only counts if no
        # content follows: these choices ended beside content in the newest chunk, …
        self.finished_with_content: _Choices = _NONE
        # … and these continue in the newest chunk after such an end.
        self.resumed: _Choices = _NONE

    def normalize(self, chunk: JSONObject) -> JSONObject | None:
        """Return a chunk with choices as clients expect it; None of a chunk to drop."""
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return None
        ended, self.finished_with_content, self.resumed = self.finished_with_content, _NONE, _NONE
        normalized = [self._choice(number, choice, ended) for number, choice in enumerate(choices)]
        kept = [choice for choice in normalized if choice is not None]
        if not kept:
            self.finished_with_content = ended
            return None
        if not self._has_identity:
            self._has_identity = True
            self._info = replace(self._info, **upstream_identity(self._info, chunk)._asdict())
        return self._with_choices(chunk, keep_items(kept, choices))

    def annotation(self, chunk: JSONObject) -> JSONObject | None:
        """Return a chunk without choices that has members of its own, such as the results of a filter.

        None: the chunk has no such members, or its token counts are sent with them at the end.
        """
        if chunk.get("choices") != [] or (self._info.include_usage and chunk.get("usage")):
            return None
        if all(not value or name in _ENVELOPE for name, value in chunk.items()):
            return None
        return self._with_choices(chunk, chunk["choices"])

    def _with_choices(self, chunk: JSONObject, choices: Any) -> JSONObject:
        """Return a chunk with these choices and the identity of the stream, without token counts."""
        identified = self.with_identity(chunk)
        # Requested counts are sent once, at the end, since a client may add up all counts.
        usage = chunk.get("usage")
        if usage is None:
            return with_members(identified, {"choices": choices})
        if self._info.include_usage or type(usage) is not dict:
            return with_members(identified, {"choices": choices, "usage": None})
        return with_members(omit(identified, "usage"), {"choices": choices})

    def with_identity(self, chunk: JSONObject) -> JSONObject:
        """Return a chunk with the id, created and model of the stream."""
        info = self._info
        # An `error` that got this far is null or empty, but some clients only check that it is there.
        return with_members(
            omit(chunk, "error"),
            {
                "id": info.id,
                "object": info.endpoint.chunk_object,
                "created": info.created,
                "model": info.model,
            },
        )

    def reopened(self, chunk: JSONObject) -> JSONObject:
        """Return the previous chunk without the finish reasons of resumed choices."""
        choices = [
            {**choice, "finish_reason": None} if choice["index"] in self.resumed else choice
            for choice in chunk["choices"]
        ]
        return {**chunk, "choices": choices}

    def check_calls(self) -> None:
        """Raise UpstreamError if the name of a tool call never arrived."""
        for calls in self._tool_calls.values():
            calls.close()

    def finish(self) -> list[JSONObject]:
        """Return finish chunks for the choices without a finish reason."""
        missing = sorted((self._seen or {0}) - self.finished)
        return [self.with_identity({}) | {"choices": [self._finish_choice(index)]} for index in missing]

    def _finish_choice(self, index: int) -> JSONObject:
        reason = "tool_calls" if self._tool_calls.get(index) else "stop"
        empty: JSONObject = {"text": ""}
        if self._info.endpoint.has_messages:
            empty = {"delta": self._with_default_arguments(index, {})}
        return {"index": index, **empty, "logprobs": None, "finish_reason": reason}

    def _with_default_arguments(self, index: int, delta: Any) -> JSONObject:
        """Return a last delta with the arguments of calls that had none, which clients parse."""
        calls = self._tool_calls.get(index)
        missing = calls.close() if calls is not None else None
        return {**delta, "tool_calls": missing} if missing else delta

    def _choice(self, number: int, choice: Any, ended: _Choices) -> JSONObject | None:
        if not isinstance(choice, dict):
            return None
        index, is_chat = choice_index(choice, number), self._info.endpoint.has_messages
        self._with_content = False
        content = self._delta(index, choice) if is_chat else self._text(choice)
        sent = choice.get("finish_reason")
        finish = None if sent is None else normalize_finish_reason(sent, legacy=not is_chat)
        if finish == FAILED:
            self.failed, finish = choice, None
            content = content if self._with_content else None
        if content is None and finish is None:
            return None  # an annotation, such as Azure's content filter sends
        if not self._continues(index, finish, ended):
            return None
        if content is None:
            content = self._delta(index, {"delta": {}}) if is_chat else ""
        if finish is not None and index in self._tool_calls and not self._with_content and is_chat:
            content = self._with_default_arguments(index, content)
        members = {"index": index, "delta" if is_chat else "text": content, "finish_reason": finish}
        normalized = with_members(choice, members)
        return choice if normalized is choice else {**omit(choice, *_TEXTS), **members}

    def _continues(self, index: int, finish: str | None, ended: _Choices) -> bool:
        """Return whether a choice is sent on: chunks after its finish are dropped."""
        self._seen.add(index)
        if index in self.finished:
            if not self._with_content or index not in ended:
                return False
            self.finished.discard(index)
            self.resumed = _including(self.resumed, index)
        if finish is not None:
            self.finished.add(index)
            if self._with_content:
                self.finished_with_content = _including(self.finished_with_content, index)
            # A choice that was cut short or filtered may have no text; a choice that stopped has some.
            self.has_output = self.has_output or finish != "stop"
            self.has_content = self.has_content or self.has_output
        return True

    def _text(self, choice: JSONObject) -> str | None:
        text = choice_text(choice)
        self.has_output = self.has_output or "text" in choice or text is not None
        self._with_content = bool(text)
        self.has_content = self.has_content or self._with_content
        return text

    def _delta(self, index: int, choice: JSONObject) -> JSONObject | None:
        """Return the delta, or the message or text in its place, with the role in the first one only."""
        delta = choice.get("delta")
        said = self._said if isinstance(delta, dict) else None
        if said is None and isinstance(delta := choice.get("message"), dict):
            # The last chunk of some upstreams repeats the whole message.
            delta = omit(delta, *(name for name in delta if (index, name) in self._said))
        if not isinstance(delta, dict):
            text = choice.get("text")
            delta = {"content": text} if isinstance(text, str) else None
        if delta is None:
            return None
        if delta.get("tool_calls"):
            delta = self._with_calls(index, delta)
        normalized = self._normalize_texts(index, delta, said)
        if index not in self._roles:
            self._roles.add(index)
            if delta.get("role") != "assistant":
                normalized = {"content": "", **normalized, "role": "assistant"}
        elif "role" in delta:
            normalized = omit(normalized, "role")
        return normalized

    def _with_calls(self, index: int, delta: JSONObject) -> JSONObject:
        """Return the delta with those of its tool calls whose names have arrived."""
        assembler = self._tool_calls.get(index)
        if assembler is None:
            assembler = self._tool_calls[index] = ToolCallAssembler(f"call_{self._info.id}_{index}")
        sent = delta["tool_calls"]
        calls = [part for call in dicts_in(sent) if (part := assembler.add_delta(call)) is not None]
        if not calls:
            return omit(delta, "tool_calls")
        return with_members(delta, {"tool_calls": keep_items(calls, sent)})

    def _normalize_texts(
        self, index: int, delta: JSONObject, said: set[tuple[int, str]] | None
    ) -> JSONObject:
        """Return the delta with texts that are strings, and record whether the delta has content."""
        normalized = delta
        for name, value in delta.items():
            if name in _CONTENT and value is not None:
                self.has_output = True
                if value:
                    self._with_content = True
                    if said is not None:
                        said.add((index, name))
                if type(value) is not str:
                    normalized = coerce_text_fields(delta)
            elif name == "content":
                self.has_output = True  # null is the lack of text
        self.has_content = self.has_content or self._with_content
        return normalized


def _including(choices: _Choices, index: int) -> _Choices:
    """Return choices with one more, in place of a union, whose work is that of all of them."""
    if not isinstance(choices, set):
        return {index}
    choices.add(index)
    return choices


_NONE: _Choices = frozenset()
# The members of a chunk without choices that are not worth a chunk.
_ENVELOPE = frozenset({
    "id", "object", "created", "model", "choices", "usage", "error", "obfuscation", "provider",
    "service_tier", "system_fingerprint",
})  # fmt: skip
_TEXTS = ("delta", "text", "message")
_CONTENT = frozenset(
    {"content", "tool_calls", "function_call", "reasoning_content", "reasoning", "refusal", "audio"}
)
