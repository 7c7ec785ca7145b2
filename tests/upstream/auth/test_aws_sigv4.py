"""AWS Signature Version 4, verified by a server that computes the signature of the received bytes.

The verification follows the AWS reference, "Create a signed AWS API request".
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from aiohttp import web

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.routes.rules.auth_rules import AWS
from tests.bridge_process import ROOT
from tests.raw_upstream import http_response, responder, run_upstream
from tests.upstream.auth.signed_requests import run_sender

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_aiohttp import AiohttpRawServer


KEYS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "AKIDOTHER": "other"}


def hashed(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical_path(raw: str) -> str:
    """Return the path with each segment percent-encoded again, as all services except S3 require."""
    return "/".join(quote(segment, safe="-_.~") for segment in raw.split("/"))


def verify_signature(method: str, target: str, headers: dict[str, str], body: bytes) -> str:
    """Return the access key of a correctly signed request, or the fault of the signature."""
    scheme, _, rest = headers["authorization"].partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    access_key, day, region, service, end = fields["Credential"].split("/")
    moment = headers["x-amz-date"]
    age = datetime.now(UTC) - datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if (scheme, end, moment[:8]) != ("AWS4-HMAC-SHA256", "aws4_request", day) or abs(age) > timedelta(
        hours=1
    ):
        return "malformed"
    names = fields["SignedHeaders"].split(";")
    required = (
        {"host"} | {name for name in headers if name.startswith("x-amz-")} | {"content-type"} & headers.keys()
    )
    if names != sorted(names) or set(names) != required:
        return f"signed are {names}"
    path, _, query = target.partition("?")
    canonical = "\n".join(
        [
            method,
            canonical_path(path),
            "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in query.split("&") if pair)),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = hashed(f"AWS4{KEYS[access_key]}".encode(), day)
    for part in (region, service, "aws4_request"):
        key = hashed(key, part)
    valid = hmac.compare_digest(hashed(key, text).hex(), fields["Signature"])
    return access_key if valid and (region, service) == ("eu-west-1", "bedrock") else "signed otherwise"


async def respond(request: web.BaseRequest) -> web.Response:
    headers = {name.lower(): value for name, value in request.headers.items()}
    fields = verify_signature(request.method, request.raw_path, headers, await request.content.read())
    seen = {"by": fields, "path": request.raw_path, "token": headers.get("x-amz-security-token")}
    return web.json_response(seen, status=200 if fields in KEYS else 403)


@pytest.fixture
async def server(aiohttp_raw_server: AiohttpRawServer) -> int:
    """Return the port of a server that responds with the access key of each request."""
    server = await aiohttp_raw_server(respond)
    assert server.port is not None
    return server.port


def route(port: int, path: str = "/model/{{ model }}/converse", host: str = "127.0.0.1", **more: Any) -> str:
    """Return a route with keys in the file, or with `keys`."""
    keys = more.pop("keys", {"access_key": "AKIDEXAMPLE", "secret_key": KEYS["AKIDEXAMPLE"]})
    auth = {"aws": {"service": "bedrock", "region": "eu-west-1", **keys}}
    return json.dumps(
        {"routes": [{"models": "m", "upstream": f"http://{host}:{port}", "path": path, "auth": auth, **more}]}
    )


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/model/{{ model }}/converse", "/model/anthropic.claude-3%3A0/converse"),
        ("/model/{{ model | path }}/converse", "/model/anthropic.claude-3:0/converse"),
        ("/a%20b/~x/%C3%BC/(1)*", "/a%20b/~x/%C3%BC/(1)*"),
        ("/", "/"),
        ("/q?b=2&a=%2F&a=1&flag", "/q?b=2&a=%2F&a=1&flag"),
    ],
)
@pytest.mark.parametrize("body", [b'{"a": 1}', b"", None, b"\xff" * 2**21])
async def test_the_signature_is_valid_for_the_sent_bytes(
    server: int, path: str, sent: str, body: bytes | None
) -> None:
    async with run_sender(route(server, path)) as sending:
        status, fields = await sending.send(body=body, model="anthropic.claude-3:0")
    assert (status, json.loads(fields)) == (200, {"by": "AKIDEXAMPLE", "path": sent, "token": None})


async def test_the_signature_is_valid_for_any_spelling_of_the_host(server: int) -> None:
    async with run_sender(route(server, host="LocalHost")) as sending:
        assert (await sending.send()).status == 200
    async with run_sender(route(server, headers={"host": "bedrock.example"})) as sending:
        assert (await sending.send()).status == 200


async def test_headers_and_query_of_the_route_are_signed(server: int) -> None:
    more: dict[str, Any] = {
        "headers": {"X-Amz-Model": "  two   words ", "X-Other": "1"},
        "query": {"z": "a b", "b": "{{ model }}"},
    }
    async with run_sender(route(server, **more)) as sending:
        status, fields = await sending.send(model="ü:1")
    assert (status, json.loads(fields)["path"].partition("?")[2]) == (200, "z=a%20b&b=%C3%BC%3A1")


async def test_temporary_keys_are_sent_with_their_session_token(server: int) -> None:
    keys = {"access_key": "AKIDOTHER", "secret_key": "other", "session_token": "for-a-time"}
    async with run_sender(route(server, keys=keys)) as sending:
        status, fields = await sending.send()
    assert (status, json.loads(fields)["by"], json.loads(fields)["token"]) == (200, "AKIDOTHER", "for-a-time")


async def test_a_wrong_secret_is_refused(server: int) -> None:
    async with run_sender(route(server, keys={"access_key": "AKIDOTHER", "secret_key": "wrong"})) as sending:
        assert (await sending.send()).status == 403


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Return an environment in which botocore finds no keys."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


async def test_keys_are_read_from_the_environment(server: int, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    environment.setenv("AWS_SECRET_ACCESS_KEY", KEYS["AKIDEXAMPLE"])
    async with run_sender(route(server, keys={})) as sending:
        assert (await sending.send()).status == 200


async def test_keys_are_read_from_a_credentials_file(
    server: int, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text(
        "[other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = other\n"
    )
    environment.setenv("AWS_PROFILE", "other")
    async with run_sender(route(server, keys={})) as sending:
        assert json.loads((await sending.send()).body)["by"] == "AKIDOTHER"


@pytest.mark.parametrize("content", ["", "[default\naws_access_key"])
async def test_missing_keys_are_an_error(
    server: int, environment: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    (tmp_path / "credentials").write_text(content)
    async with run_sender(route(server, keys={})) as sending:
        with pytest.raises(UpstreamError, match="AWS keys are missing: ") as raised:
            await sending.send()
    assert (raised.value.kind, raised.value.status) == (UpstreamFailure.TOKEN, 502)


def role(name: str, secret: str, minutes: float) -> bytes:
    """Return the response of a server of role credentials."""
    ends = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return http_response({"AccessKeyId": name, "SecretAccessKey": secret, "Token": "t", "Expiration": ends})


async def test_keys_of_a_role_are_fetched(server: int, environment: pytest.MonkeyPatch) -> None:
    # botocore renews keys that expire within ten minutes before their use.
    first, second = role("AKIDEXAMPLE", KEYS["AKIDEXAMPLE"], 60), role("AKIDOTHER", "other", 60)
    soon = role("AKIDEXAMPLE", KEYS["AKIDEXAMPLE"], 5)
    for responses, request_count, access_key in [
        ((first,), 1, "AKIDEXAMPLE"),
        ((soon, second), 2, "AKIDOTHER"),
    ]:
        async with run_upstream(responder(*responses)) as role_server:
            environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{role_server.url}/keys")
            async with run_sender(route(server, keys={})) as sending:
                for _ in range(3):
                    fields = json.loads((await sending.send()).body)
                    assert (fields["by"], fields["token"]) == (access_key, "t")
            assert len(role_server.requests) == request_count


async def test_expired_keys_are_renewed_outside_of_the_event_loop(
    server: int, environment: pytest.MonkeyPatch
) -> None:
    responses = role("AKIDEXAMPLE", KEYS["AKIDEXAMPLE"], 60), role("AKIDOTHER", "other", 60)
    async with run_upstream(responder(*responses)) as role_server:
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role_server.url)
        async with run_sender(route(server, keys={})) as sending:
            assert json.loads((await sending.send()).body)["by"] == "AKIDEXAMPLE"
            signer: Any = sending.credentials._signers[AWS]
            [source] = signer._sources.values()
            source.credentials._expiry_time = datetime.now(UTC)  # an hour later
            # The server of the role runs on this loop, and could not respond if botocore blocked the loop.
            both = await asyncio.gather(sending.send(), sending.send())
            assert {json.loads(response.body)["by"] for response in both} == {"AKIDOTHER"}
        assert len(role_server.requests) == 2


async def test_concurrent_requests_fetch_keys_once(server: int, environment: pytest.MonkeyPatch) -> None:
    async with run_upstream(responder(role("AKIDOTHER", "other", 60))) as role_server:
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role_server.url)
        async with run_sender(route(server, keys={})) as sending:
            responses = await asyncio.gather(*(sending.send() for _ in range(20)))
        assert {response.status for response in responses} == {200}
        assert len(role_server.requests) == 1


def test_without_botocore_the_problem_names_the_package() -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'botocore' else find(name, *more)\n"
        "from tests.running_bridge import load_table\n"
        f"try: load_table({route(9)!r}, {{}})\n"
        "except Exception as error: print(type(error).__name__, error, file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "ConfigError" in process.stderr
    assert "pip install botocore" in process.stderr
    assert "AKIDEXAMPLE" not in process.stderr
