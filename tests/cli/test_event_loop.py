"""The event loop of the command: numeric addresses need no lookup."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from bridge.cli.event_loop import EventLoop


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_numeric_address_needs_no_thread(host: str, family: int) -> None:
    with closing(EventLoop()) as loop:
        lookup = loop.getaddrinfo(host, 80, family=family)
        with pytest.raises(StopIteration) as finished:
            lookup.send(None)  # a lookup in a thread would suspend the coroutine
        assert finished.value.value[0][4][:2] == (host, 80)


def test_names_are_looked_up() -> None:
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        found = runner.run(look_up("localhost"))
        assert {address[:2] for *_, address in found} & {("127.0.0.1", 80), ("::1", 80)}
        with pytest.raises(socket.gaierror):
            runner.run(look_up("no such host"))


async def look_up(host: str) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    return await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)  # type: ignore[return-value]


def test_a_connection_to_a_numeric_address_uses_the_method() -> None:
    """uvloop calls the method of the subclass: otherwise the class has no effect."""
    hosts: list[str] = []

    class Recording(EventLoop):
        async def getaddrinfo(self, host: str, *args: object, **options: object) -> object:  # type: ignore[override]
            hosts.append(host)
            return await super().getaddrinfo(host, *args, **options)  # type: ignore[arg-type]

    async def connect(address: tuple[str, int]) -> None:
        with socket.socket() as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, address)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        asyncio.Runner(loop_factory=Recording) as runner,
    ):
        runner.run(connect(listener.getsockname()))
    assert hosts == ["127.0.0.1"]
