"""Conversations: the next turn of a conversation continues its session, and no other request does."""

from __future__ import annotations

import json

import pytest

from bridge.exchange.commands import ReleaseSession, StoredSession
from tests.exchange.callout_steps import (
    commands_after,
    commands_before,
    connection_lost,
    fetched,
    request_bodies,
    request_lines,
    respond,
)
from tests.exchange.conversation import (
    OPENED,
    SessionStore,
    assistant,
    conversation_exchange,
    conversation_key,
    user,
)
from tests.exchange.single_exchange import new_exchange
from tests.strict_client import read_completion

NAMED = """
    session: {keep: conversation, id: $.conversation, close: {path: /close, body: {id: $.session}}}
    request: {body: {conversation: $.session, ask: $.last}}
    response: $.text
"""


def test_the_next_turn_continues_the_session_with_new_messages() -> None:
    store = SessionStore()
    first = [{"role": "system", "content": "Be brief."}, user("one")]
    session, sent, out = store.complete(conversation_exchange(OPENED, first), {"text": "uno"})
    assert (session, sent["said"]) == (1, ["Be brief.", "one"])
    text = read_completion(out).choice.text
    second = [*first, assistant(text), user("two"), user("three")]
    session, sent, _ = store.complete(conversation_exchange(OPENED, second), {"text": "dos"})
    assert (session, sent["said"], sent["ask"]) == (1, ["two", "three"], "three")
    third = [*second, assistant("dos"), user("four")]
    session, sent, _ = store.complete(conversation_exchange(OPENED, third), {"text": "tres"})
    assert (session, sent["said"], store.opened) == (1, ["four"], 1)


def test_a_lost_session_is_replaced_with_all_messages() -> None:
    store = SessionStore()
    messages = [user("one"), assistant("uno"), user("two")]
    session, sent, _ = store.complete(conversation_exchange(OPENED, messages), {"text": "dos"})
    assert (session, sent["said"]) == (1, ["one", "uno", "two"])
    session, sent, _ = store.complete(
        conversation_exchange(OPENED, [*messages, assistant("dos"), user("three")]), {"text": "t"}
    )
    assert (session, sent["said"]) == (1, ["three"])


def test_the_first_turn_has_no_key() -> None:
    assert conversation_key(OPENED, [user("one")]) is None
    assert conversation_key(OPENED, [{"role": "system", "content": "x"}, user("one")]) is None


def test_a_turn_without_new_messages_opens_a_session() -> None:
    """The client requests a continuation of the last response, so there are no messages to send."""
    for by in ("transcript", "user"):
        rules = OPENED.replace("keep: conversation", f"keep: conversation\n      by: {by}")
        assert conversation_key(rules, [user("one"), assistant("uno")], user="u") is None


def test_a_session_is_closed_after_a_failed_response() -> None:
    [call] = (exchange := conversation_exchange(OPENED, [user("one")], user="u")).calls
    commands_before(call, fetched({"session": 1}))
    respond(exchange, {"text": "x"}, status=500)
    assert request_lines(last := commands_after(call)) == ["POST http://server/api/close"]
    assert request_bodies(list(last)) == [{"session": 1, "who": "u"}]


@pytest.mark.parametrize("ending", ["left", "broken", "cut"])
def test_a_session_is_closed_after_an_incomplete_response(ending: str) -> None:
    exchange = conversation_exchange(OPENED, [user("one")], stop=["<end>"], stream=True)
    [call] = exchange.calls
    commands_before(call, fetched({"session": 1}))
    exchange.start(call, 200, {})
    exchange.feed(call, b'{"text": "uno"}\n')
    if ending == "broken":
        exchange.connection_lost(call, connection_lost())
    elif ending == "cut":
        exchange.feed(call, b'{"text": "<end>"}\n')
    assert request_lines(commands_after(call)) == ["POST http://server/api/close"]


def test_a_response_may_name_the_session_of_the_next_turn() -> None:
    store = SessionStore()
    first = [user("one")]
    session, sent, _ = store.complete(
        conversation_exchange(NAMED, first), {"text": "uno", "conversation": "c1"}
    )
    assert (session, sent) == (None, {"ask": "one"})
    second = [*first, assistant("uno"), user("two")]
    session, sent, _ = store.complete(
        conversation_exchange(NAMED, second), {"text": "dos", "conversation": "c2"}
    )
    assert (session, sent["ask"]) == ("c1", "two")
    third = [*second, assistant("dos"), user("three")]
    assert store.complete(conversation_exchange(NAMED, third), {"text": "tres"})[0] == "c2"
    fourth = [*third, assistant("tres"), user("four")]
    assert (
        store.complete(conversation_exchange(NAMED, fourth), {"text": "x"})[0] == "c2"
    )  # the third response named no session


def test_regenerated_and_forked_turns_never_share_a_session() -> None:
    store = SessionStore()
    first_turn = [user("one")]
    used = [store.complete(conversation_exchange(OPENED, first_turn), {"text": "uno"})[0] for _ in range(2)]
    second = [*first_turn, assistant("uno")]
    used += [
        store.complete(conversation_exchange(OPENED, [*second, user("two")]), {"text": f"dos {n}"})[0]
        for n in range(3)
    ]
    used += [
        store.complete(conversation_exchange(OPENED, [*second, user("other")]), {"text": "otro"})[0]
        for _ in range(2)
    ]
    # The second session replaced the first in the store. A turn that takes a session has it alone.
    assert len(set(used[2:])) == len(used[2:])
    regenerated = [*second, user("two"), assistant("dos 1"), user("three")]
    assert store.complete(conversation_exchange(OPENED, regenerated), {"text": "x"})[0] == used[3]


def test_the_key_includes_client_model_and_route() -> None:
    messages = [user("one"), assistant("uno"), user("two")]
    keys = {
        conversation_key(OPENED, messages),
        conversation_key(OPENED, messages, key="Bearer a"),
        conversation_key(OPENED, messages, key="Bearer b"),
        conversation_key(OPENED, messages, model="other"),
        conversation_key("    name: other" + OPENED, messages),
    }
    assert None not in keys
    assert len(keys) == 5


BY_USER = OPENED.replace("keep: conversation", "keep: conversation\n      by: user")
BY_HEADER = OPENED.replace("keep: conversation", "keep: conversation\n      by: {header: X-Chat}")


@pytest.mark.parametrize(("rules", "word"), [(BY_USER, "user"), (BY_HEADER, "conversation")])
def test_sessions_may_be_found_by_a_name(rules: str, word: str) -> None:
    store = SessionStore()
    named, named_differently = {word: "u1"}, {word: "u2"}
    assert store.complete(conversation_exchange(rules, [user("one")], **named), {"text": "uno"})[0] == 1
    assert (
        store.complete(conversation_exchange(rules, [user("one")], **named_differently), {"text": "uno"})[0]
        == 2
    )
    session, sent, _ = store.complete(
        conversation_exchange(rules, [assistant("else"), user("two")], **named), {"text": "dos"}
    )
    assert (session, sent["said"]) == (1, ["two"])
    assert (
        store.complete(conversation_exchange(rules, [user("one")], **named, key="Bearer b"), {"text": "uno"})[
            0
        ]
        == 3
    )
    # Without a name, each response has its own session.
    for turn in (4, 5):
        assert store.complete(conversation_exchange(rules, [user("one")]), {"text": "uno"})[0] == turn
    assert len(store.kept) == 3


def test_a_stored_session_has_the_members_that_close_reads() -> None:
    [call] = (exchange := conversation_exchange(OPENED, [user("a secret")], user="u")).calls
    commands_before(call, fetched({"session": 1}))
    respond(exchange, {"text": "another"})
    [keep] = commands_after(call)
    assert isinstance(keep, ReleaseSession)
    assert keep.session == StoredSession(1, 0, {"session": 1, "user": "u"})
    assert len(keep.key) == 64  # a digest, since stores need no text of a conversation


def test_a_response_of_several_choices_is_not_continued() -> None:
    rules = OPENED.replace("response: $.text", "response: {choices: '$.all[*]', text: $item.text}")
    rules = rules.replace("ask: $.last", "ask: $.last, n: $.n")
    exchange = conversation_exchange(rules, [user("one")], n=2)
    [call] = exchange.calls
    commands_before(call, fetched({"session": 1}))
    respond(exchange, {"all": [{"text": "uno"}, {"text": "dos"}]})
    assert request_lines(commands_after(call)) == ["POST http://server/api/close"]


def test_each_call_of_a_response_is_continued() -> None:
    exchange = conversation_exchange(OPENED, [user("one")], n=2)
    keys = []
    for number, call in enumerate(exchange.calls):
        commands_before(call, fetched({"session": number}))
        exchange.start(call, 200, {})
        exchange.feed(call, json.dumps({"text": f"uno {number}"}).encode())
        exchange.close(call)
        [keep] = commands_after(call)
        assert isinstance(keep, ReleaseSession)
        keys.append(keep.key)
    assert keys == [
        conversation_key(OPENED, [user("one"), assistant(f"uno {n}"), user("x")]) for n in range(2)
    ]


def test_embeddings_open_a_session_per_request() -> None:
    rules = f"""
    serves: [chat, embeddings]
    {BY_USER.strip()}
"""
    rules = rules.replace("response: $.text", "response: {text: $.text, embeddings: $.vector}")
    [call] = new_exchange(rules, {"model": "m", "input": "hi", "user": "u"}, endpoint="embeddings").calls
    [opening, _] = commands_before(call, fetched({"session": 1}))
    assert request_lines([opening]) == ["POST http://server/api/open"]
