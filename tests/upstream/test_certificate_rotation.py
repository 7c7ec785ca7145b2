"""Certificates that change while the bridge runs, as those of a mounted secret do."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.upstream.certificates import (
    SECURE_SCHEMES,
    run_bridge_from_file,
    server_context,
    write_certificate,
)
from tests.upstream.formats import completion

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.raw_client import RunningBridge

    Behave = Callable[[Connection], Awaitable[None]]

ON_BOTH_LOOPS = True


def routes(url: str, rule: str = "", tls: str = "{ca: server.pem}") -> str:
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {tls}}}, {rule}}}]"


def renew(folder: Path, name: str, context: ssl.SSLContext) -> None:
    """A new certificate for a server that runs."""
    write_certificate(folder, name)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")


async def good(bridge: RunningBridge) -> bool:
    answer = await bridge.request(HELLO)
    return answer.status == 200 and answer.completion().choice.text == "hello"


async def refused(bridge: RunningBridge) -> bool:
    answer = await bridge.request(HELLO)
    return (answer.status, answer.error()["code"]) == (502, "upstream_connect")


@pytest.mark.parametrize(("scheme", "behave", "rule"), [(name, *way) for name, way in SECURE_SCHEMES.items()])
async def test_whom_to_trust(scheme: str, behave: Behave, rule: str, tmp_path: Path) -> None:
    write_certificate(tmp_path, "server")
    context = server_context(tmp_path, "server")
    async with run_upstream(behave, tls=context) as server:
        url = server.url.replace("http:", f"{scheme}:")
        async with run_bridge_from_file(tmp_path, routes(url, rule), {}) as bridge:
            assert await good(bridge)
            shutil.copy(tmp_path / "server.pem", tmp_path / "old.pem")
            renew(tmp_path, "server", context)
            assert await good(bridge)
            shutil.copy(tmp_path / "old.pem", tmp_path / "server.pem")
            os.utime(tmp_path / "server.pem", (0, 0))  # the last change may have been in the same tick
            assert await refused(bridge), "whom nobody trusts any more"


async def who(peer: Connection) -> None:
    await peer.request()
    await peer.send(http_response(completion(peer.name)))


async def test_who_the_bridge_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("server", "client", "next"):
        write_certificate(tmp_path, name)
    context = server_context(tmp_path, "server", asks=True)
    context.load_verify_locations(tmp_path / "client.pem")
    context.load_verify_locations(tmp_path / "next.pem")
    tls = "{ca: server.pem, cert: client.pem, key: client.key}"
    async with run_upstream(who, tls=context) as server:
        url = server.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url, tls=tls), {}) as bridge:
            assert (await bridge.request(HELLO)).completion().choice.text == "client.test"
            shutil.copy(tmp_path / "next.pem", tmp_path / "client.pem")  # its key is not there yet
            for looks in (1, 2):  # whatever kept them from being read may be over at any time
                assert (await bridge.request(HELLO)).completion().choice.text == "client.test"
                assert caplog.messages.count("certificates not renewed") == looks
            shutil.copy(tmp_path / "next.key", tmp_path / "client.key")
            assert (await bridge.request(HELLO)).completion().choice.text == "next.test"


async def test_a_mounted_secret(tmp_path: Path) -> None:
    """Kubernetes puts files into a folder by a link to a link, and removes what that led to before."""
    first, second = tmp_path / "..1", tmp_path / "..2"
    first.mkdir()
    write_certificate(first, "server")
    (tmp_path / "..data").symlink_to(first.name)
    (tmp_path / "server.pem").symlink_to("..data/server.pem")
    context = server_context(first, "server")
    async with (
        run_upstream(SECURE_SCHEMES["https"][0], tls=context) as server,
        run_bridge_from_file(tmp_path, routes(server.url.replace("http:", "https:")), {}) as bridge,
    ):
        assert await good(bridge)
        second.mkdir()
        renew(second, "server", context)
        (tmp_path / "..new").symlink_to(second.name)
        (tmp_path / "..new").rename(tmp_path / "..data")
        shutil.rmtree(first)
        assert await good(bridge)
