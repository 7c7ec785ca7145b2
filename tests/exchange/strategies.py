"""Hypothesis strategies for valid and invalid upstream responses, and a check of the bridge's output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from bridge.core.errors import BridgeError
from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import comparable, new_exchange
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANSWERS", "ROUTES", "STATUSES", "bodies", "checked_outcome", "cuts", "json_values", "requests"]

Body = dict[str, Any]

SLOTS = """
    text: $.t
    reasoning: $.r
    tool_calls: $.calls
    finish_reason: {path: $.f, map: {eos: stop}, unset: [0]}
    usage: {prompt_tokens: $.p, completion_tokens: {path: $.c, sum: true}}
    logprobs: $.lp
    id: $.id
    role: $.role
"""
SENDS = "request: {body: {p: $.prompt}}\nresponse:" + SLOTS
SEVERAL = (
    "response: {choices: '$.choices[*]', text: $item.t, finish_reason: $item.f, tool_calls: $item.calls}\n"
)

ROUTES = {
    "openai": "serves: [chat, completions]",
    "openai, edited": "request: {drop: [stop]}",
    "sse": SENDS + "stream: {only: {event: [add, message]}, skip: {$.type: ping}, done: {event: end}}",
    "sse, text": "response: $\n"
    "stream: {data: text, text: $, finish_reason: {field: event, unset: add}, done: END}",
    "sse, several": SEVERAL + "stream: {framing: sse}",
    "sse only": "response: false\nstream: {text: {path: $.t, trim: true}, replace: $.instead}",
    "ndjson": SENDS + "stream: {framing: ndjson, replace: $.instead, done: {$.done: true}}",
    "ndjson, several": SEVERAL + "stream: {framing: ndjson}",
    "nul": SENDS + "stream: {framing: nul, mode: cumulative, text: {path: $.t, strip_prompt: true}}",
    "json-array": SENDS + "stream: {framing: json-array}",
    "json": SENDS + "stream: {framing: json, text: {path: $.t, as: json}}",
    "text": "response: $\nstream: {framing: text, text: {path: $, trim: true, strip_prompt: true}}",
    "whole only": SENDS,
    "rules for errors": SENDS
    + "stream: {framing: ndjson}\n"
    + "error: [{when: {$.code: {not: 0}}, message: $.t, status: $.code, retry_after: $.p}]",
    "small": "limits: {frame: 40, answer: 100}\nresponse: $.t\nstream: {framing: ndjson}",
}  # fmt: skip

STATUSES = st.sampled_from([200, 200, 200, 200, 201, 204, 100, 302, 400, 401, 404, 422, 429, 500, 503])

SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, -1, 1.0, 0.5, 10**25, float("nan"), float("inf"), "", "a", "hi",
    "END", " b \n", "null", "stop", "eos", "length", "tool_calls", "strange", "é\u2028😀", "\ud83d", "\ude00",
    "\ufffd",
]  # fmt: skip
ODD = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abt"), inner, max_size=2),
    max_leaves=4,
)


def usually(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for the usual values, or sometimes any value."""
    return st.integers(0, 9).flatmap(lambda chance: usual if chance else ODD)


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for objects with some of these members, or sometimes any value."""
    return usually(
        st.fixed_dictionaries({}, optional={name: usually(value) for name, value in members.items()})
    )


TEXTS = st.sampled_from(["a", "hi", " b ", "EN", "D", "END", "", "é", "\ud83d", "\ude00", "\ufffd", '"q"'])
NUMBERS = st.sampled_from([0, 1, 2, 3.0])
FINISHES = st.sampled_from([None, "stop", "length", "tool_calls", "eos", "", "null", 0])
CALLS = st.lists(
    some(
        index=NUMBERS,
        id=st.sampled_from(["x", "y", None, 5]),
        type=st.just("function"),
        function=some(name=TEXTS, arguments=TEXTS),
        name=TEXTS,
        arguments=TEXTS,
    ),
    max_size=3,
)
USAGE = some(prompt_tokens=NUMBERS, completion_tokens=NUMBERS, total_tokens=NUMBERS)
SAID = some(role=st.just("assistant"), content=TEXTS, reasoning_content=TEXTS, tool_calls=CALLS)
CHOICES = st.lists(
    some(
        index=NUMBERS, delta=SAID, message=SAID, text=TEXTS, finish_reason=FINISHES, usage=USAGE,
        t=TEXTS, f=FINISHES, calls=CALLS,
    ),
    max_size=3,
)  # fmt: skip
ANSWERS = some(
    id=TEXTS, created=NUMBERS, model=TEXTS, object=TEXTS, choices=CHOICES, usage=USAGE,
) | some(
    t=TEXTS, r=TEXTS, calls=CALLS, f=FINISHES, p=NUMBERS, c=NUMBERS, id=TEXTS, role=TEXTS, choices=CHOICES,
) | some(error=some(message=TEXTS, code=NUMBERS), message=TEXTS, detail=TEXTS, code=NUMBERS, instead=TEXTS,
         done=st.booleans(), t=TEXTS)  # fmt: skip

BEFORE = st.sampled_from(
    [
        "data: ",
        "data:",
        "event: add\ndata: ",
        "event: error\ndata: ",
        "event: end\ndata: ",
        "",
        "",
        "[",
        ",",
        ": ",
    ]
)
AFTER = st.sampled_from(["\n\n", "\n\n", "\n\n", "\n", "\r\n\r\n", "\r\r", "\0", "", "]", ","])
GARBAGE = st.sampled_from(
    [
        b"data: [DONE]\n\n", b"data: END\n\n", b"[DONE]", b"\xef\xbb\xbf", b"\xff", b"\xf0\x9f", b"\n\n",
        b"{", b"}", b"oops",
    ]
) | st.binary(max_size=6)  # fmt: skip


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    value = json.dumps(draw(ANSWERS), ensure_ascii=draw(st.booleans()))
    return (draw(BEFORE) + value + draw(AFTER)).encode("utf-8", "surrogatepass")


@st.composite
def _one_kind(draw: st.DrawFn) -> bytes:
    """Draw frames with the same delimiters."""
    before, after = draw(BEFORE), draw(AFTER)
    frames = draw(st.lists(ANSWERS, min_size=1, max_size=6))
    return "".join(f"{before}{json.dumps(frame)}{after}" for frame in frames).encode()


def bodies() -> st.SearchStrategy[bytes]:
    """Return a strategy for bodies: of valid frames, of invalid frames, of any bytes."""
    return (
        _one_kind()
        | st.lists(_frames() | GARBAGE, max_size=8).map(b"".join)
        | ANSWERS.map(lambda value: json.dumps(value).encode())
        | st.binary(max_size=40)
    )


def cuts() -> st.SearchStrategy[list[int]]:
    """Return a strategy for the positions at which a body is split."""
    return st.lists(st.integers(0, 400), max_size=6).map(sorted)


def requests() -> st.SearchStrategy[tuple[str, Body]]:
    """Return a strategy for pairs of an endpoint and a client's body."""
    members: dict[str, st.SearchStrategy[Any]] = {
        "stream_options": st.just({"include_usage": True}),
        "stream": st.booleans(),
        "n": st.sampled_from([1, 2]),
        "stop": st.sampled_from(["END", "D"]),
    }
    more = st.fixed_dictionaries({}, optional=members)
    chat = more.map(
        lambda members_drawn: (
            "chat",
            {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members_drawn},
        )
    )
    return chat | more.map(
        lambda members_drawn: ("completions", {"model": "m", "prompt": "hi", **members_drawn})
    )


def json_values() -> st.SearchStrategy[Any]:
    """Return a strategy for any JSON value."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=8,
    )


def checked_outcome(
    rules: str, endpoint: str, body: Body, pieces: Sequence[bytes], status: int, complete: bool = True
) -> tuple[Any, Any]:
    """Return output and error of a response, after asserting a valid completion or a documented error."""
    exchange = new_exchange(rules, body, endpoint=endpoint)
    out = simulate(exchange, pieces, status=status, headers={"retry-after": "3"}, complete=complete)
    usage = bool(body.get("stream_options"))
    error = exchange.error
    if error is None:
        if exchange.is_stream:
            assert read_stream(out, include_usage=usage).error is None
        else:
            read_completion(out)
        return comparable(exchange, out), None
    assert isinstance(error, BridgeError)
    assert 400 <= error.status <= 599
    envelope = error.envelope["error"]
    assert {"message", "type", "param", "code"} <= envelope.keys()  # and those of the upstream
    assert envelope["message"]
    assert bool(out) is exchange.started
    if out:
        assert read_stream(out, include_usage=usage).error == json.loads(json.dumps(envelope))
    return comparable(exchange, out), (error.status, envelope, error.retry_after)
