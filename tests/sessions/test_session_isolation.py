"""A kept session is never found by a client with another key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.running_bridge import run_bridge
from tests.sessions.session_server import ANSWER, ROUTE, SessionServer

if TYPE_CHECKING:
    from tests.conftest import ServeApp

TURN = [{"role": "user", "content": "one"}]
NEXT = [*TURN, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "two"}]
ALL = ["one", ANSWER, "two"]

KEYS = "server: {keys: [first-key, second-key]}\n"
CLIENT_AUTH = "    auth: client\n"
OWN_AUTH = "    auth: {bearer: the-operators-key}\n"


def routes(head: str, auth: str, by: str) -> str:
    """Return a file whose only route keeps sessions."""
    kept = f"      keep: conversation\n      by: {by}\n    request:"
    return f"{head}routes:{ROUTE}{auth}".replace("    request:", kept)


@pytest.fixture
async def server(serve_app: ServeApp) -> SessionServer:
    server = SessionServer()
    server.url = await serve_app(server.application())
    return server


@pytest.mark.parametrize("by", ["transcript", "user", "{header: x-conversation}"])
@pytest.mark.parametrize(
    ("head", "auth"), [(KEYS, ""), (KEYS, OWN_AUTH), (KEYS, CLIENT_AUTH), ("", CLIENT_AUTH)]
)
async def test_a_session_is_kept_for_the_key_that_opened_it(
    server: SessionServer, head: str, auth: str, by: str
) -> None:
    async with (
        run_bridge(routes(head, auth, by), {"SERVER": server.url}) as bridge,
    ):

        async def send(authorization: str, messages: list[dict[str, str]]) -> tuple[str, list[str]]:
            headers = {"Authorization": authorization, "X-Conversation": "same"}
            body = {"model": "m", "user": "same", "messages": messages}
            assert (await bridge.request(body, headers=headers)).status == 200
            return server.turns[-1]

        assert await send("Bearer first-key", TURN) == ("s1", ["one"])
        assert await send("Bearer second-key", NEXT) == ("s2", ALL)
        assert await send("Bearer first-key", NEXT) == ("s1", ["two"])
    assert server.violations == []


async def test_a_key_in_another_spelling_is_the_same_key(server: SessionServer) -> None:
    file = routes(KEYS, "", "user")
    async with run_bridge(file, {"SERVER": server.url}) as bridge:
        for authorization, messages in (("Bearer first-key", TURN), ("bearer  first-key ", NEXT)):
            body = {"model": "m", "user": "same", "messages": messages}
            assert (await bridge.request(body, headers={"Authorization": authorization})).status == 200
    assert server.turns == [("s1", ["one"]), ("s1", ["two"])]


async def test_clients_without_keys_share_conversations(server: SessionServer) -> None:
    file = routes("", "", "user")
    async with run_bridge(file, {"SERVER": server.url}) as bridge:
        for messages in (TURN, NEXT):
            assert (await bridge.request({"model": "m", "user": "same", "messages": messages})).status == 200
    assert server.turns == [("s1", ["one"]), ("s1", ["two"])]
