"""The keys below `auth`: credentials in the file, and settings of credentials that the bridge makes.

Everything below `auth` is secret by the declaration of `auth` itself, unless it is declared as `public`: a
new way to authenticate cannot forget to mark its secrets.
"""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import MapOf, OneOrMany
from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Keyword, Text, ValueType
from bridge.core.jwt import ALGORITHMS
from bridge.routes.rules.transport import PROXY, URL, TLSSpec
from bridge.routes.spec.value_types import BODY, HEADER_NAME, HEADER_TEXT, HEADERS, QUERY, TEMPLATE

__all__ = ["AWSSpec", "AssertionSpec", "AuthSpec", "BasicSpec", "HMACSpec", "JWTSpec", "OAuth2Spec"]

_PREFIX = Text("a string on one line, which may be empty", pattern=r"[^\r\n\0\ud800-\udfff]*")


def public(value_type: ValueType, doc: str, **settings: Any) -> Any:
    """Return an option below `auth` that is not a key: only text from outside is secret there."""
    return option(value_type, doc, secret=EXTERNAL, **settings)


@record
class BasicSpec:
    """HTTP Basic authentication."""

    user: str = public(TEXT, "the user's name")
    password: str = option(TEXT, "the user's password")


@record
class AssertionSpec:
    """A token that the bridge signs."""

    key: str = option(TEXT, "the key as the vendor issued it: a secret, `id.secret`, a PEM")
    secret: Any = option(
        TEMPLATE,
        "the part of `key` that signs, such as {{ key.split('.')[1] }}; if absent: the whole key",
        default=None,
    )
    algorithm: str = public(
        Keyword(ALGORITHMS),
        "the signature algorithm; all except HS… need the package cryptography",
        default="HS256",
    )
    headers: dict[str, Any] = public(MapOf(BODY), "further members of the token's header", default=None)
    claims: dict[str, Any] = public(
        MapOf(BODY),
        "the claims, templates over `$.key`, `$.now` and `$.exp`; `iat` and `exp` are added unless named",
        default=None,
    )
    expires: float = public(
        DURATION, "the token's lifetime; each token is used for half of its lifetime", default=300.0
    )


@record
class JWTSpec(AssertionSpec):
    """A token that the bridge signs, and the header that carries the token."""

    header: str = public(HEADER_NAME, "the upstream header that carries the token", default="Authorization")
    prefix: str = public(_PREFIX, "the text before the token in that header", default="Bearer ")


@record
class OAuth2Spec:
    """A token that a token server issues."""

    token_url: str = public(URL, "the token server's URL")
    client_id: str | None = public(TEXT, "the client's id at the token server", default=None)
    client_secret: str | None = option(TEXT, "the client's secret at the token server", default=None)
    scope: tuple[str, ...] = public(OneOrMany(TEXT), "the scopes of the token", default=())
    audience: str | None = public(TEXT, "the audience of the token", default=None)
    params: dict[str, str] = option(
        MapOf(Text(lenient=True)), "further parameters of the token request", default=None
    )
    grant: str | None = public(
        TEXT,
        "the grant type; if absent: client_credentials, with `assertion` JWT bearer (RFC 7523)",
        default=None,
    )
    credentials: str = public(
        Keyword(("body", "basic", "query")),
        "where the credentials are sent: in the form, in `Authorization: Basic`, or with all other "
        "parameters in the query",
        default="body",
    )
    assertion: AssertionSpec | None = option(
        Record(AssertionSpec),
        "a signed token to exchange for an access token, as Google's service accounts do",
        default=None,
    )
    header: str | None = public(
        HEADER_NAME,
        "the upstream header that carries the token alone; if absent: Authorization: Bearer …",
        default=None,
    )
    query: str | None = public(TEXT, "the upstream query parameter that carries the token", default=None)
    timeout: float = public(DURATION, "the longest time for a token request", default=10.0)
    tls: TLSSpec = public(Record(TLSSpec), "the certificates of the token server", default=TLSSpec())
    proxy: str | None = public(
        PROXY, "a forward proxy for token requests; if absent: the upstream's; if empty: none", default=None
    )


@record
class HMACSpec:
    """A keyed hash of each request."""

    secret: str = option(TEXT, "the key of the hash")
    text: Any = public(
        TEMPLATE,
        "the signed text, of `method`, `host`, `path`, `query`, `date`, `now`, `body` and `key`",
    )
    key: str | None = option(HEADER_TEXT, "the public name of the key, for the templates", default=None)
    algorithm: str = public(Keyword(("sha256", "sha1", "sha512")), "the hash algorithm", default="sha256")
    encoding: str = public(Keyword(("base64", "hex")), "the encoding of the signature", default="base64")
    headers: dict[str, Any] = public(
        HEADERS, "headers to send, of the names above and `signature`", default=None
    )
    query: dict[str, Any] = public(
        QUERY, "query parameters to send, of the names above and `signature`", default=None
    )


@record
class AWSSpec:
    """AWS Signature Version 4 of each request."""

    service: str = public(TEXT, "the signing name of the service, such as bedrock")
    region: str = public(TEXT, "the region of the service, such as us-east-1")
    access_key: str | None = option(
        HEADER_TEXT,
        "the access key; if absent: that of the environment, of AWS's files, or of the instance's role",
        default=None,
    )
    secret_key: str | None = option(TEXT, "the secret key of the access key", default=None)
    session_token: str | None = option(HEADER_TEXT, "the session token of temporary keys", default=None)


@record
class AuthSpec:
    """The authentication of the bridge to the upstream."""

    bearer: str | None = option(HEADER_TEXT, "the key in `Authorization: Bearer …`", default=None)
    header: str | None = public(HEADER_NAME, "the name of a header that carries `value`", default=None)
    query: str | None = public(TEXT, "the name of a query parameter that carries `value`", default=None)
    value: str | None = option(HEADER_TEXT, "the key that `header` or `query` carries", default=None)
    basic: BasicSpec | None = option(
        Record(BasicSpec), "the name and password in `Authorization: Basic …`", default=None
    )
    oauth2: OAuth2Spec | None = option(
        Record(OAuth2Spec),
        "a token that a token server issues",
        default=None,
        example='{client_id: "${KEY}", client_secret: "${SECRET}"}',
    )
    jwt: JWTSpec | None = option(
        Record(JWTSpec), "a token that the bridge signs", default=None, example='{key: "${KEY}"}'
    )
    hmac: HMACSpec | None = option(
        Record(HMACSpec),
        "a keyed hash of each request",
        default=None,
        example='{key: "${KEY}", secret: "${SECRET}"}',
    )
    aws: AWSSpec | None = option(
        Record(AWSSpec),
        "AWS Signature Version 4 of each request",
        default=None,
        example="{region: us-east-1}",
    )
