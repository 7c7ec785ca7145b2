"""Frame templates: frames that match a template give the output of frames that are read by the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange.decode.frame_template import FrameTemplate
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.exchange.decode.stream_passthrough import ChunkPassthrough
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
    """Return the output, the error and the usage of a stream."""
    exchange = new_exchange(rules, request(stream=True, **members))
    [call] = exchange.calls
    exchange.start(call, 200, {})
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(FrameTemplate, "match", lambda template, frame: None)
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
    """Draw frames that mostly differ only in their text, after frames that make a template."""
    rest = draw(rests)
    odd = draw(st.lists(st.tuples(literals, st.just(rest) | st.just(rest) | rests), max_size=10))
    spoken = [(json.dumps(text), "") for text in ("a", "b")] + [(json.dumps("c"), rest)] * 2 + odd
    frames = [f'{{"t":{literal}{more}}}'.encode("utf-8", "replace") for literal, more in spoken]
    if draw(st.booleans()):
        frames.insert(draw(st.integers(4, len(frames))), draw(st.sampled_from(BROKEN)))
    return frames


BROKEN = [b'{"t":"\xff"}', b'{"t":"\xc3"}', b"", b"nonsense", b'{"t":"a"', b" ", b'{"t":"a"}{"t":"b"}']


CUMULATIVE = """
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
def cumulative_streams(draw: st.DrawFn) -> list[bytes]:
    """Draw frames that mostly extend the text before; some shorten, change or restart the text."""
    rest, text, frames = draw(rests), "", []
    for number in range(draw(st.integers(0, 14))):
        change = draw(st.sampled_from(["grow", "grow", "grow", "same", "shrink", "change", "restart"]))
        if number < 3 or change == "grow":
            text += draw(tails)
        elif change == "shrink":
            text = text[: draw(st.integers(0, len(text)))]
        elif change == "change":
            text = text[:-1] + draw(tails)
        elif change == "restart":
            text = draw(tails)
        more = rest if draw(st.integers(0, 5)) else draw(rests)
        literal = json.dumps(text, ensure_ascii=draw(st.integers(0, 4)) == 0)
        frames.append(f'{{"t":{literal}{more}}}'.encode("utf-8", "surrogatepass"))
    if draw(st.integers(0, 4)) == 0:
        frames.insert(draw(st.integers(0, len(frames))), draw(st.sampled_from(BROKEN)))
    return frames


@given(
    st.sampled_from(sorted(ENDS)),
    st.tuples(st.just(MAPPED), streams()) | st.tuples(st.just(CUMULATIVE), cumulative_streams()),
    st.data(),
)
def test_a_template_does_not_change_the_output_of_any_stream(
    framing: str, spoken: tuple[str, list[bytes]], data: st.DataObject
) -> None:
    rules, frames = spoken[0].format(framing=framing), spoken[1]
    complete = [raw(framing, frame) for frame in frames]
    body = b"".join(complete)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    slow = outcome(rules, complete, fast=False)
    assert outcome(rules, complete, fast=True) == slow
    assert outcome(rules, pieces, fast=True) == slow


@pytest.mark.parametrize("framing", ENDS)
def test_cumulative_frames_match_a_template(framing: str) -> None:
    text = [" ".join(f"word {n}" for n in range(count + 1)) for count in range(50)]
    pieces = [raw(framing, json.dumps({"t": text, "id": 7}).encode()) for text in text]
    assert frames_read(CUMULATIVE.format(framing=framing), pieces) == 1


@pytest.mark.parametrize(
    "text",
    [
        ["a", "ab", "abc", "abX", "abXYZ", "abcd", "abcde", "abXYZW"],  # the text changes
        ["a", "ab", "abc", "ab", "abc", "abcd"],
        ["a", "ab", "abc", "abc\ufffd", "abc\u00e9", "abc\u00e9d"],
        ["a", "ab", "abc", "abc", "abcd", "", "abcde"],
    ],
)
def test_a_template_does_not_change_a_cumulative_stream_that_shrinks(text: list[str]) -> None:
    pieces = [raw("ndjson", json.dumps({"t": text}, ensure_ascii=False).encode()) for text in text]
    rules = CUMULATIVE.format(framing="ndjson")
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


ODD = [
    [b'{"t":"\\/"}'], [b'{"t":"\\u0041"}'], [b'{"t":""}'], [b'{"t":"\xff"}'], [b'{"t":"\x1f"}'],
    [b'{"t":"\x7f"}'], [b'{"t":"\\ud83d"}', b'{"t":"x"}', b'{"t":"\\ude00"}'],
    [b'{"t":"\\ud83d"}', b'{"t":"\\ude00"}'], [b'{"t":"x","last":true}', b'{"t":"y"}'],
    [b'{"t":"x"', b"}"], [b"", b'{"t":"x"}'], [b'{"t":"x","bad":true}'],
]  # fmt: skip


@pytest.mark.parametrize("framing", ENDS)
@pytest.mark.parametrize("odd", ODD)
def test_frames_that_do_not_match_are_read(framing: str, odd: list[bytes]) -> None:
    plain = [b'{"t":"a"}', b'{"t":"b"}', b'{"t":"c"}']
    pieces = [raw(framing, frame) for frame in [*plain, *odd, *plain]]
    rules = MAPPED.format(framing=framing)
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


@pytest.mark.parametrize("text", [":", "t", ",", "}", '":"'])
@pytest.mark.parametrize("rules", [MAPPED, CUMULATIVE])
def test_a_text_that_resembles_its_frame_is_read(rules: str, text: str) -> None:
    pieces = [
        raw("ndjson", json.dumps({"t": text * n}, separators=(",", ":")).encode()) for n in (1, 1, 2, 3)
    ]
    formatted = rules.format(framing="ndjson")
    assert outcome(formatted, pieces, fast=True) == outcome(formatted, pieces, fast=False)


@pytest.mark.parametrize("framing", ENDS)
def test_a_frame_after_a_truncated_frame_is_read(framing: str) -> None:
    frames = [raw(framing, f'{{"t":"word {n}"}}'.encode()) for n in range(6)]
    pieces = [*frames[:3], frames[3].rstrip(b"\n\0"), *frames[4:]]
    rules = MAPPED.format(framing=framing)
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


def test_the_usage_of_the_latest_frame_is_kept() -> None:
    pieces = [raw("sse", f'{{"t":"{n}","n":{count}}}'.encode()) for n, count in enumerate([2, 2, 2, 5, 2, 2])]
    rules = MAPPED.format(framing="sse")
    assert outcome(rules, pieces, fast=True) == outcome(rules, pieces, fast=False)


@pytest.mark.parametrize("at", range(1, 40))
def test_a_split_frame_is_read(at: int) -> None:
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


extra_members: list[dict[str, Any]] = [
    {}, {}, {}, {"choice": {"finish_reason": "stop"}}, {"choice": {"index": 1}}, {"usage": None}, {"x": 1},
    {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, {"delta": {"role": "assistant"}}, {"model": "n"},
    {"delta": {"tool_calls": []}}, {"error": None}, {"delta": {"reasoning_content": "hm"}},
]  # fmt: skip
chunks = st.builds(lambda text, more: chunk(text, **more), texts, st.sampled_from(extra_members))
PLAIN = [chunk(text) for text in ("a", "b", "c", "d")]


@given(st.lists(st.sampled_from(PLAIN) | chunks, max_size=12), st.booleans(), st.booleans())
def test_a_template_does_not_change_the_output_of_any_chunks(
    frames: list[bytes], usage: bool, crlf: bool
) -> None:
    spoken = [*PLAIN, *frames, b"data: [DONE]\n\n"]
    pieces = [piece.replace(b"\n", b"\r\n") if crlf else piece for piece in spoken]
    options = {"stream_options": {"include_usage": True}} if usage else {}
    slow = outcome("", pieces, fast=False, **options)
    assert outcome("", pieces, fast=True, **options) == slow
    assert outcome("", [b"".join(pieces)], fast=True, **options) == slow


def test_a_choice_of_another_index_ends_at_its_finish_reason() -> None:
    other = [chunk(text, choice={"index": 1}) for text in ("a", "b", "c")]
    pieces = [*PLAIN[:1], *other, chunk("", choice={"index": 1, "finish_reason": "stop"}), *other, *PLAIN]
    assert outcome("", pieces, fast=True, n=2) == outcome("", pieces, fast=False, n=2)


@pytest.mark.parametrize("more", extra_members)
def test_a_chunk_with_other_members_is_read(more: dict[str, Any]) -> None:
    pieces = [*PLAIN, chunk("x", **more), *PLAIN, chunk("", choice={"finish_reason": "stop"}), *PLAIN]
    assert outcome("", pieces, fast=True) == outcome("", pieces, fast=False)


@pytest.mark.parametrize("framing", [*ENDS, "json", "websocket"])
@pytest.mark.parametrize("at_once", [False, True])
def test_frames_that_differ_in_their_text_alone_are_read_once(framing: str, at_once: bool) -> None:
    frames = [json.dumps({"t": f"word {n}", "id": 7}).encode() for n in range(50)]
    pieces = [encode_message(frame) if framing == "websocket" else raw(framing, frame) for frame in frames]
    assert frames_read(MAPPED.format(framing=framing), [b"".join(pieces)] if at_once else pieces) == 1


def test_chunks_that_differ_in_their_text_alone_are_read_twice() -> None:
    assert frames_read("", [chunk(f"word {n}") for n in range(50)]) == 2  # the first chunk has the role


def test_events_with_equal_fields_are_read_once() -> None:
    events = [b'event: more\ndata: {"t":"word %d"}\n\n' % number for number in range(50)]
    rules = MAPPED.format(framing="sse")
    assert frames_read(rules, events) == 1
    assert frames_read(rules, [b"id: %d\n" % number + event for number, event in enumerate(events)]) == 50


def test_frames_match_a_template_before_a_stop_string() -> None:
    pieces = [raw("ndjson", json.dumps({"t": f"w{n} "}).encode()) for n in range(50)]
    rules = "stream: {framing: ndjson, text: $.t}\nresponse: $.t\nrequest: {body: {p: $.prompt}}"
    cut = outcome(rules, pieces, fast=True, stop=["8 w"])
    assert cut == outcome(rules, pieces, fast=False, stop=["8 w"])
    assert cut == outcome(rules, pieces[:20], fast=True, stop=["8 w"])
    assert frames_read(rules, pieces, stop=["x"]) == 1


def test_templates_are_given_up_after_four_mismatches(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Any] = []
    real = FrameTemplate.learn

    def learn(template: FrameTemplate, frame: Any, doc: Any) -> None:
        learned.append(frame)
        real(template, frame, doc)

    monkeypatch.setattr(FrameTemplate, "learn", learn)
    frames_read(MAPPED.format(framing="ndjson"), [raw("ndjson", b'{"t":"a","at":%d}' % n) for n in range(50)])
    assert len(learned) == 4


@pytest.mark.parametrize(
    "rule",
    [
        "done: {$.t: '[END]'}", "skip: {$.t: ''}", "only: {$.t: {exists: true}}", "finish_reason: $.t",
        "usage: {completion_tokens: $.t}", "reasoning: '$..t'", "text: {path: $.t, trim: true}",
        "text: [$.t, $.u]", "replace: $.r", "choices: '$.c[*]'",
    ],
)  # fmt: skip
def test_there_is_no_template_if_other_rules_read_the_text(rule: str) -> None:
    text = "" if rule.startswith("text:") else "text: $.t, "
    exchange = new_exchange(f"stream: {{framing: ndjson, {text}{rule}}}\nresponse: $.t", request(stream=True))
    assert exchange.route.response.fast_text_path is None


@pytest.mark.parametrize(
    "error", ["{when: {$.t: {matches: ^ERR}}}", "{when: {$: {exists: true}}, message: $.m}"]
)
def test_there_is_no_template_if_the_text_may_be_an_error(error: str) -> None:
    exchange = new_exchange(
        f"stream: {{framing: ndjson, text: $.t}}\nresponse: $.t\nerror: {error}", request(stream=True)
    )
    assert exchange.route.response.fast_text_path is None


def test_the_frame_limit_applies_to_frames_that_match() -> None:
    rules = "stream: {framing: ndjson, text: $.t}\nresponse: $.t\nlimits: {frame: 64}"
    pieces = [raw("ndjson", json.dumps({"t": "a" * size}).encode()) for size in (3, 4, 5, 100, 3)]
    fast = outcome(rules, pieces, fast=True)
    assert fast == outcome(rules, pieces, fast=False)
    assert "limits.frame" in fast[1]


def test_the_response_limit_applies_to_frames_that_match() -> None:
    rules = "stream: {framing: ndjson, text: $.t}\nresponse: $.t\nlimits: {answer: 200}"
    pieces = [raw("ndjson", json.dumps({"t": f"word {n}"}).encode()) for n in range(40)]
    fast = outcome(rules, pieces, fast=True)
    assert fast == outcome(rules, pieces, fast=False)
    assert "limits.answer" in fast[1]
