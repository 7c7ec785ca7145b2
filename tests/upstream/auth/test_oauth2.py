"""OAuth 2 tokens: fetched once, sent, renewed and refused."""

from __future__ import annotations

import asyncio
import gc
import json
from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.routes.rules.auth_rules import OAuth2
from tests.raw_upstream import Connection, head, http_response, responder, run_upstream
from tests.running_bridge import load_table
from tests.upstream.auth.signed_requests import bearer_token, run_sender, token_response, token_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raw_upstream import UpstreamServer
    from tests.upstream.auth.signed_requests import SignedSender

SECRET = "s3cret/+ü&="


def route(**options: Any) -> str:
    oauth2 = {"token_url": "${TOKENS}/token", "client_id": "me", "client_secret": "${SECRET}", **options}
    return json.dumps(
        {"routes": [{"models": "m", "upstream": "${UPSTREAM}/answer?a=b", "auth": {"oauth2": oauth2}}]}
    )


def variables(token_server: str, server: str = "http://127.0.0.1:9") -> dict[str, str]:
    return {"TOKENS": token_server, "UPSTREAM": server, "SECRET": SECRET}


async def failure(sending: SignedSender) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await sending.send()
    assert raised.value.kind is UpstreamFailure.TOKEN
    assert SECRET not in raised.value.message
    return raised.value


async def test_concurrent_requests_fetch_one_token() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        responses = await asyncio.gather(*(sending.send() for _ in range(50)))
    assert [response.status for response in responses] == [200] * 50
    assert len(tokens.requests) == 1
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer t1"}
    assert {request.path for request in server.requests} == {"/answer?a=b"}


async def test_the_token_request_has_the_configured_parameters() -> None:
    options = {"scope": ["a", "b"], "audience": "https://models", "params": {"tenant": 7}}
    async with (
        run_upstream(token_server()) as tokens,
        run_sender(route(**options), variables(tokens.url)) as sending,
    ):
        await sending.sign()
    [request] = tokens.requests
    assert (request.method, request.path) == ("POST", "/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in request.headers
    # RFC 6749, sections 2.3.1 and 4.4.2.
    assert dict(parse_qsl(request.data.decode(), strict_parsing=True)) == {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_secret": SECRET,
        "scope": "a b",
        "audience": "https://models",
        "tenant": "7",
    }


async def test_client_credentials_may_be_sent_by_basic_auth() -> None:
    options = {"credentials": "basic", "client_id": "me:too"}
    async with (
        run_upstream(token_server()) as tokens,
        run_sender(route(**options), variables(tokens.url)) as sending,
    ):
        await sending.sign()
    [request] = tokens.requests
    scheme, _, pair = request.headers["authorization"].partition(" ")
    name, _, secret = b64decode(pair).decode().partition(":")
    assert (scheme, unquote_plus(name), unquote_plus(secret)) == ("Basic", "me:too", SECRET)
    assert request.data == b"grant_type=client_credentials"


async def test_client_credentials_and_token_may_be_sent_in_the_query() -> None:
    options = {"credentials": "query", "query": "access_token"}
    async with (
        run_upstream(token_server(expires_in=2592000)) as tokens,
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(**options), variables(tokens.url, server.url)) as sending,
    ):
        assert (await sending.send()).status == 200
    [token_request], [tokens_sent] = tokens.requests, server.requests
    assert (token_request.method, token_request.data, token_request.headers["content-length"]) == (
        "POST",
        b"",
        "0",
    )
    assert parse_qs(urlsplit(token_request.path).query, strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me"],
        "client_secret": [SECRET],
    }
    assert tokens_sent.path == "/answer?a=b&access_token=t1"
    assert "authorization" not in tokens_sent.headers


async def test_another_header_carries_the_bare_token() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_sender(route(header="X-Token"), variables(tokens.url)) as sending,
    ):
        signed = await sending.sign()
    assert signed.headers["X-Token"] == "t1"
    assert "Authorization" not in signed.headers


@pytest.mark.parametrize(
    ("lifetime", "valid", "renewed", "expired"),
    # A token is renewed when a tenth of its lifetime, at most a minute, is left, and used until its end.
    [(3600, 3539, 3541, 3601), ("100", 89, 91, 101), (None, 269, 271, 301), ("soon", 269, 271, 301)],
)
async def test_a_token_is_renewed_before_it_expires(
    lifetime: Any, valid: int, renewed: int, expired: int
) -> None:
    async with (
        run_upstream(token_server(expires_in=lifetime)) as tokens,
        run_sender(route(), variables(tokens.url)) as sending,
    ):
        start = sending.clock.now
        assert bearer_token(await sending.sign()) == "t1"
        sending.clock.now = start + valid
        assert bearer_token(await sending.sign()) == "t1"
        assert len(tokens.requests) == 1
        sending.clock.now = start + renewed
        assert bearer_token(await sending.sign()) == "t1"  # the renewal does not delay the request
        await tokens.wait_until(lambda server: len(server.requests) == 2)
        sending.clock.now = start + expired
        assert bearer_token(await sending.sign()) == "t2"
        assert len(tokens.requests) == 2


@pytest.mark.parametrize("lifetime", [0, -5, "0"])
async def test_an_expired_token_is_used_once(lifetime: Any) -> None:
    async with (
        run_upstream(token_server(expires_in=lifetime)) as tokens,
        run_sender(route(), variables(tokens.url)) as sending,
    ):
        assert [bearer_token(await sending.sign()) for _ in range(3)] == ["t1", "t2", "t3"]


async def test_a_failed_renewal_is_ignored_while_the_token_is_valid() -> None:
    responses = responder(
        token_response("t1"), http_response({"error": "temporarily_unavailable"}, 503), token_response("t2")
    )
    async with run_upstream(responses) as tokens, run_sender(route(), variables(tokens.url)) as sending:
        await sending.sign()
        sending.clock.now += 3541
        assert bearer_token(await sending.sign()) == "t1"
        call = next(iter(sending.credentials._tasks._tasks))
        await asyncio.wait([call])
        assert bearer_token(await sending.sign()) == "t1"
        assert not sending.credentials._tasks._tasks  # the renewal is not retried immediately
        assert len(tokens.requests) == 2
        sending.clock.now += 60
        assert bearer_token(await sending.sign()) == "t2"


HTML_ERROR = f"<html><head><title>Oops</title></head><body><p>{SECRET}</p></body></html>"
REFUSALS = [
    (http_response({"error": "bad_client", "error_description": "Who?"}, 401), "bad_client: Who?"),
    (http_response({"error": "invalid_client"}, 200), "invalid_client"),
    (http_response({"message": f"{SECRET} is wrong"}, 400), "*** is wrong"),
    (http_response(HTML_ERROR.encode(), 500, content_type="text/html"), "Oops"),
    (http_response({"access_token": "t1"}, 302, location="http://127.0.0.1:9/"), "302"),
    (http_response(b""), "an `access_token`"),
    (http_response(b"\xff\xfe{"), "an `access_token`"),
    (http_response(b"[1]"), "an `access_token`"),
    (http_response({"token": "t1"}), "an `access_token`"),
    (token_response(""), "an `access_token`"),
    (token_response("a\r\nX-Evil: 1"), "an `access_token`"),
    (token_response("tö"), "an `access_token`"),
    (http_response({"access_token": ["t1"]}), "an `access_token`"),
    (http_response(b" " * 2**21), "bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("response", "reason"), REFUSALS, ids=[reason for _, reason in REFUSALS])
async def test_a_refused_token_request_is_an_error_without_the_secret(response: bytes, reason: str) -> None:
    async with (
        run_upstream(responder(response)) as tokens,
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        error = await failure(sending)
        address = tokens.url.removeprefix("http://")
        assert (error.status, error.code) == (502, "upstream_token")
        assert address in error.message
        assert reason in error.message
        assert "t1" not in error.message
        assert server.requests == []


async def test_concurrent_requests_share_a_failed_token_request() -> None:
    refusal = http_response({"error": "invalid_client"}, 401)
    async with (
        run_upstream(responder(refusal)) as tokens,
        run_sender(route(), variables(tokens.url)) as sending,
    ):
        failures = await asyncio.gather(*(sending.send() for _ in range(20)), return_exceptions=True)
        assert len(tokens.requests) == 1
        assert len({id(error) for error in failures}) == 20  # each request has its own exception
        assert all(isinstance(error, UpstreamError) and error.status == 502 for error in failures)


async def test_an_unreachable_token_server_is_an_error() -> None:
    async with run_sender(route(), variables("http://127.0.0.1:9")) as sending:
        error = await failure(sending)
    assert error.status == 502
    assert "token request to 127.0.0.1:9 failed: no connection" in error.message


async def never_responds(peer: Connection) -> None:
    await peer.request()
    await peer.wait_closed()


async def sends_half(peer: Connection) -> None:
    await peer.request()
    await peer.send(head(200, content_length="100") + b'{"acc')
    await peer.wait_closed()


@pytest.mark.parametrize("behave", [never_responds, sends_half])
async def test_a_hanging_token_server_times_out(behave: Callable[[Connection], Any]) -> None:
    async with (
        run_upstream(behave) as tokens,
        run_sender(route(timeout="200ms"), variables(tokens.url)) as sending,
    ):
        failures = await asyncio.gather(*(failure(sending) for _ in range(5)))
        assert {error.status for error in failures} == {504}
        await tokens.wait_until(lambda server: server.closed == 1)
        assert tokens.connections == 1


async def test_a_cancelled_request_does_not_cancel_the_token_request_of_others() -> None:
    release = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await release.wait()
        await peer.send(token_response("t1"))

    async with run_upstream(behave) as tokens, run_sender(route(), variables(tokens.url)) as sending:
        first, second = (asyncio.ensure_future(sending.sign()) for _ in range(2))
        await tokens.wait_until(lambda server: bool(server.requests))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        release.set()
        assert bearer_token(await second) == "t1"
        assert len(tokens.requests) == 1


async def test_an_abandoned_token_request_is_cancelled_at_shutdown() -> None:
    async with run_upstream(never_responds) as tokens:
        async with run_sender(route(), variables(tokens.url)) as sending:
            pending = asyncio.ensure_future(sending.sign())
            await tokens.wait_until(lambda server: bool(server.requests))
            pending.cancel()
            [call] = sending.credentials._tasks._tasks
            assert not call.done()
        assert call.cancelled()
        await tokens.wait_until(lambda server: server.closed == 1)


def accepts(*valid: str) -> Callable[[Connection], Any]:
    """Return a handler that accepts only these tokens."""

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            accepted = request.headers["authorization"].removeprefix("Bearer ") in valid
            await peer.send(
                http_response({"ok": True}) if accepted else http_response({"error": "who?"}, 401)
            )

    return behave


def tokens_sent(server: UpstreamServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


async def test_a_refused_token_is_replaced_once() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_upstream(accepts("t2")) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        assert await sending.send() == (200, b'{"ok": true}')
        assert await sending.send() == (200, b'{"ok": true}')
    assert tokens_sent(server) == ["t1", "t2", "t2"]
    assert len(tokens.requests) == 2
    assert {request.data for request in server.requests} == {b'{"a":1}'}


async def test_a_second_refusal_is_returned() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_upstream(accepts()) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        assert await sending.send() == (401, b'{"error": "who?"}')
    assert tokens_sent(server) == ["t1", "t2"]


async def test_concurrent_refusals_replace_the_token_once() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_upstream(accepts("t2")) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        responses = await asyncio.gather(*(sending.send() for _ in range(20)))
    assert {response.status for response in responses} == {200}
    assert len(tokens.requests) == 2


async def test_a_late_refusal_uses_the_token_that_is_already_replaced() -> None:
    late = asyncio.Event()

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            accepted = request.headers["authorization"] == "Bearer t2"
            if not accepted and peer.number == 1:
                await late.wait()
            await peer.send(http_response({"ok": True}) if accepted else http_response({}, 401))

    async with (
        run_upstream(token_server()) as tokens,
        run_upstream(behave) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        first = asyncio.ensure_future(sending.send())
        await server.wait_until(lambda first: len(first.requests) == 1)
        assert (await sending.send()).status == 200
        late.set()
        assert (await first).status == 200
    assert len(tokens.requests) == 2


async def test_another_error_status_fetches_no_token() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_upstream(responder(http_response({}, 403))) as server,
        run_sender(route(), variables(tokens.url, server.url)) as sending,
    ):
        assert (await sending.send()).status == 403
    assert (len(tokens.requests), len(server.requests)) == (1, 1)


async def test_two_routes_have_two_tokens() -> None:
    async with (
        run_upstream(token_server()) as tokens,
        run_sender(route(), variables(tokens.url)) as first,
        run_sender(route(), variables(tokens.url)) as second,
    ):
        assert [bearer_token(await first.sign()), bearer_token(await second.sign())] == ["t1", "t2"]


async def test_the_token_of_a_removed_route_is_dropped() -> None:
    async with run_upstream(token_server()) as tokens, run_sender(route(), variables(tokens.url)) as sending:
        other = replace(
            sending.request(),
            auth=load_table(route(), variables(tokens.url)).routes[0].request.non_streaming.auth,
        )
        await sending.sign()
        await sending.credentials.sign(other, "http://127.0.0.1:9/")
        signer: Any = sending.credentials._signers[OAuth2]
        assert len(signer._states) == 2
        del other
        gc.collect()
        assert len(signer._states) == 1


async def test_the_repr_of_a_route_contains_no_secret() -> None:
    async with run_sender(route(), variables("http://127.0.0.1:9")) as sending:
        assert "s3cret" not in repr(sending.request())
        assert "s3cret" not in repr(sending.route)
