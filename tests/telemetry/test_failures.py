"""Failures in the log: what failed, where and why, without content of requests and responses."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge, run_bridge_from_file
from tests.telemetry.captured_log import captured_log
from tests.upstream.certificates import server_context, write_certificate
from tests.upstream.formats import completion, event, frame, stream_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ON_BOTH_LOOPS = True

SECRET = "the-words-of-a-conversation"
KEY = "sk-the-key-of-the-bridge"
ROUTES = f"""
routes:
  - name: r
    models: "m*"
    upstream: "${{UPSTREAM}}/path-of-the-api?x={KEY}"
    auth: {{bearer: {KEY}}}
"""


async def failure(response: bytes, *, stream: bool = False) -> tuple[dict[str, Any], str]:
    """Return the log line of a request, and the host of the upstream."""
    body = {"model": "my-model", "messages": [{"role": "user", "content": SECRET}], "stream": stream}
    with captured_log() as log:
        async with (
            run_upstream(responder(response)) as server,
            run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
        ):
            await bridge.request(body)
        (line,) = log.of("request")
        assert SECRET not in log.text
        assert KEY not in log.text
    return line, server.url.removeprefix("http://")


FAILURES = [
    (
        http_response(SECRET.encode(), content_type="text/plain"),
        "the upstream responded 200 with text/plain that is not JSON",
    ),
    (
        http_response({"error": {"message": SECRET}}, 503),
        "the upstream responded 503 with an error",
    ),
    (
        http_response({"answer": SECRET}),
        (
            "`$item.message.content or $item.text` matched no text in the upstream's response; "
            "text is at $.answer"
        ),
    ),
    (
        stream_response(event({"error": {"message": SECRET}})),
        "the upstream responded 200 with an error",
    ),
    (
        stream_response(frame(SECRET), b"data: " + SECRET.encode() + b"\n\n"),
        "the upstream sent a frame that is not JSON",
    ),
    (
        http_response({"error": f"Incorrect API key provided: {KEY}"}, 401),
        "the upstream refused the bridge's credentials (401): Incorrect API key provided: ***",
    ),
]


@pytest.mark.parametrize(("response", "reason"), FAILURES)
async def test_a_failure_is_a_warning_with_its_reason(response: bytes, reason: str) -> None:
    line, host = await failure(response, stream=b"event-stream" in response)
    assert line["level"] == "warning"
    assert line["reason"] == reason
    assert (line["upstream"], line["model"], line["route"]) == (host, "m*", "r")


async def test_an_upstream_that_cannot_be_reached_is_named() -> None:
    with captured_log() as log:
        async with run_bridge(ROUTES, {"UPSTREAM": "http://user:pass@127.0.0.1:1"}) as bridge:
            assert (await bridge.request(HELLO)).status == 502
        (line,) = log.of("request")
        assert "pass" not in log.text.replace("passthrough", "")
    assert (line["upstream"], line["error"]) == ("127.0.0.1:1", "connect")
    assert line["reason"].startswith("no connection to the upstream 127.0.0.1:1: ")


async def test_an_error_of_the_client_is_no_warning() -> None:
    line, _ = await failure(http_response({"error": {"message": SECRET}}, 400))
    assert (line["level"], line["status"]) == ("info", 400)
    assert line["reason"] == "the upstream responded 400 with an error"


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("/v1/chat/completions/", " to /v1/chat/completions/: use that URL as `upstream`"),
        ("https://user:pass@h.example/x?key=1#y", " to https://h.example/x: use that URL as `upstream`"),
        ("", ", without a location"),
        ("/\x7f\x01", ", without a location"),
        ("/" + "x" * 3000, " to /" + "x" * 198 + "…: use that URL as `upstream`"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html><h1>Moved</h1></html>"])
async def test_a_redirect_names_its_location(location: str, named: str, body: bytes) -> None:
    response = http_response(body, 307, **({"location": location} if location else {}))
    async with (
        run_upstream(responder(response)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(HELLO)
    assert answer.status == 502
    assert answer.error()["message"] == f"the upstream redirects (307){named}"


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("7", "7"),
        (" 120 ", "120"),
        ("Fri, 31 Dec 2027 23:59:59 GMT", "Fri, 31 Dec 2027 23:59:59 GMT"),
        ("Fri, 31 Dec 2027 23:59:59 +0200", "Fri, 31 Dec 2027 21:59:59 GMT"),
        ("7 X-Evil: 1", None),
        ("-1", None),
        ("soon", None),
        ("9" * 60_000, None),
        ("Fri, 99 Dec 99999 99:99:99 GMT", None),
        ("1\x01", None),
    ],
)
async def test_only_a_valid_retry_after_is_passed_on(sent: str, received: str | None) -> None:
    response = http_response({"error": {"message": "busy"}}, 429, retry_after=sent)
    async with (
        run_upstream(responder(response)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(HELLO)
    assert (answer.status, answer.headers.get("retry-after")) == (429, received)


def refuse_client(listening: socket.socket, context: ssl.SSLContext) -> None:
    """Accept a connection, and send a TLS alert. asyncio's servers send none."""
    connection, _ = listening.accept()
    with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secure:
        with suppress(OSError):
            secure.do_handshake()
            secure.recv(1)  # with TLS 1.3, the certificate is missing only after the handshake
        with suppress(OSError):  # a close before the request is read would reset the connection
            while socket.socket.recv(secure, 65536):
                pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_requires_a_certificate_is_named(version: ssl.TLSVersion, tmp_path: Path) -> None:
    write_certificate(tmp_path, "server")
    context = server_context(tmp_path, "server", mutual=True)
    context.minimum_version = context.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.ensure_future(asyncio.to_thread(refuse_client, listening, context))
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        text = f"routes: [{{models: m, upstream: {{url: '{url}', tls: {{ca: server.pem}}}}}}]"
        async with run_bridge_from_file(tmp_path, text, {}) as bridge:
            answer = await bridge.request(HELLO)
        await serving
    assert answer.status == 502
    message = answer.error()["message"].lower()
    assert "certificate required" in message or "handshake failure" in message, message


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Leave no descriptor for further files and connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_lack_of_descriptors_is_not_blamed_on_the_upstream() -> None:
    with captured_log() as log:
        async with (
            run_upstream(responder(http_response(completion("hello")))) as server,
            run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
            bridge.connect() as client,
        ):
            await client.send(method="GET", path="/v1/models")  # the connection of the client exists already
            assert (await client.response()).status == 200
            with few_descriptors():
                await client.send(HELLO)
                answer = await client.response()
            assert (answer.status, answer.error()["code"]) == (503, "no_descriptor_left")
            await client.send(HELLO)
            assert (await client.response()).status == 200
            assert await bridge.count("bridge_upstream_errors_total") == 0
        (line,) = log.of("no descriptor left: raise the limit of open files (ulimit -n)")
    assert line["level"] == "error"
