"""JSON Web Tokens, signed (RFC 7515, 7519): the one file that knows PyJWT.

    Signer("HS256", "secret").sign({"kid": "1"}, {"iss": "me", "exp": 1700000300})  ─▶  "eyJ…"

PyJWT has the algorithms. The token is put together here, so that a key is read and tried once, when the
file is loaded, and not for each token.
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
    """Whether an algorithm can be had here: all but HS… need the package `cryptography`."""
    from jwt.algorithms import get_default_algorithms

    return algorithm in get_default_algorithms()


class JWTSigner:
    """Signs tokens with one key. Raises ValueError where that is no key of the algorithm."""

    __slots__ = ("_algorithm", "_key", "_name")

    def __init__(self, algorithm: str, key: str) -> None:
        # Imported late: with `cryptography` it takes longer than all the rest of a small file's check.
        from jwt.algorithms import get_default_algorithms

        if not key:
            raise ValueError("it is empty")
        self._name = algorithm
        self._algorithm = get_default_algorithms()[algorithm]
        try:
            self._key = self._algorithm.prepare_key(key)
            self.sign({}, {})  # a public key is a key as well, and shows only now that it cannot sign
        except Exception as error:  # each algorithm has its own ways to refuse a key
            raise ValueError(type(error).__name__) from None

    def sign(self, headers: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """The token of these claims in its compact form."""
        head = {"alg": self._name, "typ": "JWT"} | dict(headers)
        signed = _encoded(json.dumps(head)) + b"." + _encoded(json.dumps(claims))
        return (signed + b"." + _encoded(self._algorithm.sign(signed, self._key))).decode()


def _encoded(data: bytes) -> bytes:
    from jwt.utils import base64url_encode

    return base64url_encode(data)
