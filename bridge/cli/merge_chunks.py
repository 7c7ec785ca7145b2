"""A stream of chunks as the completion it amounts to: what a client makes of it."""

from __future__ import annotations

from typing import Any

from bridge.core import json
from bridge.openai.encoders import fold_tool_call

__all__ = ["merge_chunks"]


def merge_chunks(data: bytes) -> dict[str, Any]:
    """Fold the events of a stream; an error event stands as `error` beside what came before it."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in data.split(b"\n\n"):
        payload = event.removeprefix(b"data: ")
        if not payload or payload == b"[DONE]":
            continue
        chunk = json.loads(payload)
        for choice in chunk.pop("choices", []):
            _add(choices.setdefault(choice["index"], {"index": choice["index"]}), choice)
        answer |= {name: value for name, value in chunk.items() if value is not None}
    return answer | {"choices": [_folded(choices[index]) for index in sorted(choices)]}


def _add(folded: dict[str, Any], choice: dict[str, Any]) -> None:
    if "text" in choice:
        folded["text"] = folded.get("text", "") + choice["text"]
    for name, value in choice.get("delta", {}).items():
        message = folded.setdefault("message", {})
        if name == "tool_calls":
            calls = folded.setdefault("calls", {})
            for call in value:
                fold_tool_call(calls, call)
        elif isinstance(value, str) and isinstance(message.get(name), str) and name != "role":
            message[name] += value
        else:
            message[name] = value
    if choice.get("finish_reason"):
        folded["finish_reason"] = choice["finish_reason"]


def _folded(choice: dict[str, Any]) -> dict[str, Any]:
    calls = choice.pop("calls", None)
    if calls:
        choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    return choice
