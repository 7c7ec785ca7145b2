"""Emulation of stop strings and of `n`, and parameters that are dropped or refused."""

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

TEMPLATE = "request: {body: {p: $.prompt}}\n"
TEXT = TEMPLATE + "response: $.t\nstream: {framing: ndjson, text: $.t}"


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
        (["b", "abc"], ["xabc"], "xa"),  # the first stop string that is complete
        (["", "END"], ["aEND"], "a"),
        ("Ä😀", ["xÄ", "😀"], "x"),
    ],
)
def test_a_stop_string_ends_the_text(stop: Any, pieces: list[str], text: str) -> None:
    body = request(stop=stop)
    for sent in (texts(*pieces), bytewise(texts(*pieces)), texts(*"".join(pieces))):
        stream = run_stream(TEXT, sent, body)
        assert (stream.choice.text, stream.choice.finish_reason) == (text, "stop")
    completion = run_completion(TEXT, {"t": "".join(pieces)}, body)
    assert (completion.choice.text, completion.choice.finish_reason) == (text, "stop")


def test_a_text_cut_at_a_stop_string_finishes_with_stop() -> None:
    rules = TEMPLATE + "response: {text: $.t, finish_reason: $.f}"
    assert (
        run_completion(rules, {"t": "aEND", "f": "length"}, request(stop="END")).choice.finish_reason
        == "stop"
    )
    assert (
        run_completion(rules, {"t": "a", "f": "length"}, request(stop="END")).choice.finish_reason == "length"
    )


def test_a_stop_string_finishes_the_call() -> None:
    exchange = new_exchange(TEXT, request(stop="END", stream=True))
    [call] = exchange.calls
    exchange.start(call, 200, {})
    out = exchange.feed(call, texts("one END")[0])
    assert exchange.finished(call)
    assert exchange.error is None
    assert read_stream(out + exchange.close(call)).choice.text == "one "
    assert exchange.feed(call, texts("more")[0]) == b""


def test_only_a_possible_start_of_a_stop_string_is_withheld() -> None:
    exchange = new_exchange(TEXT, request(stop="END", stream=True))
    [call] = exchange.calls
    exchange.start(call, 200, {})
    assert b'"one"' in exchange.feed(call, texts("one")[0])
    assert b'" "' in exchange.feed(call, texts(" E")[0])
    assert b'"Es"' in exchange.feed(call, texts("s")[0])


@pytest.mark.parametrize(
    "rules",
    [
        "request: {body: {stop: $.stop}}\nresponse: $.t",
        "response: $.t",
        "request: {fields: {user: u}}\nresponse: $.t",
        "upstream: {url: http://server/api, method: GET}\nresponse: $.t",
        "calls: {a: {path: /a, body: {s: $.stop}, values: {b: $.b}}}\nupstream: http://server\nresponse: $.t",
    ],
)
def test_the_text_is_cut_at_stop_strings_whether_or_not_they_are_sent(rules: str) -> None:
    """Some servers do not cut at the strings that they receive."""
    assert run_completion(rules, {"t": "aENDb"}, request(stop="END")).choice.text == "a"
    uncut = f"{rules}\nemulate: {{stop: false}}"
    assert run_completion(uncut, {"t": "aENDb"}, request(stop="END")).choice.text == "aENDb"


def test_openai_responses_are_cut_at_stop_strings() -> None:
    """A route without rules cuts too, and keeps the members of the response."""
    message = {"role": "assistant", "content": "aENDb", "annotations": [1]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}], "service_tier": "x"}
    choice = run_completion("", body, request(stop="END")).choice
    assert (choice.text, choice.finish_reason) == ("a", "stop")
    chunk = {"choices": [{"index": 0, "delta": {"content": "aEN"}}]}
    events = sse(chunk, {"choices": [{"index": 0, "delta": {"content": "Db"}}]}, "data: [DONE]\n\n")
    for pieces in (events, bytewise(events)):
        assert run_stream("", pieces, {"stop": "END"}).choice.text == "a"


@pytest.mark.parametrize("edits", ["drop: [n]", "keep: [messages]"])
def test_several_choices_take_several_calls_where_n_is_not_sent(edits: str) -> None:
    """An upstream in OpenAI's format that receives no `n` gives one choice."""
    exchange = new_exchange(f"request: {{{edits}}}", request(n=2))
    assert (len(exchange.calls), exchange.dropped) == (2, ())
    assert len(new_exchange("request: {drop: [user]}", request(n=2)).calls) == 1


def test_all_stop_strings_are_emulated_if_only_some_are_sent() -> None:
    rules = "request: {body: {stop: {$path: $.stop, take: first}}}\nresponse: $.t"
    body = request(stop=["ONE", "TWO"])
    assert request_body(rules, body) == {"stop": "ONE"}
    assert run_completion(rules, {"t": "aTWOb"}, body).choice.text == "a"


def test_dropped_stop_strings_are_emulated() -> None:
    rules = "request: {drop: [stop]}\nresponse: $.t"
    assert run_completion(rules, {"t": "aENDb"}, request(stop="END")).choice.text == "a"


def test_stop_strings_are_emulated_for_openais_shape() -> None:
    rules = "request: {drop: [stop]}"
    sent = {"choices": [{"index": 0, "message": {"content": "aENDb"}, "finish_reason": "length"}]}
    completion = run_completion(rules, sent, request(stop="END"))
    assert (completion.choice.text, completion.choice.finish_reason) == ("a", "stop")
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("aE", "ND", "b")]
    stream = run_stream(rules, sse(*chunks, "data: [DONE]\n\n"), request(stop="END"))
    assert (stream.choice.text, stream.choice.finish_reason) == ("a", "stop")


def test_emulation_of_stop_can_be_turned_off() -> None:
    rules = TEXT + "\nemulate: {stop: false}"
    assert run_completion(rules, {"t": "aENDb"}, request(stop="END")).choice.text == "aENDb"
    assert new_exchange(rules, request(stop="END")).dropped == ("stop",)


def test_the_markers_of_a_prompt_format_are_stop_strings() -> None:
    completion = run_completion(TEXT + "\nprompt: chatml", {"t": "Teal.<|im_end|>\n<|im_start|>user"})
    assert completion.choice.text == "Teal."


def test_n_choices_are_n_calls() -> None:
    exchange = new_exchange(TEXT, request(n=3))
    assert request_bodies(exchange) == [{"p": "hi"}] * 3
    completion = read_completion(simulate(exchange, [b'{"t": "x"}']))
    assert [choice.text for choice in completion.choices.values()] == ["x"] * 3


def test_the_choices_of_several_calls_are_interleaved_by_index() -> None:
    exchange = new_exchange(TEXT, request(n=2, stream=True, stop="END"))
    first, second = exchange.calls
    out = b""
    for call in (first, second):
        exchange.start(call, 200, {})
    for call, text in ((second, "b"), (first, "a"), (second, "b"), (first, "END"), (second, "b")):
        if not exchange.finished(call):
            out += exchange.feed(call, texts(text)[0])
    stream = read_stream(out + exchange.close(first) + exchange.close(second))
    assert {index: choice.text for index, choice in stream.choices.items()} == {0: "a", 1: "bbb"}
    assert stream.choice.finish_reason == "stop"


def test_an_emulated_n_is_not_sent() -> None:
    assert request_bodies(new_exchange("response: $.t", request(n=2))) == [request(), request()]


def test_n_is_sent_if_the_upstream_gives_several_choices() -> None:
    rules = "response: {choices: '$.c[*]', text: $item.t}"
    assert request_bodies(new_exchange(rules, request(n=2))) == [request(n=2)]
    assert request_bodies(new_exchange("serves: [chat]", request(n=2))) == [request(n=2)]


def test_a_failed_call_fails_a_started_stream() -> None:
    exchange = new_exchange(TEXT, request(n=2, stream=True))
    first, second = exchange.calls
    exchange.start(first, 200, {})
    exchange.start(second, 500, {})
    out = exchange.feed(first, texts("a")[0])
    out += exchange.feed(second, b"oops") + exchange.close(second) + exchange.feed(first, texts("b")[0])
    stream = read_stream(out + exchange.close(first))
    assert stream.choice.text == "a"
    assert stream.error is not None


def test_emulation_of_n_can_be_turned_off() -> None:
    exchange = new_exchange(TEXT + "\nemulate: {n: false}", request(n=2))
    assert len(exchange.calls) == 1
    assert exchange.dropped == ("n",)
    assert new_exchange(TEXT + "\nemulate: {n: false}", request(n=1)).dropped == ()


def test_dropped_parameters_are_listed() -> None:
    body = request(
        temperature=0.5, user="u", seed=None, stop="x", stream=True, stream_options={"include_usage": True}
    )
    assert new_exchange(TEXT, body).dropped == ("temperature", "user")
    assert new_exchange("request: {body: {t: $.temperature}}\n" + "response: $.t", body).dropped == ("user",)
    assert new_exchange("request: {body: {t: '{{ user }}'}}\nresponse: $.t", body).dropped == ("temperature",)
    assert new_exchange("request: {keep: [messages, user]}", body).dropped == ("temperature",)
    assert new_exchange("request: {drop: [user]}", body).dropped == ("user",)
    assert new_exchange("serves: [chat]", body).dropped == ()
    assert new_exchange("request: {rename: {user: who}}", body).dropped == ()
    assert new_exchange("request: {body: {r: $.raw}}", body).dropped == ()


def test_max_tokens_under_either_name_is_not_dropped_if_read() -> None:
    rules = "request: {body: {m: $.max_tokens}}"
    assert new_exchange(rules, request(max_completion_tokens=5)).dropped == ()
    assert new_exchange(rules, request(max_tokens=5)).dropped == ()
    assert new_exchange(TEXT, request(max_completion_tokens=5)).dropped == ("max_completion_tokens",)


def test_a_parameter_in_a_header_or_query_is_not_dropped() -> None:
    assert new_exchange("headers: {X: '{{ user }}'}\n" + TEXT, request(user="u")).dropped == ()
    assert new_exchange("query: {seed: '{{ seed }}'}\n" + TEXT, request(seed=1)).dropped == ()


def test_a_parameter_of_the_stream_rule_is_dropped_without_streaming() -> None:
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


def test_an_error_is_an_error_with_emulated_stop_strings() -> None:
    assert run_failure(TEXT, {"error": "x"}, request(stop="END")).status == 502
