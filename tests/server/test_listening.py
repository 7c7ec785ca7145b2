"""Addresses to listen on: families, lists, names, and warnings."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from bridge.server.listening import bind, socket_url
from tests.bridge_process import call, run_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEXT = "routes: [{models: m, upstream: 'http://127.0.0.1:1'}]"
OPEN = "clients of other machines are accepted, and no key is required: set `server.keys`"
NO_ADMIN = ("--admin", "off")

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Return a list whose sockets are closed afterwards."""
    opened: list[socket.socket] = []
    yield opened
    for each in opened:
        each.close()


def accepts(host: str, port: int) -> bool:
    """Return whether a connection to an address is accepted."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@needs_ipv6
@pytest.mark.parametrize("address", [":0", "[::]:0"])
def test_every_interface_is_reached_by_both_families(address: str, sockets: list[socket.socket]) -> None:
    sockets += bind(address)
    port = sockets[0].getsockname()[1]
    assert socket_url(sockets[0]) == f"http://[::]:{port}"
    assert accepts("127.0.0.1", port)
    assert accepts("::1", port)


@needs_ipv6
def test_an_address_of_one_family_is_reached_by_this_family_only(sockets: list[socket.socket]) -> None:
    for address, url in (("0.0.0.0:0", "http://0.0.0.0"), ("[::1]:0", "http://[::1]")):
        sockets += bind(address)
        assert socket_url(sockets[-1]).rpartition(":")[0] == url
    (_, ipv4), (_, ipv6) = (each.getsockname()[:2] for each in sockets)
    assert (accepts("127.0.0.1", ipv4), accepts("::1", ipv4)) == (True, False)
    assert (accepts("127.0.0.1", ipv6), accepts("::1", ipv6)) == (False, True)


def test_without_ipv6_every_interface_is_reached_by_ipv4(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    sockets += bind(":0")
    assert sockets[0].family == socket.AF_INET
    assert accepts("127.0.0.1", sockets[0].getsockname()[1])


@pytest.mark.parametrize("addresses", ["127.0.0.1:0, 127.0.0.2:0", ["127.0.0.1:0", "127.0.0.2:0"]])
def test_several_addresses(addresses: str | Iterable[str], sockets: list[socket.socket]) -> None:
    sockets += bind(addresses)
    assert [each.getsockname()[0] for each in sockets] == ["127.0.0.1", "127.0.0.2"]


def test_a_name_is_reached_at_each_of_its_addresses(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        hosts = ("127.0.0.1", "127.0.0.2", "192.0.2.1", "127.0.0.1")  # the third is not this machine's
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    sockets += bind("some-name:0")
    (first, port), (second, same) = (each.getsockname() for each in sockets)
    assert (first, second, same) == ("127.0.0.1", "127.0.0.2", port)


@pytest.mark.parametrize("address", ["no-such-name.invalid:80", "192.0.2.1:0"])
def test_an_address_of_another_machine_is_refused(address: str) -> None:
    with pytest.raises(OSError, match=f"^cannot listen on {address}: "):
        bind(address)


async def test_the_file_may_list_addresses(tmp_path: Path) -> None:
    text = "server: {listen: ['127.0.0.1:0', '127.0.0.2:0'], admin: off}\n" + TEXT
    async with run_process(tmp_path, text) as bridge:
        for line, host in zip(bridge.announced, ("127.0.0.1", "127.0.0.2"), strict=True):
            assert line.startswith(f"front listening on http://{host}:")
            assert accepts(host, int(line.rpartition(":")[2]))


@pytest.mark.parametrize("source", ["flag", "variable", "file"])
@pytest.mark.parametrize(
    "address", ["8080", "127.0.0.1:80800", "127.0.0.1:1,", "::1:80", "http://127.0.0.1:80"]
)
async def test_an_invalid_address_is_refused_wherever_it_comes_from(
    address: str, source: str, tmp_path: Path
) -> None:
    in_file = f"server: {{listen: '{address}'}}\n" if source == "file" else ""
    (tmp_path / "routes.yaml").write_text(in_file + TEXT)
    flags = ("--listen", address) if source == "flag" else ()
    environment = {"BRIDGE_LISTEN": address} if source == "variable" else {}
    code, out, errors = await call(tmp_path, "serve", *flags, *NO_ADMIN, environment=environment)
    assert code == 1
    assert "is not a valid address" in out + errors
    assert "HOST:PORT" in out + errors


async def test_an_open_address_without_keys_is_logged(tmp_path: Path) -> None:
    async with run_process(tmp_path, TEXT, "--listen", ":0", *NO_ADMIN, warns=[OPEN]) as bridge:
        assert await bridge.end() == 0
    text = "server: {keys: [a-key]}\n" + TEXT
    async with run_process(tmp_path, text, "--listen", ":0", *NO_ADMIN) as bridge:
        assert await bridge.end() == 0
        assert OPEN not in bridge.log()
