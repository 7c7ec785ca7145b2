"""What the bridge does for a server: stop strings, several answers; and what it cannot do is told."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import RequestError
from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    bytewise,
    ndjson,
    new_exchange,
    request,
    request_bodies,
    request_body,
    run_completion,
    run_failure,
    run_stream,
    sse,
)
from tests.strict_client import read_completion, read_stream

BUILT = "request: {body: {p: $.prompt}}\n"
TEXT = BUILT + "response: $.t\nstream: {framing: ndjson, text: $.t}"


def texts(*pieces: str) -> list[bytes]:
    return ndjson(*({"t": piece} for piece in pieces))


@pytest.mark.parametrize(
    ("stop", "pieces", "text"),
    [
        ("END", ["one END two"], "one "),
        ("END", ["one E", "N", "D two"], "one "),
        ("END", ["one EN", "ough"], "one ENough"),
        ("END", ["EEN", "D"], "E"),
        ("END", ["one E"], "one E"),
        ("aab", ["aaa", "b"], "a"),
        (["\n", "END"], ["a EN", "X\nEND"], "a ENX"),
        (["END", "\n\n"], ["a\n", "\nb"], "a"),
        (["b", "abc"], ["xabc"], "xa"),  # complete first
        (["", "END"], ["aEND"], "a"),
        ("Ä😀", ["xÄ", "😀"], "x"),
    ],
)
def test_stop_strings_cut_the_text(stop: Any, pieces: list[str], text: str) -> None:
    asked = request(stop=stop)
    for answer in (texts(*pieces), bytewise(texts(*pieces)), texts(*"".join(pieces))):
        stream = run_stream(TEXT, answer, asked)
        assert (stream.choice.text, stream.choice.finish_reason) == (text, "stop")
    whole = run_completion(TEXT, {"t": "".join(pieces)}, asked)
    assert (whole.choice.text, whole.choice.finish_reason) == (text, "stop")


def test_a_cut_answer_ended_with_stop_whatever_the_server_says() -> None:
    rules = BUILT + "response: {text: $.t, finish_reason: $.f}"
    assert (
        run_completion(rules, {"t": "aEND", "f": "length"}, request(stop="END")).choice.finish_reason
        == "stop"
    )
    assert (
        run_completion(rules, {"t": "a", "f": "length"}, request(stop="END")).choice.finish_reason == "length"
    )


def test_nothing_more_need_be_read_behind_a_stop_string() -> None:
    exchange = new_exchange(TEXT, request(stop="END", stream=True))
    [call] = exchange.calls
    exchange.start(call, 200, {})
    out = exchange.feed(call, texts("one END")[0])
    assert exchange.finished(call)
    assert exchange.error is None
    assert read_stream(out + exchange.close(call)).choice.text == "one "
    assert exchange.feed(call, texts("more")[0]) == b""


def test_what_may_be_a_stop_string_is_held_back_and_all_else_is_not() -> None:
    exchange = new_exchange(TEXT, request(stop="END", stream=True))
    [call] = exchange.calls
    exchange.start(call, 200, {})
    assert b'"one"' in exchange.feed(call, texts("one")[0])
    assert b'" "' in exchange.feed(call, texts(" E")[0])
    assert b'"Es"' in exchange.feed(call, texts("s")[0])


def test_the_server_is_not_cut_that_was_told_itself() -> None:
    rules = "request: {body: {stop: $.stop}}\nresponse: $.t"
    assert run_completion(rules, {"t": "aENDb"}, request(stop="END")).choice.text == "aENDb"
    assert run_completion("response: $.t", {"t": "aENDb"}, request(stop="END")).choice.text == "aENDb"


def test_a_server_that_is_told_only_some_is_cut_by_all() -> None:
    rules = "request: {body: {stop: {$path: $.stop, take: first}}}\nresponse: $.t"
    asked = request(stop=["ONE", "TWO"])
    assert request_body(rules, asked) == {"stop": "ONE"}
    assert run_completion(rules, {"t": "aTWOb"}, asked).choice.text == "a"


def test_dropped_stop_strings_are_cut_here() -> None:
    rules = "request: {drop: [stop]}\nresponse: $.t"
    assert run_completion(rules, {"t": "aENDb"}, request(stop="END")).choice.text == "a"


def test_openais_own_shape_is_cut_too() -> None:
    rules = "request: {drop: [stop]}"
    answer = {"choices": [{"index": 0, "message": {"content": "aENDb"}, "finish_reason": "length"}]}
    whole = run_completion(rules, answer, request(stop="END"))
    assert (whole.choice.text, whole.choice.finish_reason) == ("a", "stop")
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("aE", "ND", "b")]
    stream = run_stream(rules, sse(*chunks, "data: [DONE]\n\n"), request(stop="END"))
    assert (stream.choice.text, stream.choice.finish_reason) == ("a", "stop")


def test_emulation_of_stop_can_be_turned_off() -> None:
    rules = TEXT + "\nemulate: {stop: false}"
    assert run_completion(rules, {"t": "aENDb"}, request(stop="END")).choice.text == "aENDb"
    assert new_exchange(rules, request(stop="END")).dropped == ("stop",)


def test_the_marks_of_a_prompt_are_cut_without_being_asked_for() -> None:
    whole = run_completion(TEXT + "\nprompt: chatml", {"t": "Teal.<|im_end|>\n<|im_start|>user"})
    assert whole.choice.text == "Teal."


def test_several_answers_are_several_calls() -> None:
    exchange = new_exchange(TEXT, request(n=3))
    assert request_bodies(exchange) == [{"p": "hi"}] * 3
    whole = read_completion(simulate(exchange, [b'{"t": "x"}']))
    assert [said.text for said in whole.choices.values()] == ["x"] * 3


def test_several_answers_are_interleaved_by_index() -> None:
    exchange = new_exchange(TEXT, request(n=2, stream=True, stop="END"))
    one, two = exchange.calls
    out = b""
    for call in (one, two):
        exchange.start(call, 200, {})
    for call, text in ((two, "b"), (one, "a"), (two, "b"), (one, "END"), (two, "b")):
        if not exchange.finished(call):
            out += exchange.feed(call, texts(text)[0])
    stream = read_stream(out + exchange.close(one) + exchange.close(two))
    assert {index: said.text for index, said in stream.choices.items()} == {0: "a", 1: "bbb"}
    assert stream.choice.finish_reason == "stop"


def test_n_does_not_reach_a_server_that_is_called_several_times() -> None:
    assert request_bodies(new_exchange("response: $.t", request(n=2))) == [request(), request()]


def test_n_goes_to_a_server_that_gives_several_answers() -> None:
    rules = "response: {choices: '$.c[*]', text: $item.t}"
    assert request_bodies(new_exchange(rules, request(n=2))) == [request(n=2)]
    assert request_bodies(new_exchange("serves: [chat]", request(n=2))) == [request(n=2)]


def test_one_failed_call_fails_the_stream_on_its_way() -> None:
    exchange = new_exchange(TEXT, request(n=2, stream=True))
    one, two = exchange.calls
    exchange.start(one, 200, {})
    exchange.start(two, 500, {})
    out = exchange.feed(one, texts("a")[0])
    out += exchange.feed(two, b"oops") + exchange.close(two) + exchange.feed(one, texts("b")[0])
    stream = read_stream(out + exchange.close(one))
    assert stream.choice.text == "a"
    assert stream.error is not None


def test_emulation_of_n_can_be_turned_off() -> None:
    exchange = new_exchange(TEXT + "\nemulate: {n: false}", request(n=2))
    assert len(exchange.calls) == 1
    assert exchange.dropped == ("n",)
    assert new_exchange(TEXT + "\nemulate: {n: false}", request(n=1)).dropped == ()


def test_dropped_parameters_are_named() -> None:
    asked = request(
        temperature=0.5, user="u", seed=None, stop="x", stream=True, stream_options={"include_usage": True}
    )
    assert new_exchange(TEXT, asked).dropped == ("temperature", "user")
    assert new_exchange("request: {body: {t: $.temperature}}\n" + "response: $.t", asked).dropped == ("user",)
    assert new_exchange("request: {body: {t: '{{ user }}'}}\nresponse: $.t", asked).dropped == (
        "temperature",
    )
    assert new_exchange("request: {keep: [messages, user]}", asked).dropped == ("temperature",)
    assert new_exchange("request: {drop: [user]}", asked).dropped == ("user",)
    assert new_exchange("serves: [chat]", asked).dropped == ()
    assert new_exchange("request: {rename: {user: who}}", asked).dropped == ()
    assert new_exchange("request: {body: {r: $.raw}}", asked).dropped == ()


def test_max_tokens_by_either_name_is_not_dropped_where_it_is_read() -> None:
    rules = "request: {body: {m: $.max_tokens}}"
    assert new_exchange(rules, request(max_completion_tokens=5)).dropped == ()
    assert new_exchange(rules, request(max_tokens=5)).dropped == ()
    assert new_exchange(TEXT, request(max_completion_tokens=5)).dropped == ("max_completion_tokens",)


def test_a_header_or_url_may_be_what_reads_a_parameter() -> None:
    assert new_exchange("headers: {X: '{{ user }}'}\n" + TEXT, request(user="u")).dropped == ()
    assert new_exchange("query: {seed: '{{ seed }}'}\n" + TEXT, request(seed=1)).dropped == ()


def test_a_parameter_that_only_a_stream_reads_is_dropped_otherwise() -> None:
    rules = "response: $.t\nrequest: {drop: [seed]}\nstream: {text: $.t, query: {seed: '{{ seed }}'}}"
    assert new_exchange(rules, request(seed=1)).dropped == ("seed",)
    assert new_exchange(rules, request(seed=1, stream=True)).dropped == ()


def test_unsupported_parameters_may_be_an_error() -> None:
    rules = TEXT + "\nunsupported: error"
    assert new_exchange(rules, request(stop="x", n=2, seed=None)).dropped == ()
    with pytest.raises(RequestError) as raised:
        new_exchange(rules, request(top_p=0.5))
    assert (raised.value.status, raised.value.param) == (400, "top_p")
    assert raised.value.type == "invalid_request_error"


def test_an_error_of_a_cut_answer_is_an_error() -> None:
    assert run_failure(TEXT, {"error": "x"}, request(stop="END")).status == 502
