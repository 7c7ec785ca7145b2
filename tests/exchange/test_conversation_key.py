"""Keys of conversations: a digest of the messages so far, independent of their spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange.commands import StoredSession
from tests.exchange.conversation import (
    OPENED,
    Message,
    SessionStore,
    assistant,
    conversation_exchange,
    conversation_key,
    user,
)
from tests.strict_client import read_completion, read_stream

CALL = {"id": "c", "type": "function", "function": {"name": "another one", "arguments": "{}"}}


@pytest.mark.parametrize(
    "other",
    [
        [user("one!"), assistant("uno"), user("two")],
        [user("one"), assistant("uno!"), user("two")],
        [{"role": "system", "content": "x"}, user("one"), assistant("uno"), user("two")],
        [user("one"), user(""), assistant("uno"), user("two")],
        [user("o"), user("ne"), assistant("uno"), user("two")],
        [{"role": "system", "content": "one"}, assistant("uno"), user("two")],
        [
            user([{"type": "text", "text": "on"}, {"type": "text", "text": "e"}]),
            assistant("uno"),
            user("two"),
        ],
        [user("one"), assistant("uno", tool_calls=[CALL]), user("two")],
    ],
)
def test_other_messages_have_another_key(other: list[Message]) -> None:
    assert conversation_key(OPENED, other) != conversation_key(
        OPENED, [user("one"), assistant("uno"), user("two")]
    )


def test_two_spellings_of_the_same_messages_have_one_key() -> None:
    parts = [
        user([{"type": "text", "text": "one"}]),
        assistant([{"type": "text", "text": " uno\n"}]),
        user("two"),
    ]
    assert conversation_key(OPENED, parts) == conversation_key(
        OPENED, [user("one"), assistant("uno"), user("three")]
    )


@pytest.mark.parametrize(
    "calls", [5, "x", {"a": 1}, [5], [{"id": [], "function": 5}], [{"function": {"name": {}}}]]
)
def test_tool_calls_of_any_shape_are_accepted(calls: Any) -> None:
    turn = [user("x"), assistant("", tool_calls=calls), {"role": "tool", "tool_call_id": [], "content": "y"}]
    key = conversation_key(OPENED, turn)
    assert key is not None
    store = SessionStore()
    store.kept[key] = StoredSession("s", 0, {})
    assert store.complete(conversation_exchange(OPENED, turn), {"text": "x"})[0] == "s"


texts = st.text(max_size=12)
turns = st.lists(st.tuples(texts, texts), min_size=1, max_size=4)


@given(turns, st.booleans(), st.sampled_from(["unchanged", "stripped", "in parts"]))
def test_a_conversation_of_any_texts_finds_its_session(
    exchanges: list[tuple[str, str]], stream: bool, repetition: str
) -> None:
    store = SessionStore()
    messages: list[Message] = []
    for question, text in exchanges:
        messages.append(user(question))
        answer = json.dumps({"text": text}).encode() + b"\n"
        exchange = conversation_exchange(OPENED, messages, key="Bearer a", stream=stream)
        session, sent, out = store.complete(exchange, answer)
        assert session == 1
        assert len(sent["said"]) == 1
        received = (read_stream(out, include_usage=False) if stream else read_completion(out)).choice.text
        content: Any = received if repetition == "unchanged" else (received or "").strip()
        messages.append(
            assistant([{"type": "text", "text": content}] if repetition == "in parts" else content)
        )
    for change in ({"key": "Bearer b"}, {"key": None}, {"model": "n"}):
        exchange = conversation_exchange(OPENED, [*messages, user("more")], **change)
        assert store.complete(exchange, {"text": "x"})[0] != 1


CALLING = """
    session: {keep: conversation, open: {path: /open, body: {}, id: $.session}}
    tools: ollama
    request: {body: {session: $.session, messages: $.messages}}
    response: {text: $.message.content}
    stream: {framing: ndjson, text: $.message.content}
"""


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=8), st.dictionaries(texts, texts | st.integers(-9, 9))),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_tool_calls_are_part_of_the_key(calls: list[tuple[str, dict[str, Any]]], stream: bool) -> None:
    store = SessionStore()
    functions = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    answer = json.dumps({"message": {"content": "", "tool_calls": functions}}).encode() + b"\n"
    _, _, out = store.complete(conversation_exchange(CALLING, [user("go")], stream=stream), answer)
    exchanges = (read_stream(out, include_usage=False) if stream else read_completion(out)).choice
    repeated = [
        {
            "id": tool_call["id"],
            "type": "function",
            "function": {name: tool_call[name] for name in ("name", "arguments")},
        }
        for tool_call in exchanges.tool_calls
    ]
    results = [{"role": "tool", "tool_call_id": tool_call["id"], "content": "ok"} for tool_call in repeated]
    next_turn = [user("go"), assistant(None, tool_calls=repeated), *results]
    other = [
        user("go"),
        assistant(None, tool_calls=[{**CALL, "id": tool_call["id"]} for tool_call in repeated]),
        *results,
    ]
    assert conversation_key(CALLING, other) not in store.kept
    session, sent, _ = store.complete(
        conversation_exchange(CALLING, next_turn), {"message": {"content": "done"}}
    )
    assert session == 1
    assert [message["role"] for message in sent["messages"]] == ["tool"] * len(calls)
    assert [message["tool_name"] for message in sent["messages"]] == [name for name, _ in calls]
