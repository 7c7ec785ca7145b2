"""Certificate files and proxies of a route: faults are problems of the file."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from bridge.core.errors import ConfigError
from bridge.loader import load_routes
from tests.upstream.certificates import write_certificate

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE = serialization.BestAvailableEncryption(b"secret")
FORMATS = [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("mine", "other"):
        write_certificate(tmp_path, name)
    (tmp_path / "text.pem").write_text("no certificate\n")
    both = (tmp_path / "mine.pem").read_text() + (tmp_path / "mine.key").read_text()
    (tmp_path / "both.pem").write_text(both)
    key = serialization.load_pem_private_key((tmp_path / "mine.key").read_bytes(), None)
    for number, form in enumerate(FORMATS):
        encrypted = key.private_bytes(serialization.Encoding.PEM, form, PASSPHRASE)
        (tmp_path / f"locked{number}.key").write_bytes(encrypted)
    return tmp_path


def _write(folder: Path, tls: str, place: str = "upstream") -> Path:
    auth = f"auth: {{oauth2: {{token_url: 'https://h/t', client_id: a, client_secret: b, tls: {tls}}}}}"
    rules = (
        f"upstream: {{url: 'https://h', tls: {tls}}}"
        if place == "upstream"
        else f"upstream: 'http://h'\n  {auth}"
    )
    file = folder / "routes.yaml"
    file.write_text(f"routes:\n- models: m\n  {rules}\n")
    return file


@pytest.mark.parametrize(
    ("tls", "place", "message"),
    [
        ("{cert: mine.pem, key: locked0.key}", "key", "needs a passphrase"),
        ("{cert: mine.pem, key: locked1.key}", "key", "needs a passphrase"),
        ("{cert: mine.pem, key: other.key}", "key", "does not belong to the certificate in"),
        ("{cert: mine.pem, key: text.pem}", "key", "holds no private key"),
        ("{cert: mine.pem, key: mine.pem}", "key", "holds no private key"),
        ("{cert: mine.pem}", "cert", "holds no private key"),
        ("{cert: text.pem, key: mine.key}", "cert", "holds no certificate"),
        ("{ca: text.pem}", "ca", "holds no certificate"),
        ("{ca: mine.key}", "ca", "holds no certificate"),
        ("{key: mine.key}", "key", "`key` without `cert`"),
    ],
)
@pytest.mark.parametrize("of", ["upstream", "oauth2"])
def test_a_certificate_file_that_cannot_be_used_is_a_problem(
    tls: str, place: str, message: str, of: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"tls\.{place}: .*{message}") as raised:
        load_routes(str(_write(folder, tls, of)))
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize("tls", ["{cert: mine.pem, key: mine.key, ca: other.pem}", "{cert: both.pem}", "{}"])
def test_certificate_files_that_can_be_used_are_accepted(tls: str, folder: Path) -> None:
    load_routes(str(_write(folder, tls)))


def test_check_never_prompts_for_a_passphrase(folder: Path) -> None:
    file = _write(folder, "{cert: mine.pem, key: locked0.key}")
    command = [sys.executable, "-m", "bridge", "check", str(file)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.PIPE
    )
    assert result.returncode == 1
    assert "pass phrase" not in result.stdout + result.stderr
    assert "needs a passphrase" in result.stdout


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy:3128",
        "proxy",
        "socks5://proxy:1080",
        "ftp://proxy",
        "http://",
        "//proxy",
        "http://h:x",
        "http://h/p",
    ],
)
@pytest.mark.parametrize("of", ["upstream: {url: 'http://h', proxy: '%s'}", "auth: {oauth2: {proxy: '%s'}}"])
def test_a_proxy_that_is_not_an_http_url_is_a_problem(proxy: str, of: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(f"routes:\n- models: m\n  {of % proxy}\n")
    with pytest.raises(
        ConfigError, match=r"proxy: .*\n.*\n.*\n  expected the URL of an HTTP proxy, such as http://"
    ):
        load_routes(str(file))


@pytest.mark.parametrize("proxy", ["", "http://proxy:3128", "https://user:pass@proxy", "http://[::1]:3128/"])
def test_a_proxy_is_a_url_or_empty(proxy: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(f"routes:\n- models: m\n  upstream: {{url: 'http://h', proxy: '${{P:-{proxy}}}'}}\n")
    assert load_routes(str(file)).routes[0].transport.proxy == (proxy or None)
