"""Rules of credentials that the bridge makes when a request is sent; `upstream/auth` has a signer for each.

    OAuth2    a token that a token server issues       JWT    a token that the bridge signs
    HMAC      a keyed hash of each request             AWS    AWS Signature Version 4 of each request

Rules have no state. Signers keep tokens by the identity of the rule, so that tokens disappear with the rule
when the file is reloaded. Rules have no `repr`, since all of them contain secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.jwt import JWTSigner
    from bridge.expressions.templates import ValueTemplate
    from bridge.routes.rules.transport import TransportSpec

__all__ = ["AWS", "CLAIM_VARIABLES", "HMAC", "JWT", "SIGNED_VARIABLES", "DynamicAuth", "OAuth2"]

# What the claims of a token may read: the key as written in the file, and Unix times in seconds.
CLAIM_VARIABLES = ("key", "now", "exp")

# What a signed text may read: parts of the request as sent, times, and the public name of the key.
SIGNED_VARIABLES = ("method", "host", "path", "query", "date", "now", "body", "key")


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class JWT:
    """A token that the bridge signs."""

    refreshes_on_401: ClassVar = True

    signer: JWTSigner
    key: str
    headers: Mapping[str, ValueTemplate]  # of the token
    claims: Mapping[str, ValueTemplate]
    expires: float  # lifetime in seconds
    header: str  # of the request, in which the token is sent
    prefix: str  # text before the token in that header

    @property
    def masked(self) -> tuple[str, ...]:
        """Return what the signer adds to a request, with the secret masked."""
        return (f"{self.header}: {self.prefix}***",)


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class OAuth2:
    """A token that a token server issues."""

    refreshes_on_401: ClassVar = True

    url: str  # of the token server
    form: Mapping[str, str]
    form_in_query: bool  # the form is sent in the query, not in the body
    headers: Mapping[str, str]  # of the token request
    assertion: JWT | None  # signed for each token request, and sent in the form
    header: str  # of the upstream request, in which the token is sent
    prefix: str  # text before the token in that header
    query: str | None  # the query parameter in which the token is sent, instead of the header
    transport: TransportSpec  # of token requests
    secrets: tuple[str, ...]  # texts to mask in messages of the token server

    @property
    def masked(self) -> tuple[str, ...]:
        """Return what the signer adds to a request, with the secret masked."""
        return (f"?{self.query}=***" if self.query else f"{self.header}: {self.prefix}***",)


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class HMAC:
    """A keyed hash of each request."""

    refreshes_on_401: ClassVar = False

    secret: str
    key: str  # the public name of the secret
    text: ValueTemplate  # the signed text
    algorithm: str
    encoding: str
    headers: Mapping[str, ValueTemplate]  # templates that also read `signature`
    query: Mapping[str, ValueTemplate]

    @property
    def masked(self) -> tuple[str, ...]:
        """Return what the signer adds to a request, with the secret masked."""
        return (*(f"?{name}=***" for name in self.query), *(f"{name}: ***" for name in self.headers))


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class AWS:
    """AWS Signature Version 4 of each request."""

    refreshes_on_401: ClassVar = False

    service: str
    region: str
    keys: tuple[str, str, str | None] | None  # access key, secret key, session token; None: botocore's own

    @property
    def masked(self) -> tuple[str, ...]:
        """Return what the signer adds to a request, with the secret masked."""
        return ("Authorization: AWS4-HMAC-SHA256 ***",)


DynamicAuth = OAuth2 | JWT | HMAC | AWS
