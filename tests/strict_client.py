r"""A strict OpenAI client: reads what the bridge sends, and asserts all that real clients rely on.

    read_stream(b'data: {…}\n\n … data: [DONE]\n\n')  ─▶  Streamed
    read_completion(b'{"object": "chat.completion", …}')  ─▶  Completed

Vendor fields are let through. What is missing, twice, in the wrong place or of the wrong type is not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Choice", "Completion", "CompletionStream", "read_completion", "read_stream"]

Body = dict[str, Any]

CHAT_CHUNK = "chat.completion.chunk"
CHAT_COMPLETION = "chat.completion"
TEXT_COMPLETION = "text_completion"
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter", "function_call"}


@dataclass
class Choice:
    """One choice. `chunks`: its text as it came, without the empty ones, such as that of the role."""

    role: str = ""
    chunks: list[str] = field(default_factory=list)
    reasoning: str = ""
    tool_calls: list[Body] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.chunks)


@dataclass
class CompletionStream:
    """A stream that was read to its end: to [DONE], or to the `error` that took its place."""

    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    choices: dict[int, Choice] = field(default_factory=dict)
    usage: Body | None = None
    error: Body | None = None

    @property
    def choice(self) -> Choice:
        """The first choice; an empty one where the stream failed before it began."""
        return self.choices.get(0, Choice())


@dataclass
class Completion:
    """A whole answer."""

    id: str
    object: str
    created: int
    model: str
    choices: dict[int, Choice]
    usage: Body | None

    @property
    def choice(self) -> Choice:
        """The first choice."""
        return self.choices[0]


def read_stream(data: bytes, *, include_usage: bool = True) -> CompletionStream:
    """Read a whole stream. `include_usage`: the client asked for token counts, so they may come."""
    *events, last = _events(data)
    streamed = CompletionStream()
    for event in events:
        chunk = _object(event)
        assert "error" not in chunk, f"something follows the error {chunk}"
        _chunk(streamed, chunk, include_usage=include_usage)
    if last != "[DONE]":
        streamed.error = _error(_object(last))
        return streamed
    assert streamed.choices, "a stream without any choice"
    for number, said in streamed.choices.items():
        assert said.finish_reason is not None, f"choice {number} has no finish"
    return streamed


def read_completion(data: bytes) -> Completion:
    """Read a whole answer."""
    body = _object(data.decode())
    _has(body, id=str, object=str, created=int, model=str, choices=list)
    assert body["id"]
    assert body["model"]
    assert body["object"] in (CHAT_COMPLETION, TEXT_COMPLETION)
    assert "error" not in body
    choices: dict[int, Choice] = {}
    for choice in body["choices"]:
        _has(choice, index=int, finish_reason=str)
        assert choice["index"] not in choices, f"two choices {choice['index']}"
        said = _message(choice) if body["object"] == CHAT_COMPLETION else _text(choice)
        said.finish_reason = _finish(choice)
        choices[choice["index"]] = said
    assert sorted(choices) == list(range(len(choices))), f"indexes {sorted(choices)}"
    assert choices
    usage = _usage(body["usage"]) if "usage" in body else None
    return Completion(body["id"], body["object"], body["created"], body["model"], choices, usage)


def _events(data: bytes) -> list[str]:
    """The data of every event: one line each, and nothing else between the blank lines."""
    assert data.endswith(b"\n\n"), f"no blank line at the end of …{data[-80:]!r}"
    blocks = data.decode().removesuffix("\n\n").split("\n\n")
    for block in blocks:
        assert block.startswith("data: "), f"an event without data: {block!r}"
        assert "\n" not in block, f"an event of several lines: {block!r}"
        assert "\r" not in block, f"a carriage return in {block!r}"
    return [block.removeprefix("data: ") for block in blocks]


def _chunk(streamed: CompletionStream, chunk: Body, *, include_usage: bool) -> None:
    _has(chunk, id=str, object=str, created=int, model=str, choices=list)
    if not streamed.id:
        assert chunk["id"]
        assert chunk["model"]
        assert chunk["object"] in (CHAT_CHUNK, TEXT_COMPLETION)
        streamed.id, streamed.object = chunk["id"], chunk["object"]
        streamed.created, streamed.model = chunk["created"], chunk["model"]
    for name in ("id", "object", "created", "model"):
        assert chunk[name] == getattr(streamed, name), f"another {name} in {chunk}"
    assert streamed.usage is None, f"something follows the usage: {chunk}"
    if not chunk["choices"]:
        assert include_usage, f"nobody asked for {chunk}"
        assert streamed.choices, f"usage came first: {chunk}"
        assert all(said.finish_reason for said in streamed.choices.values()), (
            f"usage before a finish: {chunk}"
        )
        streamed.usage = _usage(chunk["usage"])
    elif include_usage:
        assert chunk.get("usage") is None, f"early usage in {chunk}"
    for choice in chunk["choices"]:
        _choice(streamed, choice)


def _choice(streamed: CompletionStream, choice: Body) -> None:
    _has(choice, index=int)
    assert "finish_reason" in choice, f"no finish_reason in {choice}"
    first = choice["index"] not in streamed.choices
    said = streamed.choices.setdefault(choice["index"], Choice())
    assert said.finish_reason is None, f"a choice goes on behind its finish: {choice}"
    if streamed.object == CHAT_CHUNK:
        _has(choice, delta=dict)
        _delta(said, choice["delta"], first=first)
    else:
        _has(choice, text=str)
        said.chunks += [choice["text"]] if choice["text"] else []
    if choice["finish_reason"] is not None:
        said.finish_reason = _finish(choice)


def _delta(said: Choice, delta: Body, *, first: bool) -> None:
    assert ("role" in delta) is first, f"a role belongs into the first chunk alone: {delta}"
    if first:
        _has(delta, role=str)
        said.role = delta["role"]
    content, reasoning = delta.get("content"), delta.get("reasoning_content")
    assert content is None or isinstance(content, str), f"no text: {delta}"
    assert reasoning is None or isinstance(reasoning, str), f"no text: {delta}"
    said.chunks += [content] if content else []
    said.reasoning += reasoning or ""
    for call in delta.get("tool_calls") or []:
        _has(call, index=int, function=dict)
        fresh = call["index"] == len(said.tool_calls)
        assert fresh or 0 <= call["index"] < len(said.tool_calls), f"an index was left out: {call}"
        if fresh:
            _has(call, id=str, type=str)
            _has(call["function"], name=str)
            said.tool_calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
        else:
            assert call.get("id") in (None, said.tool_calls[call["index"]]["id"]), f"another id: {call}"
        said.tool_calls[call["index"]]["arguments"] += call["function"].get("arguments") or ""


def _message(choice: Body) -> Choice:
    _has(choice, message=dict)
    message = choice["message"]
    _has(message, role=str)
    assert "content" in message, f"no content in {message}"
    said = Choice(role=message["role"], reasoning=message.get("reasoning_content") or "")
    for call in message.get("tool_calls") or []:
        _has(call, id=str, type=str, function=dict)
        _has(call["function"], name=str, arguments=str)
        said.tool_calls.append({"id": call["id"], **call["function"]})
    refused = isinstance(message.get("refusal"), str)
    assert isinstance(message["content"], str) or said.tool_calls or refused, f"no text: {message}"
    said.chunks += [message["content"]] if message["content"] else []
    return said


def _text(choice: Body) -> Choice:
    _has(choice, text=str)
    return Choice(chunks=[choice["text"]])


def _finish(choice: Body) -> str:
    reason = choice["finish_reason"]
    assert reason in FINISH_REASONS, f"OpenAI knows no finish_reason {reason!r}"
    return str(reason)


def _usage(usage: Any) -> Body:
    assert isinstance(usage, dict), f"no token counts: {usage!r}"
    _has(usage, prompt_tokens=int, completion_tokens=int, total_tokens=int)
    return usage


def _error(body: Body) -> Body:
    assert list(body) == ["error"], f"a stream that ends neither with [DONE] nor with an error: {body}"
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, f"not the four keys: {error}"
    _has(error, message=str, type=str)
    assert error["message"]
    for name in ("param", "code"):
        assert error[name] is None or isinstance(error[name], str), f"{name} must be text or null: {error}"
    return dict(error)


def _object(text: str) -> Body:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise AssertionError(f"no JSON: {text}") from error
    assert isinstance(value, dict), f"no object: {text}"
    return value


def _has(body: Body, **kinds: type) -> None:
    """Each of these members is there, and of exactly that type: true is no integer, 1.0 neither."""
    for name, kind in kinds.items():
        assert name in body, f"no {name} in {body}"
        assert type(body[name]) is kind, f"{name} must be {kind.__name__}: {body}"
