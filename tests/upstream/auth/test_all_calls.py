"""Computed credentials: sent with every call of a route, and never shown."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bridge_process import ROOT
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.auth.signed_requests import token_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ROUTES = """
routes:
  - models: m
    upstream: {url: "${UPSTREAM}", replicas: ["${UPSTREAM}"], retry: {attempts: 3, backoff: 1ms}}
    path: /ask
    auth: {oauth2: {token_url: "${TOKENS}/token", client_id: me, client_secret: "${SECRET}"}}
    session:
      open: {path: /open, body: {}, id: $.id}
      close: {path: /close, body: {id: $.session}}
    request: {body: {id: $.session, text: $.last}}
    response: $.text
"""


async def test_every_call_of_a_route_is_signed() -> None:
    respond = responder(http_response({"id": "s1", "text": "hello"}))
    async with run_upstream(token_server()) as tokens, run_upstream(respond) as server:
        async with run_bridge(
            ROUTES, {"TOKENS": tokens.url, "UPSTREAM": server.url, "SECRET": "s3cret"}
        ) as bridge:
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        await server.wait_until(lambda state: len(state.requests) == 3)
    assert [request.path for request in server.requests] == ["/open", "/ask", "/close"]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer t1"}
    assert len(tokens.requests) == 1


async def test_a_failed_token_request_is_an_upstream_error(capfd: pytest.CaptureFixture[str]) -> None:
    refusal = http_response({"error": "invalid_client", "error_description": "s3cret is wrong"}, 401)
    async with (
        run_upstream(responder(refusal)) as tokens,
        run_upstream(responder(http_response({}))) as server,
    ):
        variables = {"TOKENS": tokens.url, "UPSTREAM": server.url, "SECRET": "s3cret"}
        async with run_bridge(ROUTES, variables) as bridge:
            response = await bridge.request(HELLO)
            await bridge.wait_for_count(1, "bridge_upstream_errors_total", kind="token", route="m")
            metrics = (await bridge.get_admin("/metrics")).body
    address = tokens.url.removeprefix("http://")
    error = response.error()
    assert (response.status, error["code"]) == (502, "upstream_token")
    assert error["message"] == f"{address} rejected the token request: invalid_client: *** is wrong"
    assert (len(tokens.requests), server.requests) == (1, [])  # another replica requires the same token
    assert b"s3cret" not in metrics
    assert "s3cret" not in "".join(capfd.readouterr())


def explain(tmp_path: Path, auth: str) -> str:
    file = tmp_path / "routes.yaml"
    file.write_text(f"routes: [{{models: m, upstream: 'http://127.0.0.1:9/x', auth: {auth}}}]")
    command = [sys.executable, "bridge.py", "explain", str(file), "--model", "m"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert "s3cret" not in process.stdout
    return process.stdout


def test_explain_shows_the_place_of_a_computed_credential(tmp_path: Path) -> None:
    oauth2 = "token_url: 'http://127.0.0.1:9/t', client_id: me, client_secret: s3cret"
    assert "Authorization: Bearer ***  (made when the request is sent)" in explain(
        tmp_path, f"{{oauth2: {{{oauth2}}}}}"
    )
    assert "?access_token=***" in explain(tmp_path, f"{{oauth2: {{{oauth2}, query: access_token}}}}")
    assert "Authorization: ***" in explain(tmp_path, "{jwt: {key: s3cret, prefix: ''}}")
    signed = (
        "hmac: {secret: s3cret, text: x, headers: {X-Mac: '{{ signature }}'}, query: {s: '{{ signature }}'}}"
    )
    assert "?s=***" in explain(tmp_path, f"{{{signed}}}")
    assert "X-Mac: ***" in explain(tmp_path, f"{{{signed}}}")
    aws = "aws: {service: bedrock, region: eu-west-1, access_key: AKID, secret_key: s3cret}"
    assert "Authorization: AWS4-HMAC-SHA256 ***" in explain(tmp_path, f"{{{aws}}}")
