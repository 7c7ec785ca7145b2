"""Mends streams of servers that nearly speak OpenAI's language; what is right stays as it is.

    ChunkMender.mend(chunk) ─▶ the same object, a mended copy, or None for a chunk that must not go on

Vendor fields, tool calls and log probabilities stay. The faults are those that servers show and clients
break on: ids that change, a float `created`, a role in every delta, no index, no or a second finish, calls
of tools without index, chunks without choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.messages import choice_index
from bridge.openai.normalize import (
    choice_text,
    coerce_text_fields,
    dicts_in,
    keep_items,
    normalize_finish_reason,
    omit,
    with_members,
    with_upstream_identity,
)
from bridge.openai.tool_calls import ToolCallAssembler

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.openai.encoders import CompletionInfo

__all__ = ["ChunkNormalizer"]
_Choices = frozenset[int]


class ChunkNormalizer:
    """Mends the chunks of one stream. `head` says what the first chunk does not.

    `found`: something was said, be it empty; `said`: more than that. `finished`: the choices that have had
    their finish; `ending`: those that the newest chunk ended as it spoke, as some servers do in every chunk;
    `resumed`: those that the chunk before seemed to end so.
    """

    __slots__ = (
        "_calls",
        "_head",
        "_known",
        "_roles",
        "_seen",
        "_speaks",
        "finished",
        "finished_with_text",
        "has_content",
        "has_output",
        "resumed",
    )  # fmt: skip

    def __init__(self, head: CompletionInfo) -> None:
        self._head = head
        self._known = False
        self._roles: set[int] = set()
        self._seen: set[int] = set()
        self._speaks = False  # the choice that is read, in this chunk
        self._calls: dict[int, ToolCallAssembler] = {}
        self.finished: set[int] = set()
        self.finished_with_text = _NONE
        self.resumed = _NONE
        self.has_output = False
        self.has_content = False

    @property
    def head(self) -> CompletionInfo:
        """What is the same in every chunk."""
        return self._head

    def normalize(self, chunk: JSONObject) -> JSONObject | None:
        """A chunk that has choices, as clients expect it."""
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return None
        ended, self.finished_with_text, self.resumed = self.finished_with_text, _NONE, _NONE
        mended = [self._choice(number, choice, ended) for number, choice in enumerate(choices)]
        kept = [choice for choice in mended if choice is not None]
        if not kept:
            self.finished_with_text = ended
            return None
        if not self._known:
            self._known = True  # the first chunk that goes on says what the stream is called
            self._head = with_upstream_identity(self._head, chunk)
        # Counts that were asked for come at the end, once: a client may add up what it gets.
        usage = chunk.get("usage")
        early = usage is not None and (self._head.include_usage or type(usage) is not dict)
        members: JSONObject = {"choices": keep_items(kept, choices)}
        if early:
            members["usage"] = None
        return with_members(self.with_identity(chunk), members)

    def with_identity(self, chunk: JSONObject) -> JSONObject:
        """A chunk under the id, created and model of this stream."""
        head = self._head
        # An `error` that got this far is null or empty, but some clients only check that it is there.
        return with_members(
            omit(chunk, "error"),
            {
                "id": head.id,
                "object": head.endpoint.chunk_object,
                "created": head.created,
                "model": head.model,
            },
        )

    def reopened(self, chunk: JSONObject) -> JSONObject:
        """The chunk before the newest, without the finish of what was resumed."""
        choices = [
            {**choice, "finish_reason": None} if choice["index"] in self.resumed else choice
            for choice in chunk["choices"]
        ]
        return {**chunk, "choices": choices}

    def finish(self) -> list[JSONObject]:
        """Finish chunks for the choices that had none."""
        missing = sorted((self._seen or {0}) - self.finished)
        return [self.with_identity({}) | {"choices": [self._last(index)]} for index in missing]

    def _last(self, index: int) -> JSONObject:
        reason = "tool_calls" if self._calls.get(index) else "stop"
        said: JSONObject = {"delta": {}} if self._head.endpoint.has_messages else {"text": ""}
        return {"index": index, **said, "logprobs": None, "finish_reason": reason}

    def _choice(self, number: int, choice: Any, ended: _Choices) -> JSONObject | None:
        if not isinstance(choice, dict):
            return None
        index = choice_index(choice, number)
        key = "delta" if self._head.endpoint.has_messages else "text"
        self._speaks = False
        said = self._delta(index, choice) if key == "delta" else self._text(choice)
        raw = choice.get("finish_reason")
        finish = (
            None if raw is None else normalize_finish_reason(raw, legacy=not self._head.endpoint.has_messages)
        )
        if said is None and finish is None:
            return None  # an annotation, such as Azure's content filter sends
        if not self._goes_on(index, finish, ended):
            return None
        if said is None:
            said = self._delta(index, {"delta": {}}) if key == "delta" else ""
        members = {"index": index, key: said, "finish_reason": finish}
        normalized = with_members(choice, members)
        return choice if normalized is choice else {**omit(choice, *_TEXTS), **members}

    def _goes_on(self, index: int, finish: str | None, ended: _Choices) -> bool:
        """Whether a choice still has something to say: nothing follows its finish."""
        self._seen.add(index)
        if index in self.finished:
            if not self._speaks or index not in ended:
                return False
            self.finished.discard(index)
            self.resumed |= {index}
        if finish is not None:
            self.finished.add(index)
            self.finished_with_text |= {index} if self._speaks else _NONE
            # Cut short or filtered, an answer may well have no text; one that ended well has some.
            self.has_output = self.has_output or finish != "stop"
            self.has_content = self.has_content or self.has_output
        return True

    def _text(self, choice: JSONObject) -> str | None:
        text = choice_text(choice)
        self.has_output = self.has_output or text is not None
        self._speaks = bool(text)
        self.has_content = self.has_content or self._speaks
        return text

    def _delta(self, index: int, choice: JSONObject) -> JSONObject | None:
        """The delta with its role once; the text of servers that answer in another of OpenAI's shapes."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice.get("message")
        if not isinstance(delta, dict):
            text = choice.get("text")
            delta = {"content": text} if isinstance(text, str) else None
        if delta is None:
            return None
        mended = self._normalize_texts(delta)
        if index not in self._roles:
            self._roles.add(index)
            if delta.get("role") != "assistant":
                mended = {"content": "", **mended, "role": "assistant"}
        elif "role" in delta:
            mended = omit(mended, "role")
        if mended.get("tool_calls") is not None:
            known = self._calls.setdefault(index, ToolCallAssembler(f"call_{self._head.id}_{index}"))
            sent = mended["tool_calls"]
            calls = [known.add_delta(call) for call in dicts_in(sent)]
            mended = with_members(mended, {"tool_calls": keep_items(calls, sent)})
        return mended

    def _normalize_texts(self, delta: JSONObject) -> JSONObject:
        """The delta with its texts as texts, noted what it says."""
        mended = delta
        for name, value in delta.items():
            if name in _SAID and value is not None:
                self.has_output = True
                self._speaks = self._speaks or bool(value)
                if type(value) is not str:
                    mended = coerce_text_fields(delta)
        self.has_content = self.has_content or self._speaks
        return mended


_NONE: _Choices = frozenset()
_TEXTS = ("delta", "text", "message")
_SAID = frozenset(
    {"content", "tool_calls", "function_call", "reasoning_content", "reasoning", "refusal", "audio"}
)
