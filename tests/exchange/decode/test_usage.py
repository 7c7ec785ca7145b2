"""Token counts: sums of slots, lists of one, and the members of OpenAI's own usage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import bytewise, run_completion, run_failure, run_stream, sse

SUM = """\
response:
  text: $.text
  usage:
    prompt_tokens: {sum: [$.u.fresh, $.u.cached, $.u.written]}
    completion_tokens: $.u.out
    cached_tokens: $.u.cached
stream:
  text: $.text
  usage:
    prompt_tokens: {sum: [[$.u.fresh, $.start.fresh], [$.u.cached, $.start.cached]]}
    completion_tokens: $.u.out
"""
INCLUDE = {"stream_options": {"include_usage": True}}


def _usage(prompt: int, completion: int, total: int, **details: int) -> Any:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return counts | {name: {"cached_tokens": count} for name, count in details.items()}


@pytest.mark.parametrize(
    ("counts", "prompt"),
    [
        ({"fresh": 5, "cached": 1000}, 1005),
        ({"fresh": 5, "cached": 9, "written": 2}, 16),
        ({"cached": 7}, 7),
    ],
)
def test_a_sum_adds_the_counts_that_are_found(counts: dict[str, int], prompt: int) -> None:
    """A count that is absent adds nothing."""
    usage = run_completion(SUM, {"text": "x", "u": {**counts, "out": 2}}).usage
    assert usage == _usage(prompt, 2, prompt + 2, prompt_tokens_details=counts["cached"])


def test_a_sum_without_counts_is_no_count() -> None:
    """Other counts of the response are sent without the sum."""
    assert run_completion(SUM, {"text": "x", "u": {"out": 2}}).usage == _usage(0, 2, 2)


def test_a_sum_over_a_stream_adds_the_last_count_of_each_slot() -> None:
    """A later frame with a part of the counts does not lose the others."""
    events = sse(
        {"text": "", "start": {"fresh": 5, "cached": 1000}},
        {"text": "x"},
        {"text": "", "u": {"fresh": 10, "out": 3}},
    )
    for pieces in (events, bytewise(events)):
        assert run_stream(SUM, pieces, INCLUDE).usage == _usage(1010, 3, 1013)


@pytest.mark.parametrize("value", [[7], ["7"], 7, "7", [7.0]])
def test_a_list_of_one_is_its_element(value: Any) -> None:
    """A path with a wildcard finds lists."""
    rules = "response: {text: $.text, usage: {prompt_tokens: $.n}}"
    assert run_completion(rules, {"text": "x", "n": value}).usage == _usage(7, 0, 7)


@pytest.mark.parametrize("value", [[7, 8], [], [[]], {}, "x", None, True, -1])
def test_other_values_are_no_counts(value: Any) -> None:
    """A list of several elements has no one count."""
    rules = "response: {text: $.text, usage: {prompt_tokens: $.n, completion_tokens: $.m}}"
    assert run_completion(rules, {"text": "x", "n": value, "m": 1}).usage == _usage(0, 1, 1)


def test_single_values_in_lists_of_one() -> None:
    """An id, a finish reason and a status are single values too."""
    rules = (
        "response: {text: $.text, id: '$.x[*].id', finish_reason: '$.x[*].why'}\n"
        "error: {status: '$.x[*].code'}"
    )
    completion = run_completion(rules, {"text": "x", "x": [{"id": "i7", "why": "max_tokens"}]})
    assert (completion.id, completion.choice.finish_reason) == ("i7", "length")
    assert run_failure(rules, {"x": [{"code": 503}]}, status=400).status == 503


CHOICE: dict[str, Any] = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
END: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
SENT: dict[str, Any] = {
    "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.5, "prompt_cache_hit_tokens": 1,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 7},
}  # fmt: skip


@pytest.mark.parametrize(
    "chunks",
    [
        [{"choices": [CHOICE]}, {"choices": [END], "usage": SENT}],
        [{"choices": [CHOICE]}, {"choices": [END]}, {"choices": [], "usage": SENT}],
        [{"choices": [CHOICE], "usage": SENT | {"cost": 0.1}}, {"choices": [END], "usage": SENT}],
        [{"choices": [CHOICE]}, {"choices": [{**END, "usage": SENT}]}],
    ],
    ids=["beside the end", "own chunk", "in every chunk", "in the choice"],
)
def test_members_of_openai_usage_are_kept_in_streams(chunks: list[Any]) -> None:
    """A client that requests token counts gets all of the upstream's members, once."""
    events = sse(*chunks, "data: [DONE]\n\n")
    for pieces in (events, bytewise(events)):
        assert run_stream("", pieces, INCLUDE).usage == SENT


@pytest.mark.parametrize("place", ["chunk", "own chunk"])
def test_counts_that_the_client_did_not_request_are_not_sent(place: str) -> None:
    """Without `stream_options`, OpenAI's streams have no token counts."""
    chunks: list[Any] = [{"choices": [CHOICE]}, {"choices": [END]}]
    if place == "chunk":
        chunks[-1]["usage"] = SENT
    else:
        chunks.append({"choices": [], "usage": SENT})
    stream = run_stream("", sse(*chunks, "data: [DONE]\n\n"))
    assert (stream.choice.text, stream.usage) == ("x", None)
