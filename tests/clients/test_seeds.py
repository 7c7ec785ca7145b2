"""What the servers of the first users need, from the client's bytes to the server's and back."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from bridge.demo import serving
from tests.clients.bridge_process import running
from tests.clients.expected import ECHO
from tests.clients.replay_server import events, in_background, whole
from tests.clients.session_counter import NEVER, SLOWLY, Counting
from tests.recordings import read_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.bridge_process import Answer, Bridge
    from tests.clients.replay_server import Upstream

FILE = Path(__file__).with_name("seeds.yaml")
SAID = {"choices": [{"message": {"role": "assistant", "content": "Deep"}}]}


@pytest.fixture(scope="module")
def llmapi() -> Iterator[tuple[Counting, str]]:
    """The server of sessions, and its URL."""
    server = Counting()
    with in_background(serving(server.application())) as url:
        yield server, url


@pytest.fixture(scope="module")
def bridge(upstream: Upstream, llmapi: tuple[Counting, str]) -> Iterator[Bridge]:
    with running(FILE, variables={"UPSTREAM": upstream.url, "LLMAPI": llmapi[1]}) as bridge:
        yield bridge


def test_the_published_vector_of_renamed_keys(bridge: Bridge, upstream: Upstream) -> None:
    upstream.answer("/made/vector", whole(200, SAID))
    body = {"model": "vector", "messages": [{"role": "robot", "content": "hello"}], "temperature": 1}
    answer = bridge.send("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert text(answer) == "Deep"
    assert upstream.latest("/made/vector").body == (
        b'{"messages":[{"anyRoleKey":"robot","anyContentKey":"hello"}],"user":"userid","date":"2012"}'
    )


def test_settings_of_autodev_as_they_are_pasted(bridge: Bridge, upstream: Upstream) -> None:
    upstream.answer("/made/pasted", whole(200, SAID))
    assert text(bridge.ask("pasted")) == "Deep"
    asked = upstream.latest("/made/pasted")
    assert asked.doc == {
        "model": "gpt-4",
        "messages": [{"role": "user", "message": "hi"}],
        "user": "12345",
        "date": "2012",
    }
    names = ("customheader", "authorization", "x-number", "x-truth")
    assert [asked.headers[name] for name in names] == ["my-value", "Bearer sk-1", "7", "true"]


def test_a_path_with_a_space_behind_it(bridge: Bridge, upstream: Upstream) -> None:
    pieces = [{"choices": [{"delta": {"content": word}}]} for word in ("De", "ep")]
    upstream.answer("/made/pasted", *events(*pieces, "[DONE]"))
    assert streamed(bridge.ask("pasted", stream=True)) == "Deep"
    assert upstream.latest("/made/pasted").doc["stream"] is True


def test_a_server_that_wants_a_number_for_stream(bridge: Bridge, upstream: Upstream) -> None:
    upstream.answer("/made/number", *events({"choices": [{"delta": {"content": "Deep"}}]}, "[DONE]"))
    assert text(bridge.ask("number")) == "Deep"
    assert b'"stream":1' in upstream.latest("/made/number").body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "path", "better"),
    [
        ("documented", "$.choices[0].message.delta.content", "$.choices[0].delta.content"),
        ("documented-whole", "$.choices[0].message.delta.content", "$.choices[0].message.content"),
        ("moonshot", "$.choices[0].delta.content", "$.choices[0].message.content"),
        ("custom-strict", "$.data[0].output[0]", "$.data[0].output"),
    ],
)
def test_a_path_that_never_matches_is_told_with_one_that_would(
    bridge: Bridge, upstream: Upstream, model: str, path: str, better: str, *, stream: bool
) -> None:
    upstream.answer("/made/custom", whole(200, {"data": [{"output": "hello"}], "message": "ok"}))
    answer = bridge.ask(model, stream=stream)
    assert (answer.status, answer.error["code"]) == (502, "upstream_empty")
    matched, _, found = answer.error["message"].partition("; ")
    assert f"`{path}` matched no text" in matched
    assert better in found.removeprefix("text is at ").split(", ")


@pytest.mark.parametrize("stream", [False, True])
def test_one_body_of_json_where_a_stream_is_read(bridge: Bridge, *, stream: bool) -> None:
    answer = bridge.ask("moonshot-both", stream=stream)
    assert (streamed if stream else text)(answer) == f"{ECHO}Say this is a test"


@pytest.mark.parametrize("output", [["hello"], "hello"])
def test_the_request_of_litellm(bridge: Bridge, upstream: Upstream, output: object) -> None:
    upstream.answer("/made/custom", whole(200, {"data": [{"output": output}], "message": "ok"}))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert text(bridge.ask("custom", messages=messages, max_tokens=10, temperature=0.2)) == "hello"
    assert upstream.latest("/made/custom").body == (
        b'{"model":"meta-llama/Llama-2-13b-hf","params":{"prompt":["Be brief. hi"],'
        b'"max_tokens":10,"temperature":0.2,"top_p":null,"top_k":null}}'
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_under_200_says_what_the_server_said(
    bridge: Bridge, upstream: Upstream, demo: Bridge, *, stream: bool
) -> None:
    upstream.answer("/made/custom", whole(200, {"data": [], "message": "error: out of memory"}))
    for answer in (
        bridge.ask("custom", stream=stream),
        demo.ask("llama-2-13b", "please fail", stream=stream),
    ):
        assert answer.status == 502
        assert answer.error["message"] == "error: out of memory"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "message", "code"),
    [
        ("0/llmapi_ask_bad_session", 404, "Session invalid", "-4"),
        ("no-such-bot", 404, "Bot type invalid", "-5"),
        ("0/llmapi_b_fail_ask", 504, "Reply timeout", "-6"),
    ],
)
def test_codes_of_llmapi(
    recorded: Bridge, model: str, status: int, message: str, code: str, *, stream: bool
) -> None:
    answer = recorded.ask(model, stream=stream)
    assert answer.status == status
    assert (answer.error["message"], answer.error["code"]) == (message, code)


def test_its_records_are_what_the_codes_are_tried_on() -> None:
    names = ("llmapi_ask_bad_session", "llmapi_start_bad_bot", "llmapi_b_fail_ask")
    assert [json.loads(read_response(name).body)["code"] for name in names] == [-4, -5, -6]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "said", "status", "sessions"),
    [
        ("mock", "hi", 200, 1),
        ("chatgpt", "a sensitive word", 200, 1),
        ("mock", "please fail", 504, 1),
        ("nope", "hi", 404, 0),
    ],
)
def test_each_session_is_closed(
    bridge: Bridge,
    llmapi: tuple[Counting, str],
    model: str,
    said: str,
    status: int,
    sessions: int,
    *,
    stream: bool,
) -> None:
    server, _ = llmapi
    before = server.opened
    assert bridge.ask(model, said, stream=stream).status == status
    assert server.settled(before + sessions)


@pytest.mark.parametrize("stream", [False, True])
def test_each_of_several_answers_has_a_session(
    bridge: Bridge, llmapi: tuple[Counting, str], *, stream: bool
) -> None:
    server, _ = llmapi
    before = server.opened
    body = {"model": "mock", "prompt": ["hi", "please fail", "ho"], "n": 2, "stream": stream}
    answer = bridge.send("POST", "/v1/completions", json.dumps(body).encode())
    assert b"Reply timeout" in answer.body
    # All six calls begin at once; those that the failure ends still open their sessions, and close them.
    assert server.settled(before + 6)


@pytest.mark.parametrize("stream", [False, True])
def test_the_session_of_a_client_that_leaves_is_closed(
    bridge: Bridge, llmapi: tuple[Counting, str], *, stream: bool
) -> None:
    server, _ = llmapi
    before = server.opened
    server.asked.clear()
    connection = leaving(bridge, stream=stream)
    assert server.asked.wait(30)
    connection.close()
    assert server.settled(before + 1)


def test_sessions_are_closed_when_the_bridge_ends(tmp_path: Path, llmapi: tuple[Counting, str]) -> None:
    server, url = llmapi
    before = server.opened
    file = tmp_path / "routes.yaml"
    file.write_text("server: {drain: 100ms}\n" + FILE.read_text())
    server.asked.clear()
    with running(file, variables={"UPSTREAM": url, "LLMAPI": url}) as bridge:
        connection = leaving(bridge, stream=False)
        assert server.asked.wait(30)
    connection.close()
    assert server.settled(before + 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_session_that_opens_while_the_client_leaves_is_closed(*, stream: bool) -> None:
    server = Counting()
    with (
        in_background(serving(server.application())) as url,
        running(FILE, variables={"UPSTREAM": url, "LLMAPI": url}) as bridge,
    ):
        connection = leaving(bridge, SLOWLY, stream=stream)
        assert server.asked.wait(30)
        connection.close()
        assert bridge.ask("mock").status == 200  # by now the bridge has heard of it
        server.go.set()
        assert server.settled(2, patience=5)


def leaving(bridge: Bridge, system: str = "", *, stream: bool) -> HTTPConnection:
    """A client that asks for what never comes."""
    at = urlsplit(bridge.url)
    connection = HTTPConnection(str(at.hostname), at.port)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": NEVER}]
    body = {"model": "mock", "stream": stream, "messages": messages}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection


def text(answer: Answer) -> str:
    """The text of a whole answer."""
    assert answer.status == 200, answer
    (choice,) = answer.doc["choices"]
    assert choice["finish_reason"] == "stop"
    return str(choice["message"]["content"])


def streamed(answer: Answer) -> str:
    """The text of a stream."""
    assert answer.status == 200, answer
    *pieces, done = [event.removeprefix("data: ") for event in answer.body.decode().split("\n\n")[:-1]]
    assert done == "[DONE]"
    choices: list[dict[str, Any]] = [choice for piece in pieces for choice in json.loads(piece)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
