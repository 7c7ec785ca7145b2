"""Tokens of a token server: asked for once, shown, renewed, refused."""

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
from tests.raw_client import load_table
from tests.raw_upstream import Connection, head, http_response, responder, run_upstream
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
    with pytest.raises(UpstreamError) as caught:
        await sending.send()
    assert caught.value.kind is UpstreamFailure.TOKEN
    assert SECRET not in caught.value.message
    return caught.value


async def test_fifty_requests_at_once_ask_for_one_token() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        answers = await asyncio.gather(*(sending.send() for _ in range(50)))
    assert [answer.status for answer in answers] == [200] * 50
    assert len(there.requests) == 1
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer t1"}
    assert {request.path for request in server.requests} == {"/answer?a=b"}


async def test_what_is_asked_of_the_token_server() -> None:
    options = {"scope": ["a", "b"], "audience": "https://models", "params": {"tenant": 7}}
    async with (
        run_upstream(token_server()) as there,
        run_sender(route(**options), variables(there.url)) as sending,
    ):
        await sending.sign()
    [request] = there.requests
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


async def test_the_client_shown_by_basic() -> None:
    options = {"credentials": "basic", "client_id": "me:too"}
    async with (
        run_upstream(token_server()) as there,
        run_sender(route(**options), variables(there.url)) as sending,
    ):
        await sending.sign()
    [request] = there.requests
    scheme, _, pair = request.headers["authorization"].partition(" ")
    name, _, secret = b64decode(pair).decode().partition(":")
    assert (scheme, unquote_plus(name), unquote_plus(secret)) == ("Basic", "me:too", SECRET)
    assert request.data == b"grant_type=client_credentials"


async def test_baidus_way() -> None:
    options = {"credentials": "query", "query": "access_token"}
    async with (
        run_upstream(token_server(expires_in=2592000)) as there,
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(**options), variables(there.url, server.url)) as sending,
    ):
        assert (await sending.send()).status == 200
    [asked], [shown] = there.requests, server.requests
    assert (asked.method, asked.data, asked.headers["content-length"]) == ("POST", b"", "0")
    assert parse_qs(urlsplit(asked.path).query, strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me"],
        "client_secret": [SECRET],
    }
    assert shown.path == "/answer?a=b&access_token=t1"
    assert "authorization" not in shown.headers


async def test_a_header_of_its_own_carries_the_token_alone() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_sender(route(header="X-Token"), variables(there.url)) as sending,
    ):
        signed = await sending.sign()
    assert signed.headers["X-Token"] == "t1"
    assert "Authorization" not in signed.headers


@pytest.mark.parametrize(
    ("life", "good", "renewed", "over"),
    # Renewed a tenth of its life before its end, at most a minute; used until its end.
    [(3600, 3539, 3541, 3601), ("100", 89, 91, 101), (None, 269, 271, 301), ("soon", 269, 271, 301)],
)
async def test_a_token_is_renewed_before_it_runs_out(life: Any, good: int, renewed: int, over: int) -> None:
    async with (
        run_upstream(token_server(expires_in=life)) as there,
        run_sender(route(), variables(there.url)) as sending,
    ):
        begun = sending.clock.now
        assert bearer_token(await sending.sign()) == "t1"
        sending.clock.now = begun + good
        assert bearer_token(await sending.sign()) == "t1"
        assert len(there.requests) == 1
        sending.clock.now = begun + renewed
        assert bearer_token(await sending.sign()) == "t1"  # nobody waits for the next one
        await there.wait_until(lambda server: len(server.requests) == 2)
        sending.clock.now = begun + over
        assert bearer_token(await sending.sign()) == "t2"
        assert len(there.requests) == 2


@pytest.mark.parametrize("life", [0, -5, "0"])
async def test_a_token_that_is_over_at_once_serves_who_asked_for_it(life: Any) -> None:
    async with (
        run_upstream(token_server(expires_in=life)) as there,
        run_sender(route(), variables(there.url)) as sending,
    ):
        assert [bearer_token(await sending.sign()) for _ in range(3)] == ["t1", "t2", "t3"]


async def test_a_renewal_that_fails_costs_nothing_while_the_token_is_good() -> None:
    answers = responder(
        token_response("t1"), http_response({"error": "temporarily_unavailable"}, 503), token_response("t2")
    )
    async with run_upstream(answers) as there, run_sender(route(), variables(there.url)) as sending:
        await sending.sign()
        sending.clock.now += 3541
        assert bearer_token(await sending.sign()) == "t1"
        call = next(iter(sending.credentials._tasks._tasks))
        await asyncio.wait([call])
        assert bearer_token(await sending.sign()) == "t1"
        assert not sending.credentials._tasks._tasks  # it is not tried again at once
        assert len(there.requests) == 2
        sending.clock.now += 60
        assert bearer_token(await sending.sign()) == "t2"


REFUSALS = [
    (http_response({"error": "bad_client", "error_description": "Who?"}, 401), "bad_client: Who?"),
    (http_response({"error": "invalid_client"}, 200), "invalid_client"),
    (http_response({"message": f"{SECRET} is wrong"}, 400), "*** is wrong"),
    (http_response(f"<title>Oops</title>{SECRET}".encode(), 500, content_type="text/html"), "Oops"),
    (http_response({"access_token": "t1"}, 302, location="http://127.0.0.1:9/"), "302"),
    (http_response(b""), "no `access_token`"),
    (http_response(b"\xff\xfe{"), "no `access_token`"),
    (http_response(b"[1]"), "no `access_token`"),
    (http_response({"token": "t1"}), "no `access_token`"),
    (token_response(""), "no `access_token`"),
    (token_response("a\r\nX-Evil: 1"), "no `access_token`"),
    (token_response("tö"), "no `access_token`"),
    (http_response({"access_token": ["t1"]}), "no `access_token`"),
    (http_response(b" " * 2**21), "bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
async def test_a_refusal_is_told_with_its_words_and_without_the_secret(answer: bytes, words: str) -> None:
    async with (
        run_upstream(responder(answer)) as there,
        run_upstream(responder(http_response({}))) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        error = await failure(sending)
        where = there.url.removeprefix("http://")
        assert (error.status, error.code) == (502, "upstream_token")
        assert where in error.message
        assert words in error.message
        assert "t1" not in error.message
        assert server.requests == []


async def test_who_waits_together_shares_a_failure() -> None:
    refusal = http_response({"error": "invalid_client"}, 401)
    async with (
        run_upstream(responder(refusal)) as there,
        run_sender(route(), variables(there.url)) as sending,
    ):
        failures = await asyncio.gather(*(sending.send() for _ in range(20)), return_exceptions=True)
        assert len(there.requests) == 1
        assert len({id(failed) for failed in failures}) == 20  # each has its own to carry
        assert all(isinstance(failed, UpstreamError) and failed.status == 502 for failed in failures)


async def test_no_token_server() -> None:
    async with run_sender(route(), variables("http://127.0.0.1:9")) as sending:
        error = await failure(sending)
    assert error.status == 502
    assert "no token from 127.0.0.1:9: no connection" in error.message


async def says_nothing(peer: Connection) -> None:
    await peer.request()
    await peer.wait_closed()


async def says_half(peer: Connection) -> None:
    await peer.request()
    await peer.send(head(200, content_length="100") + b'{"acc')
    await peer.wait_closed()


@pytest.mark.parametrize("behave", [says_nothing, says_half])
async def test_a_token_server_that_hangs(behave: Callable[[Connection], Any]) -> None:
    async with (
        run_upstream(behave) as there,
        run_sender(route(timeout="200ms"), variables(there.url)) as sending,
    ):
        failures = await asyncio.gather(*(failure(sending) for _ in range(5)))
        assert {failed.status for failed in failures} == {504}
        await there.wait_until(lambda server: server.closed == 1)
        assert there.connections == 1


async def test_who_leaves_does_not_end_it_for_the_others() -> None:
    let_go = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await let_go.wait()
        await peer.send(token_response("t1"))

    async with run_upstream(behave) as there, run_sender(route(), variables(there.url)) as sending:
        first, second = (asyncio.ensure_future(sending.sign()) for _ in range(2))
        await there.wait_until(lambda server: bool(server.requests))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        let_go.set()
        assert bearer_token(await second) == "t1"
        assert len(there.requests) == 1


async def test_what_nobody_waits_for_ends_with_the_bridge() -> None:
    async with run_upstream(says_nothing) as there:
        async with run_sender(route(), variables(there.url)) as sending:
            leaving = asyncio.ensure_future(sending.sign())
            await there.wait_until(lambda server: bool(server.requests))
            leaving.cancel()
            [call] = sending.credentials._tasks._tasks
            assert not call.done()
        assert call.cancelled()
        await there.wait_until(lambda server: server.closed == 1)


def takes(*good: str) -> Callable[[Connection], Any]:
    """A model server that knows only these tokens."""

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            known = request.headers["authorization"].removeprefix("Bearer ") in good
            await peer.send(http_response({"ok": True}) if known else http_response({"error": "who?"}, 401))

    return behave


def shown(server: UpstreamServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


async def test_a_token_that_is_refused_is_replaced_once() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_upstream(takes("t2")) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        assert await sending.send() == (200, b'{"ok": true}')
        assert await sending.send() == (200, b'{"ok": true}')
    assert shown(server) == ["t1", "t2", "t2"]
    assert len(there.requests) == 2
    assert {request.data for request in server.requests} == {b'{"a":1}'}


async def test_a_second_refusal_is_the_answer() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_upstream(takes()) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        assert await sending.send() == (401, b'{"error": "who?"}')
    assert shown(server) == ["t1", "t2"]


async def test_many_whose_token_is_refused_at_once_replace_it_once() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_upstream(takes("t2")) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        answers = await asyncio.gather(*(sending.send() for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(there.requests) == 2


async def test_one_that_hears_late_of_a_refusal_takes_the_token_that_is_there() -> None:
    late = asyncio.Event()

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            known = request.headers["authorization"] == "Bearer t2"
            if not known and peer.number == 1:
                await late.wait()
            await peer.send(http_response({"ok": True}) if known else http_response({}, 401))

    async with (
        run_upstream(token_server()) as there,
        run_upstream(behave) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        first = asyncio.ensure_future(sending.send())
        await server.wait_until(lambda one: len(one.requests) == 1)
        assert (await sending.send()).status == 200
        late.set()
        assert (await first).status == 200
    assert len(there.requests) == 2


async def test_another_refusal_asks_for_no_token() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_upstream(responder(http_response({}, 403))) as server,
        run_sender(route(), variables(there.url, server.url)) as sending,
    ):
        assert (await sending.send()).status == 403
    assert (len(there.requests), len(server.requests)) == (1, 1)


async def test_two_descriptions_have_two_tokens() -> None:
    async with (
        run_upstream(token_server()) as there,
        run_sender(route(), variables(there.url)) as one,
        run_sender(route(), variables(there.url)) as two,
    ):
        assert [bearer_token(await one.sign()), bearer_token(await two.sign())] == ["t1", "t2"]


async def test_nothing_is_kept_of_a_description_that_is_gone() -> None:
    async with run_upstream(token_server()) as there, run_sender(route(), variables(there.url)) as sending:
        other = replace(
            sending.request(),
            auth=load_table(route(), variables(there.url)).routes[0].request.non_streaming.auth,
        )
        await sending.sign()
        await sending.credentials.sign(other, "http://127.0.0.1:9/")
        kept: Any = sending.credentials._kinds[OAuth2]
        assert len(kept._states) == 2
        del other
        gc.collect()
        assert len(kept._states) == 1


async def test_a_description_cannot_be_printed() -> None:
    async with run_sender(route(), variables("http://127.0.0.1:9")) as sending:
        assert "s3cret" not in repr(sending.request())
        assert "s3cret" not in repr(sending.route)
