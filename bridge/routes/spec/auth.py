"""How a server is shown a key: one that stands in the file, or one that is made while the bridge runs."""

from __future__ import annotations

from typing import Any

from bridge.config.quantities import DURATION
from bridge.config.records import Record, key, record
from bridge.config.value_types import TEXT, Choice, MapOf, OneOrMany, Text
from bridge.core.jwt import ALGORITHMS
from bridge.routes.rules.settings import URL, TLSSpec
from bridge.routes.spec.value_types import BODY, TEMPLATE

__all__ = ["AWSSpec", "AssertionSpec", "AuthSpec", "BasicSpec", "HMACSpec", "JWTSpec", "OAuth2Spec"]

_TEXT_OR_NONE = Text("a string, which may be empty", pattern="(?s).*")


@record
class BasicSpec:
    user: str = key(TEXT, "the user's name")
    password: str = key(TEXT, "the password")


@record
class AssertionSpec:
    given: str = key(TEXT, "the key, as it was given: a secret, `id.secret`, a PEM", name="key")
    secret: Any = key(
        TEMPLATE, "what of `key` signs, such as {{ key.split('.')[1] }}; else the whole key", default=None
    )
    algorithm: str = key(
        Choice(ALGORITHMS), "how it is signed; all but HS… need the package cryptography", default="HS256"
    )
    headers: dict[str, Any] = key(MapOf(BODY), "more members of the token's head", default=None)
    claims: dict[str, Any] = key(
        MapOf(BODY),
        "the claims, templates over `$.key`, `$.now` and `$.exp`; `iat` and `exp` are there unless named",
        default=None,
    )
    expires: float = key(DURATION, "how long a token holds; it is used for half of that", default=300.0)


@record
class JWTSpec(AssertionSpec):
    header: str = key(TEXT, "the header that carries the token", default="Authorization")
    prefix: str = key(_TEXT_OR_NONE, "what stands ahead of the token there", default="Bearer ")


@record
class OAuth2Spec:
    token_url: str = key(URL, "where tokens are given")
    client_id: str | None = key(TEXT, "who asks", default=None)
    client_secret: str | None = key(TEXT, "and the secret of that", default=None)
    scope: tuple[str, ...] = key(OneOrMany(TEXT), "the scopes that are asked for", default=())
    audience: str | None = key(TEXT, "whom the token is for", default=None)
    params: dict[str, str] = key(MapOf(Text(lenient=True)), "more parameters of the token call", default=None)
    grant: str | None = key(
        TEXT, "the grant type; else client_credentials, or the JWT bearer's with `assertion`", default=None
    )
    credentials: str = key(
        Choice(("body", "basic", "query")),
        "where id and secret are told: in the form, by Authorization: Basic, or with all else in the query",
        default="body",
    )
    assertion: AssertionSpec | None = key(
        Record(AssertionSpec),
        "a signed token to exchange for one, as Google's service accounts do",
        default=None,
    )
    header: str | None = key(
        TEXT, "the header that carries the token alone; else Authorization: Bearer …", default=None
    )
    query: str | None = key(TEXT, "the query parameter that carries the token instead", default=None)
    timeout: float = key(DURATION, "how long a token call may take", default=10.0)
    tls: TLSSpec = key(Record(TLSSpec), "how the token server is trusted", default=TLSSpec())
    proxy: str | None = key(
        Text("the URL of an HTTP proxy"),
        "a forward proxy to the token server; else the upstream's",
        default=None,
    )


@record
class HMACSpec:
    secret: str = key(TEXT, "the key of the hash")
    text: Any = key(
        TEMPLATE, "what is signed, of `method`, `host`, `path`, `query`, `date`, `now`, `body` and `key`"
    )
    known_as: str | None = key(TEXT, "the name of that key, for the templates", default=None, name="key")
    algorithm: str = key(Choice(("sha256", "sha1", "sha512")), "the hash", default="sha256")
    encoding: str = key(Choice(("base64", "hex")), "how the signature is written", default="base64")
    headers: dict[str, Any] = key(MapOf(TEMPLATE), "headers, of the same and `signature`", default=None)
    query: dict[str, Any] = key(
        MapOf(TEMPLATE), "query parameters, of the same and `signature`", default=None
    )


@record
class AWSSpec:
    service: str = key(TEXT, "the signing name of the service, such as bedrock")
    region: str = key(TEXT, "its region, such as us-east-1")
    access_key: str | None = key(
        TEXT,
        "the access key; else environment, files and instance role, as AWS's own tools look",
        default=None,
    )
    secret_key: str | None = key(TEXT, "its secret", default=None)
    session_token: str | None = key(TEXT, "the token of temporary keys", default=None)


@record
class AuthSpec:
    bearer: str | None = key(TEXT, "Authorization: Bearer …", default=None)
    header: str | None = key(TEXT, "the name of a header for `value`", default=None)
    query: str | None = key(TEXT, "the name of a query parameter for `value`", default=None)
    value: str | None = key(TEXT, "the key itself", default=None)
    basic: BasicSpec | None = key(Record(BasicSpec), "Authorization: Basic …", default=None)
    oauth2: OAuth2Spec | None = key(Record(OAuth2Spec), "a token of another server's", default=None)
    jwt: JWTSpec | None = key(Record(JWTSpec), "a token that is signed here", default=None)
    hmac: HMACSpec | None = key(Record(HMACSpec), "a signature of each request", default=None)
    aws: AWSSpec | None = key(Record(AWSSpec), "Amazon's signature of each request", default=None)
