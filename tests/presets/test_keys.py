"""Credentials of presets: fetched and signed tokens, and signed requests."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64decode, b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt
from openai import AsyncOpenAI

from tests.case_files import read_case
from tests.presets.preset_bridge import load_with_presets
from tests.raw_upstream import Request, http_response, run_upstream
from tests.running_bridge import serve_table
from tests.upstream.raw_websocket import handshake_response, read_frame, websocket_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.raw_upstream import Connection

SECRET = "a-secret-of-thirty-two-characters"
HI: Any = [{"role": "user", "content": "hi"}]
TEXT = "Deep teal, mostly."


async def test_baidu_is_authenticated_by_a_fetched_token() -> None:
    token = {"access_token": "24.token", "expires_in": 2_592_000, "scope": "public"}

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            is_token_request = request.path.startswith("/oauth/")
            await peer.send(
                http_response(token if is_token_request else read_case("baidu_ernie", "whole").data)
            )

    auth = "{oauth2: {client_id: an-id, client_secret: a-secret, token_url: '%s/oauth/2.0/token'}}"
    async with preset_client(behave, "baidu-ernie", auth) as (client, requests):
        for _ in range(2):
            completion = await client.chat.completions.create(model="m", messages=HI)
            assert completion.choices[0].message.content == TEXT
    fetched, *chats = requests
    assert parse_qs(urlsplit(fetched.path).query) == {
        "grant_type": ["client_credentials"],
        "client_id": ["an-id"],
        "client_secret": ["a-secret"],
    }
    base = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/m"
    assert [request.path for request in chats] == [f"{base}?access_token=24.token"] * 2


async def test_zhipu_is_authenticated_by_a_signed_token() -> None:
    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(http_response(read_case("zhipu_v3_sse", "whole").data))

    async with preset_client(behave, "zhipu-v3", f"{{jwt: {{key: an-id.{SECRET}}}}}") as (client, requests):
        await client.chat.completions.create(model="m", messages=HI)
    (request,) = requests
    token = request.headers["authorization"]
    head = jwt.get_unverified_header(token)
    assert {name: head[name] for name in ("alg", "sign_type")} == {"alg": "HS256", "sign_type": "SIGN"}
    # The times are in milliseconds, which verifiers of the standard refuse.
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options=options)  # type: ignore[arg-type]
    assert claims.keys() == {"api_key", "exp", "timestamp"}
    assert claims["api_key"] == "an-id"
    now = time.time() * 1000
    assert now - 60_000 < claims["timestamp"] <= now < claims["exp"]


async def test_spark_is_authenticated_by_a_signed_url() -> None:
    frames: list[tuple[int, bytes]] = []

    async def behave(peer: Connection) -> None:
        request = await peer.request()
        assert request is not None
        await peer.send(handshake_response(request))
        frames.append(await read_frame(peer))
        await peer.send(websocket_frame(read_case("iflytek_spark_ws", "one_message").data[4:]))
        await peer.wait_closed()

    auth = "{hmac: {key: a-key, secret: a-secret}}, request: {body: {header: {app_id: an-app}}}"
    async with preset_client(behave, "iflytek-spark", auth) as (client, requests):
        completion = await client.chat.completions.create(model="4.0Ultra", messages=HI)
        assert completion.choices[0].message.content == TEXT
    (request,) = requests
    path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
    assert path == "/v4.0/chat"
    (host,), (date,), (authorization,) = query["host"], query["date"], query["authorization"]
    assert host == request.headers["host"]
    text = f"host: {host}\ndate: {date}\nGET {path} HTTP/1.1"
    signature = b64encode(hmac.digest(b"a-secret", text.encode(), "sha256")).decode()
    parts = dict(part.strip().split("=", 1) for part in b64decode(authorization).decode().split(","))
    assert parts == {
        "api_key": '"a-key"',
        "algorithm": '"hmac-sha256"',
        "headers": '"host date request-line"',
        "signature": f'"{signature}"',
    }
    ((_, message),) = frames
    assert json.loads(message)["header"] == {"app_id": "an-app"}
    assert json.loads(message)["parameter"]["chat"]["domain"] == "4.0Ultra"


async def test_bedrock_is_authenticated_by_an_aws_signature() -> None:
    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(http_response(read_case("bedrock_converse", "whole").data))

    auth = "{aws: {region: eu-west-1, access_key: AKIDEXAMPLE, secret_key: a-secret}}"
    async with preset_client(behave, "bedrock", auth) as (client, requests):
        await client.chat.completions.create(model="demo.model-v1:0", messages=HI)
    (request,) = requests
    assert request.path == "/model/demo.model-v1%3A0/converse"
    authorization = request.headers["authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request, " in authorization


@asynccontextmanager
async def preset_client(
    behave: object, preset: str, auth: str
) -> AsyncIterator[tuple[AsyncOpenAI, list[Request]]]:
    """Yield a client of a bridge with one route, and the list of upstream requests."""
    async with run_upstream(behave) as server:  # type: ignore[arg-type]
        base = server.url.replace("http", "ws") if preset == "iflytek-spark" else server.url
        route = (
            f"{{preset: {preset}, models: '*', upstream: '{base}', auth: {auth.replace('%s', server.url)}}}"
        )
        async with (
            serve_table(load_with_presets(f"routes: [{route}]")) as bridge,
            AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0, timeout=30) as client,
        ):
            yield client, server.requests
