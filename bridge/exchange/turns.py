"""Turns of a conversation: the members `turns`, `system`, `last` and `history` of the request document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.messages import content_text

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["is_system", "turn_members"]

Messages = list[dict[str, Any]]


def turn_members(messages: Messages, names: frozenset[str]) -> JSONObject:
    """Return `turns`, and of the other members those with these names."""
    turns = [message for message in messages if not is_system(message)]
    members: JSONObject = {"turns": turns}
    if "system" in names:
        texts = [text for message in messages if is_system(message) and (text := _text(message))]
        if texts:
            members["system"] = "\n\n".join(texts)
    users = [number for number, message in enumerate(turns) if message["role"] == "user"]
    last = users[-1] if users else len(turns) - 1
    if "last" in names and turns:
        members["last"] = _text(turns[last])
    if "history" in names:
        members["history"] = _pairs(turns[: max(last, 0)])
    return members


def is_system(message: JSONObject) -> bool:
    """Return whether a message is the operator's."""
    return message["role"] in ("system", "developer")


def _pairs(turns: Messages) -> list[list[str]]:
    """Return turns as pairs of user and assistant, each side's consecutive messages joined."""
    pairs: list[tuple[list[str], list[str]]] = []  # texts of both sides, joined once
    is_answered = True
    for turn in turns:
        text = _text(turn)
        if turn["role"] == "assistant":
            if not pairs:
                pairs.append(([""], []))
            answers = pairs[-1][1]
            if answers == [""]:
                answers.clear()
            answers.append(text)
            is_answered = True
        elif is_answered:
            pairs.append(([text], []))
            is_answered = False
        else:
            pairs[-1][0].append(text)
    return [["\n\n".join(texts) for texts in pair] for pair in pairs]


def _text(message: JSONObject) -> str:
    return content_text(message) or ""
