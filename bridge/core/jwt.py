"""Signed JSON Web Tokens (RFC 7515, 7519). No other module imports PyJWT.

    JWTSigner("HS256", "secret").sign({"kid": "1"}, {"iss": "me", "exp": 1700000300})  ─▶  "eyJ…"

Only the algorithms are PyJWT's. Its `encode` would parse the key for each token; here the key is parsed and
tried once, when the file is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALGORITHMS", "JWTSigner", "is_known"]

ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


def is_known(algorithm: str) -> bool:
    """Return whether an algorithm is available: all but HS… require the package `cryptography`."""
    from jwt.algorithms import get_default_algorithms

    return algorithm in get_default_algorithms()


class JWTSigner:
    """Signs tokens with one key."""

    __slots__ = ("_algorithm", "_key", "_name")

    def __init__(self, algorithm: str, key: str) -> None:
        """Parse and try a key. Raises ValueError if the key is not valid for the algorithm."""
        # With `cryptography`, this import takes longer than all other steps of loading a small file.
        from jwt.algorithms import get_default_algorithms

        if not key:
            raise ValueError("it is empty")
        self._name = algorithm
        self._algorithm = get_default_algorithms()[algorithm]
        try:
            self._key = self._algorithm.prepare_key(key)
            self.sign({}, {})  # fails with a public key, which parses as well
        except Exception as error:  # each algorithm raises exceptions of its own
            raise ValueError(type(error).__name__) from None

    def sign(self, headers: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """Return a token in compact form."""
        header = {"alg": self._name, "typ": "JWT"} | dict(headers)
        signed = _base64url(json.dumps(header)) + b"." + _base64url(json.dumps(claims))
        return (signed + b"." + _base64url(self._algorithm.sign(signed, self._key))).decode()


def _base64url(data: bytes) -> bytes:
    from jwt.utils import base64url_encode

    return base64url_encode(data)
