"""Signed JSON Web Tokens, decoded by the steps of RFC 7515."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bridge.core.errors import ConfigError
from tests.bridge_process import ROOT
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.running_bridge import load_table
from tests.upstream.auth.signed_requests import NOW, bearer_token, run_sender, token_server

if TYPE_CHECKING:
    from bridge.routes.rules.request_template import UpstreamRequest

ZHIPU = """
routes:
  - models: chatglm_turbo
    upstream: http://127.0.0.1:9
    path: /api/paas/v3/model-api/{{ model }}/invoke
    auth:
      jwt:
        key: ${KEY}
        secret: "{{ key.split('.')[1] }}"
        headers: {alg: HS256, sign_type: SIGN}
        claims:
          api_key: "{{ key.split('.')[0] }}"
          exp: {$path: $.exp, scale: 1000}
          timestamp: {$path: $.now, scale: 1000}
        prefix: ""
"""
PLAIN = "routes: [{models: m, upstream: 'http://127.0.0.1:9', auth: {jwt: {key: '${KEY}', OPTIONS}}}]"


def plain(options: str = "x-none: 1") -> str:
    return PLAIN.replace("OPTIONS", options)


def decoded(part: str) -> bytes:
    """Return decoded base64url without padding (RFC 7515, appendix C)."""
    assert "=" not in part
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def parse_token(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Return header, claims, signed text and signature."""
    head, claims, signature = token.split(".")
    signed = f"{head}.{claims}".encode()
    return json.loads(decoded(head)), json.loads(decoded(claims)), signed, decoded(signature)


async def signed(text: str, key: str) -> UpstreamRequest:
    async with run_sender(text, {"KEY": key}) as sending:
        return await sending.sign()


async def test_a_token_for_zhipu_has_its_claims() -> None:
    request = await signed(ZHIPU, "the-id.the-secret")
    head, claims, text, signature = parse_token(request.headers["Authorization"])
    assert head == {"alg": "HS256", "sign_type": "SIGN", "typ": "JWT"}
    seconds = int(NOW)
    assert claims == {
        "api_key": "the-id", "exp": (seconds + 300) * 1000, "timestamp": seconds * 1000, "iat": seconds,
    }  # fmt: skip
    assert isinstance(claims["exp"], int)
    assert signature == hmac.digest(b"the-secret", text, hashlib.sha256)


@pytest.mark.parametrize("size", [256, 384, 512])
async def test_a_token_is_signed_by_hmac(size: int) -> None:
    options = f"algorithm: HS{size}, expires: 10m, header: X-Token, prefix: 'JWT '"
    request = await signed(plain(options), "short")
    assert "Authorization" not in request.headers
    kind, _, token = request.headers["X-Token"].partition(" ")
    head, claims, text, signature = parse_token(token)
    assert kind == "JWT"
    assert head == {"alg": f"HS{size}", "typ": "JWT"}
    assert claims == {"iat": int(NOW), "exp": int(NOW) + 600}
    assert signature == hmac.digest(b"short", text, f"sha{size}")


async def test_claims_may_have_any_shape_and_omit_times() -> None:
    options = (
        "claims: {iat: null, iss: me, aud: [a, b], deep: {k: $.key, no: $.key.no}, nbf: $.now, no: $.key.no}"
    )
    _, claims, _, _ = parse_token(bearer_token(await signed(plain(options), "a-key")))
    assert claims == {
        "exp": int(NOW) + 300, "iss": "me", "aud": ["a", "b"], "deep": {"k": "a-key"}, "nbf": int(NOW),
    }  # fmt: skip


async def test_a_token_is_reused_for_half_of_its_lifetime() -> None:
    async with run_sender(plain("expires: 10m"), {"KEY": "k"}) as sending:
        first = bearer_token(await sending.sign())
        sending.clock.now += 299
        sending.time.now += 299
        assert bearer_token(await sending.sign()) == first
        sending.clock.now += 1
        sending.time.now += 1
        assert bearer_token(await sending.sign()) != first


@pytest.mark.parametrize("step", [-1, -86_400, 150, 86_400])
async def test_a_token_is_renewed_after_the_wall_clock_was_set(step: int) -> None:
    async with run_sender(plain(), {"KEY": "k" * 32}) as sending:
        first = bearer_token(await sending.sign())
        sending.time.now += step
        second = bearer_token(await sending.sign())
        _, claims, _, _ = parse_token(second)
        assert second != first
        assert claims["iat"] == int(NOW) + step
        assert bearer_token(await sending.sign()) == second


async def test_a_rejected_token_is_renewed_once() -> None:
    tokens: list[str] = []
    accepts = False

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            tokens.append(request.headers["authorization"])
            refused = not accepts or len(tokens) == 2
            await peer.send(
                http_response({"error": "expired"}, 401) if refused else http_response({"ok": True})
            )

    async with (
        run_upstream(behave) as server,
        run_sender(plain().replace("http://127.0.0.1:9", server.url), {"KEY": "k" * 32}) as sending,
    ):
        assert (await sending.send()).status == 401
        assert len(tokens) == 1, "a new token of the same second would be the same"
        accepts = True
        sending.time.now += 1
        assert (await sending.send()).status == 200
        assert len(tokens) == 3
        assert tokens[0] == tokens[1] != tokens[2]
        accepts = False
        sending.time.now += 1
        assert (await sending.send()).status == 401
        assert len(tokens) == 5


def pem(key: Any) -> str:
    return str(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    )


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


async def test_a_token_is_signed_by_rs256() -> None:
    head, _, text, signature = parse_token(bearer_token(await signed(plain("algorithm: RS256"), pem(RSA))))
    assert head["alg"] == "RS256"
    RSA.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())


async def test_a_token_is_signed_by_es256() -> None:
    head, _, text, signature = parse_token(bearer_token(await signed(plain("algorithm: ES256"), pem(EC))))
    assert (head["alg"], len(signature)) == ("ES256", 64)
    # RFC 7518, section 3.4: the concatenation of both numbers.
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    EC.public_key().verify(encode_dss_signature(r, s), text, ec.ECDSA(hashes.SHA256()))


async def test_a_signed_assertion_is_exchanged_for_a_token() -> None:
    google = """
    routes:
      - models: m
        upstream: http://127.0.0.1:9
        auth:
          oauth2:
            token_url: ${TOKENS}/token
            assertion:
              algorithm: RS256
              key: ${KEY}
              claims: {iss: me@project, scope: cloud, aud: "https://oauth2.googleapis.com/token"}
              expires: 1h
    """
    async with (
        run_upstream(token_server()) as tokens,
        run_sender(google, {"TOKENS": tokens.url, "KEY": pem(RSA)}) as sending,
    ):
        assert bearer_token(await sending.sign()) == "t1"
    form = parse_qs(tokens.requests[0].data.decode(), strict_parsing=True)
    assert form.keys() == {"grant_type", "assertion"}
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]  # RFC 7523, section 2.1
    _, claims, text, signature = parse_token(form["assertion"][0])
    RSA.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
    assert claims == {
        "iss": "me@project", "scope": "cloud", "aud": "https://oauth2.googleapis.com/token",
        "iat": int(NOW), "exp": int(NOW) + 3600,
    }  # fmt: skip


def public(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


@pytest.mark.parametrize(
    ("options", "key", "message"),
    [
        ("algorithm: RS256", "no-pem-at-all", "not a valid key for RS256"),
        ("algorithm: RS256", public(RSA), "not a valid key for RS256"),
        ("algorithm: RS256", pem(EC), "not a valid key for RS256"),
        ("algorithm: ES256", pem(RSA), "not a valid key for ES256"),
        ("algorithm: HS256", public(RSA), "not a valid key for HS256"),
        ("secret: \"{{ key.split('.')[1] }}\"", "no-dot-in-it", "not a valid key for HS256: it is empty"),
        ('secret: "{{ key / 2 }}"', "a-key-of-text", "a template of the route failed: TypeError"),
        (
            "secret: \"{{ 'x'.encode(key) }}\"",
            "a-key-of-text",
            "a template of the route failed: LookupError: unknown encoding: ***",
        ),
        ("claims: {iss: \"{{ 'x'.encode(key) }}\"}", "a-key-of-text", "LookupError: unknown encoding: ***"),
        ("headers: {kid: \"{{ 'x'.encode(key) }}\"}", "a-key-of-text", "LookupError: unknown encoding: ***"),
    ],
)
def test_an_invalid_key_is_a_problem_of_the_file(options: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_table(plain(options), {"KEY": key})
    assert message in str(raised.value)
    expectations = ("a private", "a secret", "a template", "templates")
    assert any(f"expected {expectation}" in str(raised.value) for expectation in expectations)
    assert key not in str(raised.value)


def test_without_cryptography_the_problem_names_the_package() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from tests.running_bridge import load_table\n"
        f"load_table({plain('algorithm: RS256')!r}, {{'KEY': 'k'}})"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "ConfigError" in process.stderr
    assert "RS256 needs the package cryptography" in process.stderr
    assert "pip install cryptography" in process.stderr
