"""Frame templates: frames that match a template come to the same as if the rules had read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange.decode import response_decoder
from bridge.exchange.decode.passthrough import ChunkPassthrough
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.framing.length_delimited import encode_message
from tests.exchange.single_exchange import new_exchange, request

MAPPED = """
    stream:
      framing: {framing}
      text: $.t
      finish_reason: $.why
      usage: {{completion_tokens: $.n}}
      skip: {{$.kind: ping}}
      done: {{$.last: true}}
    response: $.t
    error: {{when: {{$.bad: true}}, message: $.said}}
"""
ENDS = {"sse": b"\n\n", "ndjson": b"\n", "nul": b"\0"}


def raw(framing: str, data: bytes) -> bytes:
    return (b"data: " if framing == "sse" else b"") + data + ENDS.get(framing, b"")


def outcome(rules: str, pieces: list[bytes], *, fast: bool, **members: Any) -> tuple[bytes, str, list[Any]]:
    """What the client gets: bytes, failure, counts."""
    exchange = new_exchange(rules, request(stream=True, **members))
    if not fast:
        exchange.calls[0].decoder._text_path = None
    [call] = exchange.calls
    exchange.start(call, 200, {})
    out = b"".join(exchange.feed(call, piece) for piece in pieces if not exchange.finished(call))
    out += exchange.close(call)
    return out, str(exchange.error), [exchange.usage]


def frames_read(rules: str, pieces: list[bytes], **members: Any) -> int:
    """Return how many frames of a stream were read by the rules."""
    count = 0
    with pytest.MonkeyPatch.context() as patch:
        for reader in (ResponseReader, ChunkPassthrough):

            def read(
                self: Any, scope: Any, data: Any = None, real: Any = reader.read, cls: Any = reader
            ) -> Any:
                nonlocal count
                count += type(self) is cls
                return real(self, scope, data)

            patch.setattr(reader, "read", read)
        outcome(rules, pieces, fast=True, **members)
    return count


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    [
        '"',
        "\\",
        "\n",
        "é",
        "\x7f",
        "\x00",
        "😀",
        "\\u0041",
        "{}",
        '","t":"',
        "data: ",
        "\u2028",
        "/",
        ":",
        "t",
    ]
)
literals = st.builds(json.dumps, texts, ensure_ascii=st.booleans()) | st.sampled_from(
    ['"\\ud83d"', '"\\ude00"', '"\\/"', '"\\u0041"', '""', "null", "7", '"\\x"', '"a', "[]", '"\t"']
)
rests = st.sampled_from(
    ["", "", "", "", ',"id":1', ',"n":2', ',"why":"length"', ',"kind":"ping"', ',"t":"twice"', ',"bad":true',
     ',"last":true', ',"error":"no"', ',"copy":"a"']
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Frames that mostly differ in nothing but their text, behind some that make a mould."""
    rest = draw(rests)
    odd = draw(st.lists(st.tuples(literals, st.just(rest) | st.just(rest) | rests), max_size=10))
    told = [(json.dumps(text), "") for text in ("a", "b")] + [(json.dumps("c"), rest)] * 2 + odd
    some = [f'{{"t":{literal}{more}}}'.encode("utf-8", "replace") for literal, more in told]
    if draw(st.booleans()):
        some.insert(draw(st.integers(4, len(some))), draw(st.sampled_from(BROKEN)))
    return some


BROKEN = [b'{"t":"\xff"}', b'{"t":"\xc3"}', b"", b"nonsense", b'{"t":"a"', b" ", b'{"t":"a"}{"t":"b"}']


GROWING = """
    stream:
      framing: {framing}
      mode: cumulative
      text: $.t
      finish_reason: $.why
      usage: {{completion_tokens: $.n}}
      skip: {{$.kind: ping}}
      done: {{$.last: true}}
    response: $.t
    error: {{when: {{$.bad: true}}, message: $.said}}
"""
tails = texts | st.sampled_from(["\ufffd", "\ud83d", "\ude00", "x\ufffd"])


@st.composite
def growing(draw: st.DrawFn) -> list[bytes]:
    """Frames that mostly repeat all that was said and add to it; some take back, change or begin anew."""
    rest, said, some = draw(rests), "", []
    for number in range(draw(st.integers(0, 14))):
        way = draw(st.sampled_from(["grow", "grow", "grow", "same", "shrink", "change", "anew"]))
        if number < 3 or way == "grow":
            said += draw(tails)
        elif way == "shrink":
            said = said[: draw(st.integers(0, len(said)))]
        elif way == "change":
            said = said[:-1] + draw(tails)
        elif way == "anew":
            said = draw(tails)
        more = rest if draw(st.integers(0, 5)) else draw(rests)
        literal = json.dumps(said, ensure_ascii=draw(st.integers(0, 4)) == 0)
        some.append(f'{{"t":{literal}{more}}}'.encode("utf-8", "surrogatepass"))
    if draw(st.integers(0, 4)) == 0:
        some.insert(draw(st.integers(0, len(some))), draw(st.sampled_from(BROKEN)))
    return some


@given(
    st.sampled_from(sorted(ENDS)),
    st.tuples(st.just(MAPPED), streams()) | st.tuples(st.just(GROWING), growing()),
    st.data(),
)
def test_any_stream_comes_to_the_same(
    framing: str, told: tuple[str, list[bytes]], data: st.DataObject
) -> None:
    rules, some = told[0].format(framing=framing), told[1]
    whole = [raw(framing, frame) for frame in some]
    body = b"".join(whole)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    slow = outcome(rules, whole, fast=False)
    assert outcome(rules, whole, fast=True) == slow
    assert outcome(rules, pieces, fast=True) == slow


@pytest.mark.parametrize("framing", ENDS)
def test_cumulative_frames_match_too(framing: str) -> None:
    said = [" ".join(f"word {n}" for n in range(count + 1)) for count in range(50)]
    pieces = [raw(framing, json.dumps({"t": text, "id": 7}).encode()) for text in said]
    assert frames_read(GROWING.format(framing=framing), pieces) == 1


@pytest.mark.parametrize(
    "said",
    [
        ["a", "ab", "abc", "abX", "abXYZ", "abcd", "abcde", "abXYZW"],  # it says something else on its way
        ["a", "ab", "abc", "ab", "abc", "abcd"],
        ["a", "ab", "abc", "abc\ufffd", "abc\u00e9", "abc\u00e9d"],
        ["a", "ab", "abc", "abc", "abcd", "", "abcde"],
    ],
)
def test_what_a_growing_stream_takes_back_is_no_news(said: list[str]) -> None:
    pieces = [raw("ndjson", json.dumps({"t": text}, ensure_ascii=False).encode()) for text in said]
    rules = GROWING.format(framing="ndjson")
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


ODD = [
    [b'{"t":"\\/"}'], [b'{"t":"\\u0041"}'], [b'{"t":""}'], [b'{"t":"\xff"}'], [b'{"t":"\x1f"}'],
    [b'{"t":"\x7f"}'], [b'{"t":"\\ud83d"}', b'{"t":"x"}', b'{"t":"\\ude00"}'],
    [b'{"t":"\\ud83d"}', b'{"t":"\\ude00"}'], [b'{"t":"x","last":true}', b'{"t":"y"}'],
    [b'{"t":"x"', b"}"], [b"", b'{"t":"x"}'], [b'{"t":"x","bad":true}'],
]  # fmt: skip


@pytest.mark.parametrize("framing", ENDS)
@pytest.mark.parametrize("odd", ODD)
def test_what_does_not_fit_is_read(framing: str, odd: list[bytes]) -> None:
    plain = [b'{"t":"a"}', b'{"t":"b"}', b'{"t":"c"}']
    pieces = [raw(framing, frame) for frame in [*plain, *odd, *plain]]
    rules = MAPPED.format(framing=framing)
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


@pytest.mark.parametrize("text", [":", "t", ",", "}", '":"'])
@pytest.mark.parametrize("rules", [MAPPED, GROWING])
def test_a_text_that_looks_like_its_frame(rules: str, text: str) -> None:
    pieces = [
        raw("ndjson", json.dumps({"t": text * n}, separators=(",", ":")).encode()) for n in (1, 1, 2, 3)
    ]
    settled = rules.format(framing="ndjson")
    assert outcome(settled, pieces, fast=True) == outcome(settled, pieces, fast=False)


@pytest.mark.parametrize("framing", ENDS)
def test_a_whole_frame_behind_half_of_one_is_read(framing: str) -> None:
    frames = [raw(framing, f'{{"t":"word {n}"}}'.encode()) for n in range(6)]
    pieces = [*frames[:3], frames[3].rstrip(b"\n\0"), *frames[4:]]
    rules = MAPPED.format(framing=framing)
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


def test_counts_of_the_newest_frame_hold() -> None:
    pieces = [raw("sse", f'{{"t":"{n}","n":{count}}}'.encode()) for n, count in enumerate([2, 2, 2, 5, 2, 2])]
    rules = MAPPED.format(framing="sse")
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


@pytest.mark.parametrize("at", range(1, 40))
def test_a_frame_that_is_cut_is_read(at: int) -> None:
    frames = [raw("sse", f'{{"t":"word {n}","id":7}}'.encode()) for n in range(6)]
    pieces = [*frames[:3], frames[3][:at], frames[3][at:] + frames[4][:at], frames[4][at:], frames[5]]
    rules = MAPPED.format(framing="sse")
    assert outcome(rules, pieces, fast=True) == outcome(rules, frames, fast=False)


def chunk(text: str, **more: Any) -> bytes:
    delta = {"content": text, **more.pop("delta", {})}
    choice = {"index": 0, "delta": delta, "finish_reason": None, **more.pop("choice", {})}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    return (
        b"data: "
        + json.dumps({**head, "choices": [choice], **more}, separators=(",", ":")).encode()
        + b"\n\n"
    )


mores: list[dict[str, Any]] = [
    {}, {}, {}, {"choice": {"finish_reason": "stop"}}, {"choice": {"index": 1}}, {"usage": None}, {"x": 1},
    {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, {"delta": {"role": "assistant"}}, {"model": "n"},
    {"delta": {"tool_calls": []}}, {"error": None}, {"delta": {"reasoning_content": "hm"}},
]  # fmt: skip
chunks = st.builds(lambda text, more: chunk(text, **more), texts, st.sampled_from(mores))
PLAIN = [chunk(text) for text in ("a", "b", "c", "d")]


@given(st.lists(st.sampled_from(PLAIN) | chunks, max_size=12), st.booleans(), st.booleans())
def test_any_chunks_of_openai_come_to_the_same(some: list[bytes], usage: bool, crlf: bool) -> None:
    told = [*PLAIN, *some, b"data: [DONE]\n\n"]
    pieces = [piece.replace(b"\n", b"\r\n") if crlf else piece for piece in told]
    options = {"stream_options": {"include_usage": True}} if usage else {}
    slow = outcome("", pieces, fast=False, **options)
    assert outcome("", pieces, fast=True, **options) == slow
    assert outcome("", [b"".join(pieces)], fast=True, **options) == slow


def test_a_choice_of_another_index_ends_there_too() -> None:
    other = [chunk(text, choice={"index": 1}) for text in ("a", "b", "c")]
    pieces = [*PLAIN[:1], *other, chunk("", choice={"index": 1, "finish_reason": "stop"}), *other, *PLAIN]
    assert outcome("", pieces, fast=True, n=2) == outcome("", pieces, fast=False, n=2)


@pytest.mark.parametrize("more", mores)
def test_a_chunk_that_does_more_is_read(more: dict[str, Any]) -> None:
    pieces = [*PLAIN, chunk("x", **more), *PLAIN, chunk("", choice={"finish_reason": "stop"}), *PLAIN]
    assert outcome("", pieces, fast=True) == outcome("", pieces, fast=False)


@pytest.mark.parametrize("framing", [*ENDS, "json", "websocket"])
@pytest.mark.parametrize("at_once", [False, True])
def test_frames_that_differ_in_their_text_alone_are_read_once(framing: str, at_once: bool) -> None:
    frames = [json.dumps({"t": f"word {n}", "id": 7}).encode() for n in range(50)]
    pieces = [encode_message(frame) if framing == "websocket" else raw(framing, frame) for frame in frames]
    assert frames_read(MAPPED.format(framing=framing), [b"".join(pieces)] if at_once else pieces) == 1


def test_so_are_chunks_of_openai() -> None:
    assert frames_read("", [chunk(f"word {n}") for n in range(50)]) == 2  # the role goes once


def test_so_are_events_with_equal_fields() -> None:
    events = [b'event: more\ndata: {"t":"word %d"}\n\n' % number for number in range(50)]
    rules = MAPPED.format(framing="sse")
    assert frames_read(rules, events) == 1
    assert frames_read(rules, [b"id: %d\n" % number + event for number, event in enumerate(events)]) == 50


def test_texts_that_are_cut_at_a_stop_string_match_too() -> None:
    pieces = [raw("ndjson", json.dumps({"t": f"w{n} "}).encode()) for n in range(50)]
    rules = "stream: {framing: ndjson, text: $.t}\nresponse: $.t\nrequest: {body: {p: $.prompt}}"
    cut = outcome(rules, pieces, fast=True, stop=["8 w"])
    assert cut == outcome(rules, pieces, fast=False, stop=["8 w"])
    assert cut == outcome(rules, pieces[:20], fast=True, stop=["8 w"])
    assert frames_read(rules, pieces, stop=["x"]) == 1


def test_a_stream_whose_frames_never_match_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(response_decoder, "make_template", lambda *frame: made.append(frame))
    frames_read(MAPPED.format(framing="ndjson"), [raw("ndjson", b'{"t":"a","at":%d}' % n) for n in range(50)])
    assert len(made) == 4


@pytest.mark.parametrize(
    "rule",
    [
        "done: {$.t: '[END]'}", "skip: {$.t: ''}", "only: {$.t: {exists: true}}", "finish_reason: $.t",
        "usage: {completion_tokens: $.t}", "reasoning: '$..t'", "text: {path: $.t, trim: true}",
        "text: [$.t, $.u]", "replace: $.r", "choices: '$.c[*]'",
    ],
)  # fmt: skip
def test_there_is_no_fast_lane_where_more_may_depend_on_the_text(rule: str) -> None:
    text = "" if rule.startswith("text:") else "text: $.t, "
    exchange = new_exchange(f"stream: {{framing: ndjson, {text}{rule}}}\nresponse: $.t", request(stream=True))
    assert exchange.route.response.fast_text_path is None


@pytest.mark.parametrize(
    "error", ["{when: {$.t: {matches: ^ERR}}}", "{when: {$: {exists: true}}, message: $.m}"]
)
def test_nor_where_the_text_may_be_an_error(error: str) -> None:
    exchange = new_exchange(
        f"stream: {{framing: ndjson, text: $.t}}\nresponse: $.t\nerror: {error}", request(stream=True)
    )
    assert exchange.route.response.fast_text_path is None


def test_a_frame_over_the_limit_is_an_error_there_too() -> None:
    rules = "stream: {framing: ndjson, text: $.t}\nresponse: $.t\nlimits: {frame: 64}"
    pieces = [raw("ndjson", json.dumps({"t": "a" * size}).encode()) for size in (3, 4, 5, 100, 3)]
    fast = outcome(rules, pieces, fast=True)
    assert fast == outcome(rules, pieces, fast=False)
    assert "limits.frame" in fast[1]


def test_an_answer_over_the_limit_is_cut_at_the_same_place() -> None:
    rules = "stream: {framing: ndjson, text: $.t}\nresponse: $.t\nlimits: {answer: 200}"
    pieces = [raw("ndjson", json.dumps({"t": f"word {n}"}).encode()) for n in range(40)]
    fast = outcome(rules, pieces, fast=True)
    assert fast == outcome(rules, pieces, fast=False)
    assert "limits.answer" in fast[1]
