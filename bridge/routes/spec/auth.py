"""How a server is shown a key: one that stands in the file, or one that is made while the bridge runs."""

from __future__ import annotations

from typing import Any

from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.value_types import TEXT, Keyword, MapOf, OneOrMany, Text
from bridge.core.jwt import ALGORITHMS
from bridge.routes.rules.settings import URL, TLSSpec
from bridge.routes.spec.value_types import BODY, TEMPLATE

__all__ = ["AWSSpec", "AssertionSpec", "AuthSpec", "BasicSpec", "HMACSpec", "JWTSpec", "OAuth2Spec"]

_TEXT_OR_NONE = Text("a string, which may be empty", pattern="(?s).*")


@record
class BasicSpec:
    user: str = option(TEXT, "the user's name")
    password: str = option(TEXT, "the password")


@record
class AssertionSpec:
    given: str = option(TEXT, "the key, as it was given: a secret, `id.secret`, a PEM", name="key")
    secret: Any = option(
        TEMPLATE, "what of `key` signs, such as {{ key.split('.')[1] }}; else the whole key", default=None
    )
    algorithm: str = option(
        Keyword(ALGORITHMS), "how it is signed; all but HS… need the package cryptography", default="HS256"
    )
    headers: dict[str, Any] = option(MapOf(BODY), "more members of the token's head", default=None)
    claims: dict[str, Any] = option(
        MapOf(BODY),
        "the claims, templates over `$.key`, `$.now` and `$.exp`; `iat` and `exp` are there unless named",
        default=None,
    )
    expires: float = option(DURATION, "how long a token holds; it is used for half of that", default=300.0)


@record
class JWTSpec(AssertionSpec):
    header: str = option(TEXT, "the header that carries the token", default="Authorization")
    prefix: str = option(_TEXT_OR_NONE, "what stands ahead of the token there", default="Bearer ")


@record
class OAuth2Spec:
    token_url: str = option(URL, "where tokens are given")
    client_id: str | None = option(TEXT, "who asks", default=None)
    client_secret: str | None = option(TEXT, "and the secret of that", default=None)
    scope: tuple[str, ...] = option(OneOrMany(TEXT), "the scopes that are asked for", default=())
    audience: str | None = option(TEXT, "whom the token is for", default=None)
    params: dict[str, str] = option(
        MapOf(Text(lenient=True)), "more parameters of the token call", default=None
    )
    grant: str | None = option(
        TEXT, "the grant type; else client_credentials, or the JWT bearer's with `assertion`", default=None
    )
    credentials: str = option(
        Keyword(("body", "basic", "query")),
        "where id and secret are told: in the form, by Authorization: Basic, or with all else in the query",
        default="body",
    )
    assertion: AssertionSpec | None = option(
        Record(AssertionSpec),
        "a signed token to exchange for one, as Google's service accounts do",
        default=None,
    )
    header: str | None = option(
        TEXT, "the header that carries the token alone; else Authorization: Bearer …", default=None
    )
    query: str | None = option(TEXT, "the query parameter that carries the token instead", default=None)
    timeout: float = option(DURATION, "how long a token call may take", default=10.0)
    tls: TLSSpec = option(Record(TLSSpec), "how the token server is trusted", default=TLSSpec())
    proxy: str | None = option(
        Text("the URL of an HTTP proxy"),
        "a forward proxy to the token server; else the upstream's",
        default=None,
    )


@record
class HMACSpec:
    secret: str = option(TEXT, "the key of the hash")
    text: Any = option(
        TEMPLATE, "what is signed, of `method`, `host`, `path`, `query`, `date`, `now`, `body` and `key`"
    )
    known_as: str | None = option(TEXT, "the name of that key, for the templates", default=None, name="key")
    algorithm: str = option(Keyword(("sha256", "sha1", "sha512")), "the hash", default="sha256")
    encoding: str = option(Keyword(("base64", "hex")), "how the signature is written", default="base64")
    headers: dict[str, Any] = option(MapOf(TEMPLATE), "headers, of the same and `signature`", default=None)
    query: dict[str, Any] = option(
        MapOf(TEMPLATE), "query parameters, of the same and `signature`", default=None
    )


@record
class AWSSpec:
    service: str = option(TEXT, "the signing name of the service, such as bedrock")
    region: str = option(TEXT, "its region, such as us-east-1")
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
    header: str | None = option(TEXT, "the name of a header for `value`", default=None)
    query: str | None = option(TEXT, "the name of a query parameter for `value`", default=None)
    value: str | None = option(TEXT, "the key itself", default=None)
    basic: BasicSpec | None = option(Record(BasicSpec), "Authorization: Basic …", default=None)
    oauth2: OAuth2Spec | None = option(Record(OAuth2Spec), "a token of another server's", default=None)
    jwt: JWTSpec | None = option(Record(JWTSpec), "a token that is signed here", default=None)
    hmac: HMACSpec | None = option(Record(HMACSpec), "a signature of each request", default=None)
    aws: AWSSpec | None = option(Record(AWSSpec), "Amazon's signature of each request", default=None)
