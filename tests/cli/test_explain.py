"""The command explain: the upstream request, the completion of a response, and masked secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import KEY, ROUTES, Run, run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run"]


def test_explain_shows_the_request_with_masked_secrets(run: Run) -> None:
    result = run("explain", "routes.yaml", "--model", "glob-7")
    assert (result.code, result.errors) == (0, "")
    for line in ("route    own (by `glob-*`)", "POST http://127.0.0.1:1/api?key=***",
                 "Authorization: Bearer ***",
                 "X-Api-Version: 2", "X-Custom: Custom ***", '"model": "sent-glob-7"', '"secret": "***"',
                 "$.text", "$.count", "drops    nothing"):  # fmt: skip
        assert line in result.out, result.out
    assert KEY not in result.out


def test_explain_lists_dropped_parameters(run: Run) -> None:
    body = {
        "model": "whatever",
        "messages": [{"role": "user", "content": "hey"}],
        "temperature": 0.5,
        "top_p": 0.9,
    }
    result = run("explain", "routes.yaml", "-", "--model", "m", data=json.dumps(body).encode())
    assert result.code == 0
    assert '"say": "hey"' in result.out
    assert '"t": 0.5' in result.out
    assert "drops    top_p" in result.out


@pytest.mark.parametrize("order", ["before", "after"])
def test_explain_reads_a_request_from_a_file(order: str, run: Run, tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "from a file"}], "stream": True}
    (tmp_path / "request.json").write_text(json.dumps(body))
    model = ("--model", "m")
    rest = ("request.json", *model) if order == "before" else (*model, "request.json")
    result = run("explain", "routes.yaml", *rest)
    assert result.code == 0
    assert "from a file" in result.out
    assert "a stream, sse" in result.out
    assert "$.delta" in result.out


def test_explain_accepts_the_completions_endpoint(run: Run) -> None:
    result = run("explain", "routes.yaml", "--model", "m", "--endpoint", "completions")
    assert result.code == 0
    assert '"say": "Hello!"' in result.out
    data = b'{"prompt": ["one", "two"]}'
    result = run("explain", "routes.yaml", "--model", "m", "--endpoint", "completions", "-", data=data)
    assert "call 2" in result.out
    assert '"say": "two"' in result.out


@pytest.mark.parametrize(
    ("body", "received", "shown"),
    [
        ({}, b'{"text": "what came", "count": 7}', '"content": "what came"'),
        ({}, b'{"texts": 1}', "502"),
        ({}, b"<html>", "502"),
        ({"stream": True}, b'data: {"delta": "what came"}\n\n', '"content":"what came"'),
        ({"stream": True}, b"data: {}\n\n", "502"),
    ],
)
def test_explain_shows_the_result_of_a_response(
    body: dict[str, Any], received: bytes, shown: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "received").write_bytes(received)
    data = json.dumps({"messages": [{"role": "user", "content": "a"}], **body}).encode()
    result = run("explain", "routes.yaml", "-", "--model", "m", "--receives", "received", data=data)
    assert result.code == 0
    assert shown in result.out.partition("answers")[2], result.out


@pytest.mark.parametrize(
    ("arguments", "data", "shown"),
    [
        (("--model", "nowhere"), b"", "refused with 404"),
        (("-", "--model", "m"), b'{"messages": "a"}', "refused with 400"),
        (("-", "--model", "m"), b"[]", "refused with 400"),
        (("--model", "other", "--endpoint", "completions"), b"", "refused with 404"),
    ],
)
def test_explain_shows_a_refusal(arguments: tuple[str, ...], data: bytes, shown: str, run: Run) -> None:
    result = run("explain", "routes.yaml", *arguments, data=data)
    assert result.code == 1
    assert shown in result.out
    assert '"error": {' in result.out


@pytest.mark.parametrize("arguments", [("-", "--model", "m"), ("none.json", "--model", "m"),
                                       ("--model", "m", "--receives", "none.json")])  # fmt: skip
def test_explain_reports_an_unreadable_file(arguments: tuple[str, ...], run: Run) -> None:
    result = run("explain", "routes.yaml", *arguments, data=b"{no json")
    assert result.code == 1
    assert "Traceback" not in result.out + result.errors
    assert result.errors.startswith("format-bridge: ")


def test_short_values_are_not_masked(run: Run) -> None:
    text = ROUTES.replace("two\n", "two\n    headers: {X-Tenant: '${TENANT:-t}'}\n")
    result = run("explain", "routes.yaml", "--model", "other", text=text)
    assert "POST http://127.0.0.1:2" in result.out


WEBSOCKET = """
routes:
  - models: m
    upstream: ws://127.0.0.1:1/chat
    request: {body: {say: $.last}}
    response: false
    stream: {framing: websocket, text: $.text, done: {$.end: true}}
"""


def test_explain_reads_websocket_messages_from_lines(run: Run, tmp_path: Path) -> None:
    (tmp_path / "socket.yaml").write_text(WEBSOCKET)
    (tmp_path / "said.ndjson").write_text('{"text":"hel"}\n{"text":"lo"}\n\n{"end":true}\n')
    result = run("explain", "socket.yaml", "--model", "m", "--receives", "said.ndjson")
    assert result.code == 0
    assert "a message to ws://127.0.0.1:1/chat" in result.out
    assert "a stream, websocket" in result.out
    assert '"content": "hello"' in result.out


@pytest.mark.parametrize(
    ("receives", "code"), [("[{text: hel}, {text: lo}, {end: true}]", 0), ("[{text: no}]", 1)]
)
def test_check_reads_websocket_messages_from_a_list(
    receives: str, code: int, run: Run, tmp_path: Path
) -> None:
    sample = f"    samples: [{{request: {{messages: []}}, receives: {receives}, answers: hello}}]\n"
    (tmp_path / "socket.yaml").write_text(WEBSOCKET + sample.replace("[]", "[{role: user, content: hi}]"))
    assert run("check", "socket.yaml").code == code


def test_an_invalid_request_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{no json")
    result = run("explain", "routes.yaml", "--model", "m", "request.json")
    assert (result.code, result.out) == (1, "")
    assert result.errors.startswith("format-bridge: request.json is not JSON: ")


RULES = """
routes:
  - models: m
    upstream: http://127.0.0.1:1/generate
    request: {body: {q: $.last}}
    response: {text: $.text, finish_reason: {path: $.why, map: {eos: stop}, when: {$.end: true}}}
    stream: {text: $.t, only: {event: message}, done: {$.end: true}, mode: cumulative}
    error: {when: {$.code: {not: 0}}, message: $.msg, status: {path: $.code, map: {7: 429}, default: 502}}
"""
TALK = (
    b"""{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}], "stop": "END"}"""
)


def test_explain_shows_maps_conditions_cuts_and_what_is_not_read(run: Run) -> None:
    result = run("explain", "routes.yaml", "-", "--model", "m", text=RULES, data=TALK)
    for line in ("finish_reason      $.why {map: {eos: stop}, when: {$.end: true}}",
                 "error              when {$.code: {not: 0}}, message $.msg, status $.code {map: {7: 429}, ",
                 'cuts     at "END"', "not read the system text, earlier turns"):  # fmt: skip
        assert line in result.out, result.out


def test_explain_shows_the_rules_of_a_stream(run: Run) -> None:
    result = run("explain", "routes.yaml", "--model", "m", "--stream", text=RULES)
    for line in ("only               {event: message}", "done               {$.end: true}", "mode"):
        assert line in result.out, result.out


def test_explain_shows_the_response_to_a_status(run: Run) -> None:
    result = run("explain", "routes.yaml", "--model", "m", "--status", "503", text=RULES)
    assert "answers  503" in result.out
    assert run("explain", "routes.yaml", "--model", "m", "--status", "5", text=RULES).code == 2


def test_explain_prints_a_command_of_curl(run: Run) -> None:
    result = run("explain", "routes.yaml", "--model", "m", "--curl")
    assert result.out.startswith("curl -N -X POST 'http://127.0.0.1:1/api?key=***'")
    assert "-H 'Authorization: Bearer ***'" in result.out
    assert "-d '" in result.out
    assert KEY not in result.out
