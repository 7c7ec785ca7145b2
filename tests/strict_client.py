r"""A strict OpenAI client: parses the bridge's responses, and asserts everything that real clients rely on.

    read_stream(b'data: {…}\n\n … data: [DONE]\n\n')  ─▶  CompletionStream
    read_completion(b'{"object": "chat.completion", …}')  ─▶  Completion

Vendor fields are accepted. Missing, duplicate, misplaced fields and fields of a wrong type are not.
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
_ENVELOPE = {"id", "object", "created", "model", "choices"}
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter", "function_call"}


@dataclass
class Choice:
    """A choice.

    Attributes:
        chunks: The texts of the chunks, except empty texts such as the first chunk's.
    """

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
    """A complete stream, up to `[DONE]` or an error.

    Attributes:
        error: The error that ended the stream. None if the stream ended with `[DONE]`.
    """

    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    choices: dict[int, Choice] = field(default_factory=dict)
    usage: Body | None = None
    error: Body | None = None

    @property
    def choice(self) -> Choice:
        """The first choice. Empty if the stream failed before the first chunk."""
        return self.choices.get(0, Choice())


@dataclass
class Completion:
    """A non-streaming response."""

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
    """Parse a complete stream.

    Args:
        data: The bytes of the stream.
        include_usage: Whether the client requested token counts.
    """
    *events, last = _events(data)
    stream = CompletionStream()
    for event in events:
        chunk = _object(event)
        assert "error" not in chunk, f"a chunk after the error: {chunk}"
        _chunk(stream, chunk, include_usage=include_usage)
    if last != "[DONE]":
        stream.error = _error(_object(last))
        return stream
    assert stream.choices, "a stream without choices"
    for number, parsed in stream.choices.items():
        assert parsed.finish_reason is not None, f"choice {number} has no finish_reason"
    return stream


def read_completion(data: bytes) -> Completion:
    """Parse a non-streaming response."""
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
        parsed = _message(choice) if body["object"] == CHAT_COMPLETION else _text(choice)
        parsed.finish_reason = _finish(choice)
        choices[choice["index"]] = parsed
    assert sorted(choices) == list(range(len(choices))), f"indexes {sorted(choices)}"
    assert choices
    usage = _usage(body["usage"]) if "usage" in body else None
    return Completion(body["id"], body["object"], body["created"], body["model"], choices, usage)


def _events(data: bytes) -> list[str]:
    """Return the data of every event. Each event must be a single line."""
    assert data.endswith(b"\n\n"), f"no blank line at the end of …{data[-80:]!r}"
    blocks = data.decode().removesuffix("\n\n").split("\n\n")
    for block in blocks:
        assert block.startswith("data: "), f"an event without data: {block!r}"
        assert "\n" not in block, f"an event of several lines: {block!r}"
        assert "\r" not in block, f"a carriage return in {block!r}"
    return [block.removeprefix("data: ") for block in blocks]


def _chunk(stream: CompletionStream, chunk: Body, *, include_usage: bool) -> None:
    _has(chunk, id=str, object=str, created=int, model=str, choices=list)
    if not stream.id:
        assert chunk["id"]
        assert chunk["model"]
        assert chunk["object"] in (CHAT_CHUNK, TEXT_COMPLETION)
        stream.id, stream.object = chunk["id"], chunk["object"]
        stream.created, stream.model = chunk["created"], chunk["model"]
    for name in ("id", "object", "created", "model"):
        assert chunk[name] == getattr(stream, name), f"another {name} in {chunk}"
    assert stream.usage is None, f"a chunk after the usage: {chunk}"
    if not chunk["choices"] and chunk.keys() - {*_ENVELOPE, "usage"}:  # the results of a filter
        assert chunk.get("usage") is None, f"early usage in {chunk}"
    elif not chunk["choices"]:
        assert include_usage, f"usage was not requested: {chunk}"
        assert stream.choices, f"usage in the first chunk: {chunk}"
        assert all(parsed.finish_reason for parsed in stream.choices.values()), (
            f"usage before a finish_reason: {chunk}"
        )
        stream.usage = _usage(chunk["usage"])
    elif include_usage:
        assert chunk.get("usage") is None, f"early usage in {chunk}"
    for choice in chunk["choices"]:
        _choice(stream, choice)


def _choice(stream: CompletionStream, choice: Body) -> None:
    _has(choice, index=int)
    assert "finish_reason" in choice, f"no finish_reason in {choice}"
    first = choice["index"] not in stream.choices
    parsed = stream.choices.setdefault(choice["index"], Choice())
    assert parsed.finish_reason is None, f"a choice after its finish_reason: {choice}"
    if stream.object == CHAT_CHUNK:
        _has(choice, delta=dict)
        _delta(parsed, choice["delta"], first=first)
    else:
        _has(choice, text=str)
        parsed.chunks += [choice["text"]] if choice["text"] else []
    if choice["finish_reason"] is not None:
        parsed.finish_reason = _finish(choice)


def _delta(parsed: Choice, delta: Body, *, first: bool) -> None:
    assert ("role" in delta) is first, f"a role is required in the first chunk only: {delta}"
    if first:
        _has(delta, role=str)
        parsed.role = delta["role"]
    content, reasoning = delta.get("content"), delta.get("reasoning_content")
    assert content is None or isinstance(content, str), f"not a text: {delta}"
    assert reasoning is None or isinstance(reasoning, str), f"not a text: {delta}"
    parsed.chunks += [content] if content else []
    parsed.reasoning += reasoning or ""
    for call in delta.get("tool_calls") or []:
        _has(call, index=int, function=dict)
        is_new = call["index"] == len(parsed.tool_calls)
        assert is_new or 0 <= call["index"] < len(parsed.tool_calls), f"a skipped index: {call}"
        if is_new:
            _has(call, id=str, type=str)
            _has(call["function"], name=str)
            parsed.tool_calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
        else:
            parsed.tool_calls[call["index"]]["name"] += call["function"].get("name") or ""
            assert call.get("id") in (None, parsed.tool_calls[call["index"]]["id"]), f"another id: {call}"
        parsed.tool_calls[call["index"]]["arguments"] += call["function"].get("arguments") or ""


def _message(choice: Body) -> Choice:
    _has(choice, message=dict)
    message = choice["message"]
    _has(message, role=str)
    assert "content" in message, f"no content in {message}"
    parsed = Choice(role=message["role"], reasoning=message.get("reasoning_content") or "")
    for call in message.get("tool_calls") or []:
        _has(call, id=str, type=str, function=dict)
        _has(call["function"], name=str, arguments=str)
        parsed.tool_calls.append({"id": call["id"], **call["function"]})
    refused = isinstance(message.get("refusal"), str)
    assert isinstance(message["content"], str) or parsed.tool_calls or refused, f"no content: {message}"
    parsed.chunks += [message["content"]] if message["content"] else []
    return parsed


def _text(choice: Body) -> Choice:
    _has(choice, text=str)
    return Choice(chunks=[choice["text"]])


def _finish(choice: Body) -> str:
    reason = choice["finish_reason"]
    assert reason in FINISH_REASONS, f"not a finish_reason of OpenAI: {reason!r}"
    return str(reason)


def _usage(usage: Any) -> Body:
    assert isinstance(usage, dict), f"not an object: {usage!r}"
    _has(usage, prompt_tokens=int, completion_tokens=int, total_tokens=int)
    return usage


def _error(body: Body) -> Body:
    assert list(body) == ["error"], f"the stream ends with neither [DONE] nor an error: {body}"
    error = body["error"]
    assert set(error) >= {"message", "type", "param", "code"}, f"not the four members of an error: {error}"
    _has(error, message=str, type=str)
    assert error["message"]
    for name in ("param", "code"):
        assert error[name] is None or isinstance(error[name], str), f"{name} must be text or null: {error}"
    return dict(error)


def _object(text: str) -> Body:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise AssertionError(f"not JSON: {text}") from error
    assert isinstance(value, dict), f"not an object: {text}"
    return value


def _has(body: Body, **kinds: type) -> None:
    """Assert that members are present, and exactly of a type: neither true nor 1.0 is an integer."""
    for name, kind in kinds.items():
        assert name in body, f"no {name} in {body}"
        assert type(body[name]) is kind, f"{name} must be {kind.__name__}: {body}"
