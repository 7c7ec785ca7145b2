"""Credentials that are made while the bridge runs, as the file describes them: the rules for making them.

    OAuth2   a token that another server gives        JWT    a token that is signed here
    HMAC     a signature of each request              AWS    Amazon's signature of each request

They hold no state. What was made by one is kept as long as the description itself, so two that say the
same are two. None can be printed: all hold secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.jwt import JWTSigner
    from bridge.expressions.templates import ValueTemplate
    from bridge.routes.rules.settings import TransportSpec

__all__ = ["AWS", "CLAIM_VARIABLES", "HMAC", "JWT", "SIGNED", "DynamicAuth", "OAuth2"]

CLAIM_VARIABLES = ("key", "now", "exp")
"""What the claims of a token may read: the key as the file gives it, and times in seconds since 1970."""

SIGNED = ("method", "host", "path", "query", "date", "now", "body", "key")
"""What a signed text may read: parts of the request as they are sent, times, and the public key."""


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class JWT:
    """A token signed here. `expires`: seconds; `prefix` stands ahead of it in the header."""

    renews: ClassVar = False

    signer: JWTSigner
    key: str
    headers: Mapping[str, ValueTemplate]
    claims: Mapping[str, ValueTemplate]
    expires: float
    header: str
    prefix: str

    @property
    def shows(self) -> tuple[str, ...]:
        """What of it will be in a request, for people."""
        return (f"{self.header}: {self.prefix}***",)


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class OAuth2:
    """A token of another server's, asked for at `url` with a `form`, or with that in the query.

    An `assertion` is signed for each call and joins the form. The token goes to the query parameter `query`,
    or into `header` behind `prefix`. `secrets` must not be told.
    """

    renews: ClassVar = True

    url: str
    form: Mapping[str, str]
    form_in_query: bool
    headers: Mapping[str, str]
    assertion: JWT | None
    header: str
    prefix: str
    query: str | None
    transport: TransportSpec
    secrets: tuple[str, ...]

    @property
    def shows(self) -> tuple[str, ...]:
        """What of it will be in a request, for people."""
        return (f"?{self.query}=***" if self.query else f"{self.header}: {self.prefix}***",)


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class HMAC:
    """A keyed hash of `text`; `headers` and `query` are templates that show it as `signature`."""

    renews: ClassVar = False

    secret: str
    key: str
    text: ValueTemplate
    algorithm: str
    encoding: str
    headers: Mapping[str, ValueTemplate]
    query: Mapping[str, ValueTemplate]

    @property
    def shows(self) -> tuple[str, ...]:
        """What of it will be in a request, for people."""
        return (*(f"?{name}=***" for name in self.query), *(f"{name}: ***" for name in self.headers))


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class AWS:
    """Signature Version 4. `keys`: access key, secret key, session token; None: those of the environment."""

    renews: ClassVar = False

    service: str
    region: str
    keys: tuple[str, str, str | None] | None

    @property
    def shows(self) -> tuple[str, ...]:
        """What of it will be in a request, for people."""
        return ("Authorization: AWS4-HMAC-SHA256 ***",)


DynamicAuth = OAuth2 | JWT | HMAC | AWS
