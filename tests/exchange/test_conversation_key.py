"""What a conversation is found by: all that was said so far, however a client writes it down again."""

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
def test_other_transcripts_are_others(other: list[Message]) -> None:
    assert conversation_key(OPENED, other) != conversation_key(
        OPENED, [user("one"), assistant("uno"), user("two")]
    )


def test_two_ways_to_write_a_transcript_are_one() -> None:
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
def test_calls_of_any_shape_are_looked_at(calls: Any) -> None:
    turn = [user("x"), assistant("", tool_calls=calls), {"role": "tool", "tool_call_id": [], "content": "y"}]
    key = conversation_key(OPENED, turn)
    assert key is not None
    store = SessionStore()
    store.kept[key] = StoredSession("s", 0, {})
    assert store.answer(conversation_exchange(OPENED, turn), {"text": "x"})[0] == "s"


texts = st.text(max_size=12)
turns = st.lists(st.tuples(texts, texts), min_size=1, max_size=4)


@given(turns, st.booleans(), st.sampled_from(["as it is", "stripped", "in parts"]))
def test_a_conversation_of_any_texts_finds_its_session(
    said: list[tuple[str, str]], stream: bool, echo: str
) -> None:
    store = SessionStore()
    messages: list[Message] = []
    for question, text in said:
        messages.append(user(question))
        answer = json.dumps({"text": text}).encode() + b"\n"
        exchange = conversation_exchange(OPENED, messages, key="Bearer a", stream=stream)
        session, sent, out = store.answer(exchange, answer)
        assert session == 1
        assert len(sent["said"]) == 1
        got = (read_stream(out, include_usage=False) if stream else read_completion(out)).choice.text
        told: Any = got if echo == "as it is" else (got or "").strip()
        messages.append(assistant([{"type": "text", "text": told}] if echo == "in parts" else told))
    for how in ({"key": "Bearer b"}, {"key": None}, {"model": "n"}):
        exchange = conversation_exchange(OPENED, [*messages, user("more")], **how)
        assert store.answer(exchange, {"text": "x"})[0] != 1


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
def test_calls_of_tools_are_part_of_what_was_said(
    calls: list[tuple[str, dict[str, Any]]], stream: bool
) -> None:
    store = SessionStore()
    functions = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    answer = json.dumps({"message": {"content": "", "tool_calls": functions}}).encode() + b"\n"
    _, _, out = store.answer(conversation_exchange(CALLING, [user("go")], stream=stream), answer)
    said = (read_stream(out, include_usage=False) if stream else read_completion(out)).choice
    echoed = [
        {"id": one["id"], "type": "function", "function": {name: one[name] for name in ("name", "arguments")}}
        for one in said.tool_calls
    ]
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "ok"} for one in echoed]
    next_turn = [user("go"), assistant(None, tool_calls=echoed), *results]
    other = [user("go"), assistant(None, tool_calls=[{**CALL, "id": one["id"]} for one in echoed]), *results]
    assert conversation_key(CALLING, other) not in store.kept
    session, sent, _ = store.answer(
        conversation_exchange(CALLING, next_turn), {"message": {"content": "done"}}
    )
    assert session == 1
    assert [message["role"] for message in sent["messages"]] == ["tool"] * len(calls)
    assert [message["tool_name"] for message in sent["messages"]] == [name for name, _ in calls]
