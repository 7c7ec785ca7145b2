"""Finish reasons of responses: one table for every route, failures, and output before a failure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import bytewise, run_completion, run_failure, run_stream, sse

RULES = "response: {text: $.text, finish_reason: $.why}\nstream: {text: $.text, finish_reason: $.why}"
ROUTES = {"passthrough": "", "rules": RULES}


def _completion(route: str, text: str, why: str) -> Any:
    if route == "rules":
        return {"text": text, "why": why}
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": why}]
    }


def _chunk(route: str, text: str, why: str | None, **more: Any) -> Any:
    if route == "rules":
        return {"text": text, "why": why, **more}
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": why}], **more}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("word", "reason"),
    [("MAX_TOKENS", "length"), ("content-filter", "content_filter"), ("eos", "stop"), ("Length", "length")],
)
def test_words_of_servers_are_translated(route: str, word: str, reason: str) -> None:
    """A route without a map reads the words that servers share."""
    assert run_completion(ROUTES[route], _completion(route, "x", word)).choice.finish_reason == reason
    stream = run_stream(ROUTES[route], sse(_chunk(route, "x", None), _chunk(route, "", word)))
    assert stream.choice.finish_reason == reason


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("word", ["error", "abort", "CANCELLED"])
def test_a_failed_choice_is_an_error(route: str, word: str) -> None:
    """A response that failed is no completion."""
    error = run_failure(ROUTES[route], _completion(route, "half", word))
    assert error.status == 502
    assert word in error.message


@pytest.mark.parametrize("route", ROUTES)
def test_text_before_a_failed_choice_is_sent(route: str) -> None:
    """A stream that fails keeps its text, then ends with an error."""
    events = sse(_chunk(route, "one", None), _chunk(route, " two", "error"), "data: [DONE]\n\n")
    for pieces in (events, bytewise(events)):
        stream = run_stream(ROUTES[route], pieces)
        assert stream.choice.text == "one two"
        assert stream.error is not None
        assert "`error`" in stream.error["message"]


def test_the_error_of_the_choice_has_the_message() -> None:
    """OpenRouter sends the message within the choice."""
    body = _completion("passthrough", "half", "error")
    body["choices"][0]["error"] = {"code": 502, "message": "the provider is down"}
    assert run_failure("", body).message == "the provider is down"


@pytest.mark.parametrize("route", ROUTES)
def test_a_map_of_the_route_comes_first(route: str) -> None:
    """A route may declare that a word means something else."""
    where = "$.why" if route == "rules" else "$item.finish_reason"
    slot = f"finish_reason: {{path: {where}, map: {{abort: length}}}}"
    rules = f"response: {{{'text: $.text, ' if route == 'rules' else ''}{slot}}}"
    assert run_completion(rules, _completion(route, "x", "abort")).choice.finish_reason == "length"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("finish", [None, "length"])
def test_held_text_is_sent_before_an_error(route: str, finish: str | None) -> None:
    """A chunk with a finish reason, and the half of a stop string, are held: an error releases both."""
    body = {"stop": "twofold"} if finish is None else {}
    rules = f"{ROUTES[route]}\nrequest: {{drop: [stop]}}"
    events = sse(
        _chunk(route, "one", None), _chunk(route, " two", finish), {"error": {"message": "torn"}, "text": ""}
    )
    for pieces in (events, bytewise(events)):
        stream = run_stream(rules, pieces, body)
        assert stream.choice.text == "one two"
        assert stream.error is not None
        assert stream.error["message"] == "torn"


@pytest.mark.parametrize("route", ROUTES)
def test_held_text_is_sent_before_a_broken_connection(route: str) -> None:
    """A connection that breaks is an error too."""
    events = sse(_chunk(route, "one", None), _chunk(route, " two", "length"))
    stream = run_stream(ROUTES[route], events, complete=False)
    assert stream.choice.text == "one two"
    assert stream.error is not None


@pytest.mark.parametrize("route", ROUTES)
def test_an_error_before_any_text_keeps_its_status(route: str) -> None:
    """Text that is still held when the error arrives is not sent."""
    events = sse(_chunk(route, "tw", None), {"error": {"message": "torn"}, "text": ""})
    error = run_failure(
        f"{ROUTES[route]}\nrequest: {{drop: [stop]}}\nerror: {{status: 503}}",
        events,
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stop": "two", "stream": True},
    )
    assert error.status == 503
