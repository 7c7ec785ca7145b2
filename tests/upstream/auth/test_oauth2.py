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
from tests.raw_client import table_of
from tests.raw_upstream import Peer, answering, head, upstream, whole
from tests.upstream.auth.signed_requests import bearer_of, sender, token, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.raw_upstream import Server
    from tests.upstream.auth.signed_requests import Sending

SECRET = "s3cret/+ü&="


def route(**options: Any) -> str:
    oauth2 = {"token_url": "${TOKENS}/token", "client_id": "me", "client_secret": "${SECRET}", **options}
    return json.dumps(
        {"routes": [{"models": "m", "upstream": "${UPSTREAM}/answer?a=b", "auth": {"oauth2": oauth2}}]}
    )


def variables(token_server: str, server: str = "http://127.0.0.1:9") -> dict[str, str]:
    return {"TOKENS": token_server, "UPSTREAM": server, "SECRET": SECRET}


async def failure(sending: Sending) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await sending.ask()
    assert caught.value.kind is UpstreamFailure.TOKEN
    assert SECRET not in caught.value.message
    return caught.value


async def test_fifty_requests_at_once_ask_for_one_token() -> None:
    async with (
        upstream(tokens()) as there,
        upstream(answering(whole({}))) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        answers = await asyncio.gather(*(sending.ask() for _ in range(50)))
    assert [answer.status for answer in answers] == [200] * 50
    assert len(there.requests) == 1
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer t1"}
    assert {request.path for request in server.requests} == {"/answer?a=b"}


async def test_what_is_asked_of_the_token_server() -> None:
    options = {"scope": ["a", "b"], "audience": "https://models", "params": {"tenant": 7}}
    async with upstream(tokens()) as there, sender(route(**options), variables(there.url)) as sending:
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
    async with upstream(tokens()) as there, sender(route(**options), variables(there.url)) as sending:
        await sending.sign()
    [request] = there.requests
    scheme, _, pair = request.headers["authorization"].partition(" ")
    name, _, secret = b64decode(pair).decode().partition(":")
    assert (scheme, unquote_plus(name), unquote_plus(secret)) == ("Basic", "me:too", SECRET)
    assert request.data == b"grant_type=client_credentials"


async def test_baidus_way() -> None:
    options = {"credentials": "query", "query": "access_token"}
    async with (
        upstream(tokens(expires_in=2592000)) as there,
        upstream(answering(whole({}))) as server,
        sender(route(**options), variables(there.url, server.url)) as sending,
    ):
        assert (await sending.ask()).status == 200
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
        upstream(tokens()) as there,
        sender(route(header="X-Token"), variables(there.url)) as sending,
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
    async with upstream(tokens(expires_in=life)) as there, sender(route(), variables(there.url)) as sending:
        begun = sending.clock.now
        assert bearer_of(await sending.sign()) == "t1"
        sending.clock.now = begun + good
        assert bearer_of(await sending.sign()) == "t1"
        assert len(there.requests) == 1
        sending.clock.now = begun + renewed
        assert bearer_of(await sending.sign()) == "t1"  # nobody waits for the next one
        await there.until(lambda server: len(server.requests) == 2)
        sending.clock.now = begun + over
        assert bearer_of(await sending.sign()) == "t2"
        assert len(there.requests) == 2


@pytest.mark.parametrize("life", [0, -5, "0"])
async def test_a_token_that_is_over_at_once_serves_who_asked_for_it(life: Any) -> None:
    async with upstream(tokens(expires_in=life)) as there, sender(route(), variables(there.url)) as sending:
        assert [bearer_of(await sending.sign()) for _ in range(3)] == ["t1", "t2", "t3"]


async def test_a_renewal_that_fails_costs_nothing_while_the_token_is_good() -> None:
    answers = answering(token("t1"), whole({"error": "temporarily_unavailable"}, 503), token("t2"))
    async with upstream(answers) as there, sender(route(), variables(there.url)) as sending:
        await sending.sign()
        sending.clock.now += 3541
        assert bearer_of(await sending.sign()) == "t1"
        call = next(iter(sending.credentials._tasks._tasks))
        await asyncio.wait([call])
        assert bearer_of(await sending.sign()) == "t1"
        assert not sending.credentials._tasks._tasks  # it is not tried again at once
        assert len(there.requests) == 2
        sending.clock.now += 60
        assert bearer_of(await sending.sign()) == "t2"


REFUSALS = [
    (whole({"error": "bad_client", "error_description": "Who?"}, 401), "bad_client: Who?"),
    (whole({"error": "invalid_client"}, 200), "invalid_client"),
    (whole({"message": f"{SECRET} is wrong"}, 400), "*** is wrong"),
    (whole(f"<html><title>Oops</title>{SECRET}</html>".encode(), 500, content_type="text/html"), "Oops"),
    (whole({"access_token": "t1"}, 302, location="http://127.0.0.1:9/"), "302"),
    (whole(b""), "no `access_token`"),
    (whole(b"\xff\xfe{"), "no `access_token`"),
    (whole(b"[1]"), "no `access_token`"),
    (whole({"token": "t1"}), "no `access_token`"),
    (token(""), "no `access_token`"),
    (token("a\r\nX-Evil: 1"), "no `access_token`"),
    (token("tö"), "no `access_token`"),
    (whole({"access_token": ["t1"]}), "no `access_token`"),
    (whole(b" " * 2**21), "bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
async def test_a_refusal_is_told_with_its_words_and_without_the_secret(answer: bytes, words: str) -> None:
    async with (
        upstream(answering(answer)) as there,
        upstream(answering(whole({}))) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        error = await failure(sending)
        where = there.url.removeprefix("http://")
        assert (error.status, error.code) == (502, "upstream_token")
        assert where in error.message
        assert words in error.message
        assert "t1" not in error.message
        assert server.requests == []


async def test_who_waits_together_shares_a_failure() -> None:
    refusal = whole({"error": "invalid_client"}, 401)
    async with upstream(answering(refusal)) as there, sender(route(), variables(there.url)) as sending:
        failures = await asyncio.gather(*(sending.ask() for _ in range(20)), return_exceptions=True)
        assert len(there.requests) == 1
        assert len({id(failed) for failed in failures}) == 20  # each has its own to carry
        assert all(isinstance(failed, UpstreamError) and failed.status == 502 for failed in failures)


async def test_no_token_server() -> None:
    async with sender(route(), variables("http://127.0.0.1:9")) as sending:
        error = await failure(sending)
    assert error.status == 502
    assert "no token from 127.0.0.1:9: no connection" in error.message


async def says_nothing(peer: Peer) -> None:
    await peer.request()
    await peer.stay()


async def says_half(peer: Peer) -> None:
    await peer.request()
    await peer.send(head(200, content_length="100") + b'{"acc')
    await peer.stay()


@pytest.mark.parametrize("behave", [says_nothing, says_half])
async def test_a_token_server_that_hangs(behave: Callable[[Peer], Any]) -> None:
    async with upstream(behave) as there, sender(route(timeout="200ms"), variables(there.url)) as sending:
        failures = await asyncio.gather(*(failure(sending) for _ in range(5)))
        assert {failed.status for failed in failures} == {504}
        await there.until(lambda server: server.closed == 1)
        assert there.connections == 1


async def test_who_leaves_does_not_end_it_for_the_others() -> None:
    let_go = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await let_go.wait()
        await peer.send(token("t1"))

    async with upstream(behave) as there, sender(route(), variables(there.url)) as sending:
        first, second = (asyncio.ensure_future(sending.sign()) for _ in range(2))
        await there.until(lambda server: bool(server.requests))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        let_go.set()
        assert bearer_of(await second) == "t1"
        assert len(there.requests) == 1


async def test_what_nobody_waits_for_ends_with_the_bridge() -> None:
    async with upstream(says_nothing) as there:
        async with sender(route(), variables(there.url)) as sending:
            leaving = asyncio.ensure_future(sending.sign())
            await there.until(lambda server: bool(server.requests))
            leaving.cancel()
            [call] = sending.credentials._tasks._tasks
            assert not call.done()
        assert call.cancelled()
        await there.until(lambda server: server.closed == 1)


def takes(*good: str) -> Callable[[Peer], Any]:
    """A model server that knows only these tokens."""

    async def behave(peer: Peer) -> None:
        while request := await peer.request():
            known = request.headers["authorization"].removeprefix("Bearer ") in good
            await peer.send(whole({"ok": True}) if known else whole({"error": "who?"}, 401))

    return behave


def shown(server: Server) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


async def test_a_token_that_is_refused_is_replaced_once() -> None:
    async with (
        upstream(tokens()) as there,
        upstream(takes("t2")) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        assert await sending.ask() == (200, b'{"ok": true}')
        assert await sending.ask() == (200, b'{"ok": true}')
    assert shown(server) == ["t1", "t2", "t2"]
    assert len(there.requests) == 2
    assert {request.data for request in server.requests} == {b'{"a":1}'}


async def test_a_second_refusal_is_the_answer() -> None:
    async with (
        upstream(tokens()) as there,
        upstream(takes()) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        assert await sending.ask() == (401, b'{"error": "who?"}')
    assert shown(server) == ["t1", "t2"]


async def test_many_whose_token_is_refused_at_once_replace_it_once() -> None:
    async with (
        upstream(tokens()) as there,
        upstream(takes("t2")) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        answers = await asyncio.gather(*(sending.ask() for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(there.requests) == 2


async def test_one_that_hears_late_of_a_refusal_takes_the_token_that_is_there() -> None:
    late = asyncio.Event()

    async def behave(peer: Peer) -> None:
        while request := await peer.request():
            known = request.headers["authorization"] == "Bearer t2"
            if not known and peer.number == 1:
                await late.wait()
            await peer.send(whole({"ok": True}) if known else whole({}, 401))

    async with (
        upstream(tokens()) as there,
        upstream(behave) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        first = asyncio.ensure_future(sending.ask())
        await server.until(lambda one: len(one.requests) == 1)
        assert (await sending.ask()).status == 200
        late.set()
        assert (await first).status == 200
    assert len(there.requests) == 2


async def test_another_refusal_asks_for_no_token() -> None:
    async with (
        upstream(tokens()) as there,
        upstream(answering(whole({}, 403))) as server,
        sender(route(), variables(there.url, server.url)) as sending,
    ):
        assert (await sending.ask()).status == 403
    assert (len(there.requests), len(server.requests)) == (1, 1)


async def test_two_descriptions_have_two_tokens() -> None:
    async with (
        upstream(tokens()) as there,
        sender(route(), variables(there.url)) as one,
        sender(route(), variables(there.url)) as two,
    ):
        assert [bearer_of(await one.sign()), bearer_of(await two.sign())] == ["t1", "t2"]


async def test_nothing_is_kept_of_a_description_that_is_gone() -> None:
    async with upstream(tokens()) as there, sender(route(), variables(there.url)) as sending:
        other = replace(
            sending.request(),
            auth=table_of(route(), variables(there.url)).routes[0].request.non_streaming.auth,
        )
        await sending.sign()
        await sending.credentials.sign(other, "http://127.0.0.1:9/")
        kept: Any = sending.credentials._kinds[OAuth2]
        assert len(kept._states) == 2
        del other
        gc.collect()
        assert len(kept._states) == 1


async def test_a_description_cannot_be_printed() -> None:
    async with sender(route(), variables("http://127.0.0.1:9")) as sending:
        assert "s3cret" not in repr(sending.request())
        assert "s3cret" not in repr(sending.route)
