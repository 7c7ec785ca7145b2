"""Certificates that are replaced while the bridge runs, as in a mounted secret."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, Handler, http_response, run_upstream
from tests.running_bridge import run_bridge_from_file
from tests.upstream.certificates import SECURE_SCHEMES, server_context, write_certificate
from tests.upstream.formats import completion

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.running_bridge import RunningBridge


ON_BOTH_LOOPS = True


def routes(url: str, rule: str = "", tls: str = "{ca: server.pem}") -> str:
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {tls}}}, {rule}}}]"


def renew(folder: Path, name: str, context: ssl.SSLContext) -> None:
    """Replace the certificate of a running server."""
    write_certificate(folder, name)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")


async def succeeds(bridge: RunningBridge) -> bool:
    response = await bridge.request(HELLO)
    return response.status == 200 and response.completion().choice.text == "hello"


async def is_refused(bridge: RunningBridge) -> bool:
    response = await bridge.request(HELLO)
    return (response.status, response.error()["code"]) == (502, "upstream_connect")


@pytest.mark.parametrize(
    ("scheme", "behave", "rule"), [(name, *scheme_parts) for name, scheme_parts in SECURE_SCHEMES.items()]
)
async def test_a_replaced_authority_is_reloaded(
    scheme: str, behave: Handler, rule: str, tmp_path: Path
) -> None:
    write_certificate(tmp_path, "server")
    context = server_context(tmp_path, "server")
    async with run_upstream(behave, tls=context) as server:
        url = server.url.replace("http:", f"{scheme}:")
        async with run_bridge_from_file(tmp_path, routes(url, rule), {}) as bridge:
            assert await succeeds(bridge)
            shutil.copy(tmp_path / "server.pem", tmp_path / "old.pem")
            renew(tmp_path, "server", context)
            assert await succeeds(bridge)
            shutil.copy(tmp_path / "old.pem", tmp_path / "server.pem")
            os.utime(tmp_path / "server.pem", (0, 0))  # the previous change may have the same time stamp
            assert await is_refused(bridge), "the certificate is no longer trusted"


async def respond_with_client_name(peer: Connection) -> None:
    await peer.request()
    await peer.send(http_response(completion(peer.name)))


async def test_a_replaced_client_certificate_is_reloaded_with_its_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("server", "client", "next"):
        write_certificate(tmp_path, name)
    context = server_context(tmp_path, "server", mutual=True)
    context.load_verify_locations(tmp_path / "client.pem")
    context.load_verify_locations(tmp_path / "next.pem")
    tls = "{ca: server.pem, cert: client.pem, key: client.key}"
    async with run_upstream(respond_with_client_name, tls=context) as server:
        url = server.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url, tls=tls), {}) as bridge:
            assert (await bridge.request(HELLO)).completion().choice.text == "client.test"
            shutil.copy(tmp_path / "next.pem", tmp_path / "client.pem")  # its key is not replaced yet
            for attempts in (1, 2):  # every request tries to reload the files
                assert (await bridge.request(HELLO)).completion().choice.text == "client.test"
                assert caplog.messages.count("certificates not renewed") == attempts
            shutil.copy(tmp_path / "next.key", tmp_path / "client.key")
            assert (await bridge.request(HELLO)).completion().choice.text == "next.test"


async def test_certificates_of_a_mounted_secret_are_reloaded(tmp_path: Path) -> None:
    """Kubernetes mounts files through two symbolic links, and deletes the former folder."""
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
        assert await succeeds(bridge)
        second.mkdir()
        renew(second, "server", context)
        (tmp_path / "..new").symlink_to(second.name)
        (tmp_path / "..new").rename(tmp_path / "..data")
        shutil.rmtree(first)
        assert await succeeds(bridge)
