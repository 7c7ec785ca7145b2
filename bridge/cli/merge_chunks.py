"""The merge of a stream's chunks into one completion, as a client does it."""

from __future__ import annotations

from typing import Any

from bridge.core import json
from bridge.openai.folded_tool_calls import FoldedToolCalls

__all__ = ["merge_chunks"]


def merge_chunks(data: bytes) -> dict[str, Any]:
    """Return the completion of a stream; the content of an error event is its member `error`."""
    completion: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in data.split(b"\n\n"):
        payload = event.removeprefix(b"data: ")
        if not payload or payload == b"[DONE]":
            continue
        chunk = json.loads(payload)
        for choice in chunk.pop("choices", []):
            _add(choices.setdefault(choice["index"], {"index": choice["index"]}), choice)
        completion |= {name: value for name, value in chunk.items() if value is not None}
    return completion | {"choices": [_finished(choices[index]) for index in sorted(choices)]}


def _add(merged: dict[str, Any], choice: dict[str, Any]) -> None:
    """Add the choice of a chunk to the choice of the completion."""
    if "text" in choice:
        merged["text"] = merged.get("text", "") + choice["text"]
    for name, value in choice.get("delta", {}).items():
        message = merged.setdefault("message", {})
        if name == "tool_calls":
            calls = merged.setdefault("calls", FoldedToolCalls())
            for call in value:
                calls.add(call)
        elif isinstance(value, str) and isinstance(message.get(name), str) and name != "role":
            message[name] += value
        else:
            message[name] = value
    if choice.get("finish_reason"):
        merged["finish_reason"] = choice["finish_reason"]


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice with its tool calls as a list."""
    calls = choice.pop("calls", None)
    if calls:
        choice["message"]["tool_calls"] = calls.complete()
    return choice
