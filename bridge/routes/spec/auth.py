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
from bridge.routes.rules.settings import URL, TLSSpec
from bridge.routes.spec.value_types import BODY, TEMPLATE

__all__ = ["AWSSpec", "AssertionSpec", "AuthSpec", "BasicSpec", "HMACSpec", "JWTSpec", "OAuth2Spec"]


def public(shape: ValueType, doc: str, **settings: Any) -> Any:
    """Return an option below `auth` that is not a key: only text from outside is secret there."""
    return option(shape, doc, secret=EXTERNAL, **settings)


_TEXT_OR_NONE = Text("a string, which may be empty", pattern="(?s).*")


@record
class BasicSpec:
    user: str = public(TEXT, "the user's name")
    password: str = option(TEXT, "the password")


@record
class AssertionSpec:
    given: str = option(TEXT, "the key, as it was given: a secret, `id.secret`, a PEM", key="key")
    secret: Any = option(
        TEMPLATE, "what of `key` signs, such as {{ key.split('.')[1] }}; else the whole key", default=None
    )
    algorithm: str = public(
        Keyword(ALGORITHMS), "how it is signed; all but HS… need the package cryptography", default="HS256"
    )
    headers: dict[str, Any] = public(MapOf(BODY), "more members of the token's head", default=None)
    claims: dict[str, Any] = public(
        MapOf(BODY),
        "the claims, templates over `$.key`, `$.now` and `$.exp`; `iat` and `exp` are there unless named",
        default=None,
    )
    expires: float = public(DURATION, "how long a token holds; it is used for half of that", default=300.0)


@record
class JWTSpec(AssertionSpec):
    header: str = public(TEXT, "the header that carries the token", default="Authorization")
    prefix: str = public(_TEXT_OR_NONE, "what stands ahead of the token there", default="Bearer ")


@record
class OAuth2Spec:
    token_url: str = public(URL, "where tokens are given")
    client_id: str | None = public(TEXT, "who asks", default=None)
    client_secret: str | None = option(TEXT, "and the secret of that", default=None)
    scope: tuple[str, ...] = public(OneOrMany(TEXT), "the scopes that are asked for", default=())
    audience: str | None = public(TEXT, "whom the token is for", default=None)
    params: dict[str, str] = option(
        MapOf(Text(lenient=True)), "more parameters of the token call", default=None
    )
    grant: str | None = public(
        TEXT, "the grant type; else client_credentials, or the JWT bearer's with `assertion`", default=None
    )
    credentials: str = public(
        Keyword(("body", "basic", "query")),
        "where id and secret are told: in the form, by Authorization: Basic, or with all else in the query",
        default="body",
    )
    assertion: AssertionSpec | None = option(
        Record(AssertionSpec),
        "a signed token to exchange for one, as Google's service accounts do",
        default=None,
    )
    header: str | None = public(
        TEXT, "the header that carries the token alone; else Authorization: Bearer …", default=None
    )
    query: str | None = public(TEXT, "the query parameter that carries the token instead", default=None)
    timeout: float = public(DURATION, "how long a token call may take", default=10.0)
    tls: TLSSpec = public(Record(TLSSpec), "how the token server is trusted", default=TLSSpec())
    proxy: str | None = public(
        Text("the URL of an HTTP proxy"),
        "a forward proxy to the token server; else the upstream's",
        default=None,
    )


@record
class HMACSpec:
    secret: str = option(TEXT, "the key of the hash")
    text: Any = public(
        TEMPLATE, "what is signed, of `method`, `host`, `path`, `query`, `date`, `now`, `body` and `key`"
    )
    known_as: str | None = option(TEXT, "the name of that key, for the templates", default=None, key="key")
    algorithm: str = public(Keyword(("sha256", "sha1", "sha512")), "the hash", default="sha256")
    encoding: str = public(Keyword(("base64", "hex")), "how the signature is written", default="base64")
    headers: dict[str, Any] = public(MapOf(TEMPLATE), "headers, of the same and `signature`", default=None)
    query: dict[str, Any] = public(
        MapOf(TEMPLATE), "query parameters, of the same and `signature`", default=None
    )


@record
class AWSSpec:
    service: str = public(TEXT, "the signing name of the service, such as bedrock")
    region: str = public(TEXT, "its region, such as us-east-1")
    access_key: str | None = option(
        TEXT,
        "the access key; else environment, files and instance role, as AWS's own tools look",
        default=None,
    )
    secret_key: str | None = option(TEXT, "its secret", default=None)
    session_token: str | None = option(TEXT, "the token of temporary keys", default=None)


@record
class AuthSpec:
    bearer: str | None = option(TEXT, "Authorization: Bearer …", default=None)
    header: str | None = public(TEXT, "the name of a header for `value`", default=None)
    query: str | None = public(TEXT, "the name of a query parameter for `value`", default=None)
    value: str | None = option(TEXT, "the key itself", default=None)
    basic: BasicSpec | None = option(Record(BasicSpec), "Authorization: Basic …", default=None)
    oauth2: OAuth2Spec | None = option(
        Record(OAuth2Spec),
        "a token of another server's",
        default=None,
        example='{client_id: "${KEY}", client_secret: "${SECRET}"}',
    )
    jwt: JWTSpec | None = option(
        Record(JWTSpec), "a token that is signed here", default=None, example='{key: "${KEY}"}'
    )
    hmac: HMACSpec | None = option(
        Record(HMACSpec),
        "a signature of each request",
        default=None,
        example='{key: "${KEY}", secret: "${SECRET}"}',
    )
    aws: AWSSpec | None = option(
        Record(AWSSpec), "Amazon's signature of each request", default=None, example="{region: us-east-1}"
    )
