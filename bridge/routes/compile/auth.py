"""Compiles `auth`: keys that stand in the file, and the rules for credentials that are made.

    {bearer: …}                      ─▶ headers and query parameters, the same in each request
    {oauth2: …} {jwt: …} {hmac: …} {aws: …}   ─▶ a description of `signing`, which floor 3 acts on

What can be wrong with a key shows here: it is read, and tried, before anything is served.
"""

from __future__ import annotations

from base64 import b64encode
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from bridge.config.secrets import secret_texts
from bridge.core.errors import BridgeError
from bridge.core.jwt import JWTSigner, is_known
from bridge.expressions.scope import Scope
from bridge.expressions.templates import ValueTemplate
from bridge.routes.compile.requests import compile_tls, compile_urls
from bridge.routes.rules.auth_rules import AWS, CLAIM_VARIABLES, HMAC, JWT, SIGNED, OAuth2
from bridge.routes.rules.settings import TimeoutsSpec, TransportSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.spec.auth import AssertionSpec, AuthSpec, AWSSpec, HMACSpec, OAuth2Spec

__all__ = ["compile_auth", "compile_dynamic_auth"]

Texts = dict[str, ValueTemplate]

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523, section 2.1


def compile_auth(auth: AuthSpec | str | None, node: Node, problems: Problems) -> tuple[Texts, Texts]:
    """The headers and query parameters that carry a key of the file."""
    if auth is None or isinstance(auth, str):
        return {}, {}
    ways = [name for name in (*_STATIC, *_DYNAMIC) if getattr(auth, name) is not None]
    if len(ways) != 1 or (auth.value is None) is (ways[0] in ("header", "query")):
        problems.add(
            node.location,
            node.path,
            "this is no way to show a key",
            expected="one of {bearer}, {header, value}, {query, value}, {basic: {user, password}}, "
            + "".join(f"{{{name}: …}}, " for name in _DYNAMIC).removesuffix(", ")
            + " or client",
        )
        return {}, {}
    if auth.bearer is not None:
        return {"Authorization": _constant(f"Bearer {auth.bearer}")}, {}
    if auth.basic is not None:
        pair = f"{auth.basic.user}:{auth.basic.password}".encode()
        return {"Authorization": _constant(f"Basic {b64encode(pair).decode()}")}, {}
    if auth.value is None:
        return {}, {}
    key = _constant(str(auth.value))
    return ({auth.header: key}, {}) if auth.header is not None else ({}, {str(auth.query): key})


def compile_dynamic_auth(
    auth: AuthSpec | str | None,
    node: Node,
    environment: LoadEnvironment,
    problems: Problems,
    *,
    proxy: str | None,
) -> DynamicAuth | None:
    """How the route's credential is made, where it is; `proxy` is the way out that the upstream has."""
    if auth is None or isinstance(auth, str):
        return None
    for name in _DYNAMIC:
        spec = getattr(auth, name)
        if spec is not None:
            return AuthCompiler(node.find((name,)), environment, problems, proxy).compile(name, spec)
    return None


class AuthCompiler:
    """Compiles one description; `node` is where it stands."""

    def __init__(
        self, node: Node, environment: LoadEnvironment, problems: Problems, proxy: str | None
    ) -> None:
        self._node = node
        self._surroundings = environment
        self._problems = problems
        self._proxy = proxy

    def compile(self, name: str, spec: Any) -> DynamicAuth | None:
        return _DYNAMIC[name](self, spec)

    def oauth2(self, spec: OAuth2Spec) -> OAuth2 | None:
        before = len(self._problems)
        if spec.client_id is None and spec.assertion is None and not spec.params:
            self._problem("who asks for the token?", "`client_id`, with `client_secret`, or an `assertion`")
        if spec.credentials == "basic" and (spec.client_id is None or spec.client_secret is None):
            self._problem("nothing to show by `credentials: basic`", "`client_id` and `client_secret`")
        if spec.header is not None and spec.query is not None:
            self._problem("the token goes to one place", "either `header` or `query`")
        at = self._node.find(("token_url",))
        (url,) = compile_urls([(spec.token_url, at)], None, at, self._problems)
        self._known(("token_url",), url, ())
        tls = compile_tls(spec.tls, self._node.find(("tls",)), self._surroundings, self._problems)
        assertion = None
        if spec.assertion is not None:
            within = AuthCompiler(self._node.find(("assertion",)), self._surroundings, self._problems, None)
            assertion = within.jwt(spec.assertion)
        if len(self._problems) > before:
            return None
        pair = _pair(spec.client_id or "", spec.client_secret or "")
        limit = spec.timeout
        wait = TimeoutsSpec(connect=limit, first_byte=limit, idle=limit, total=limit)
        return OAuth2(
            url=str(url(Scope({}))),
            form=_form(spec),
            form_in_query=spec.credentials == "query",
            headers={"Authorization": f"Basic {pair}"} if spec.credentials == "basic" else {},
            assertion=assertion,
            header=spec.header or "Authorization",
            prefix="" if spec.header else "Bearer ",
            query=spec.query,
            transport=TransportSpec(timeouts=wait, tls=tls, proxy=spec.proxy or self._proxy),
            secrets=tuple({pair} | _spellings(secret_texts(self._node))),
        )

    def jwt(self, spec: AssertionSpec) -> JWT | None:
        headers, claims = spec.headers or {}, spec.claims or {}
        for group, builders in (("headers", headers), ("claims", claims)):
            for name, builder in builders.items():
                self._known((group, name), builder, CLAIM_VARIABLES)
        if spec.expires < 1:
            self._problem("a token that expires at once is of no use", "at least 1s", "expires")
        signer = self._signer(spec)
        head = self._tried("headers", headers, spec.given)
        if head.get("alg", spec.algorithm) != spec.algorithm:
            self._problem(f"the token's `alg` is {spec.algorithm}", "`algorithm` alone to say it", "headers")
        self._tried("claims", claims, spec.given)
        if signer is None:
            return None
        return JWT(
            signer=signer,
            key=str(spec.given),
            headers=headers,
            claims=claims,
            expires=spec.expires,
            header=getattr(spec, "header", ""),
            prefix=getattr(spec, "prefix", ""),
        )

    def hmac(self, spec: HMACSpec) -> HMAC:
        headers, query = spec.headers or {}, spec.query or {}
        self._known(("text",), spec.text, SIGNED)
        for group, builders in (("headers", headers), ("query", query)):
            for name, builder in builders.items():
                self._known((group, name), builder, (*SIGNED, "signature"))
        if not any("signature" in builder.reads for builder in (*headers.values(), *query.values())):
            self._problem("the signature goes nowhere", "`headers` or `query` with {{ signature }}")
        return HMAC(
            secret=spec.secret,
            key=spec.known_as or "",
            text=spec.text,
            algorithm=spec.algorithm,
            encoding=spec.encoding,
            headers=headers,
            query=query,
        )

    def aws(self, spec: AWSSpec) -> AWS:
        if find_spec("botocore") is None:
            self._problem("AWS's signatures need the package botocore", "pip install botocore")
        keys = None
        if spec.access_key is not None and spec.secret_key is not None:
            keys = (spec.access_key, spec.secret_key, spec.session_token)
        elif (spec.access_key, spec.secret_key, spec.session_token) != (None, None, None):
            self._problem("half a key", "`access_key` and `secret_key`, or neither")
        return AWS(service=spec.service, region=spec.region, keys=keys)

    def _signer(self, spec: AssertionSpec) -> JWTSigner | None:
        """The key that signs, cut out of the one that was given."""
        if not is_known(spec.algorithm):
            self._problem(
                f"{spec.algorithm} needs the package cryptography", "pip install cryptography", "algorithm"
            )
            return None
        if spec.secret is not None and not self._known(("secret",), spec.secret, ("key",)):
            return None
        try:
            secret = str(spec.secret(Scope({"key": spec.given}))) if spec.secret else spec.given
            return JWTSigner(spec.algorithm, secret)
        except BridgeError as error:
            self._problem(error.message, "a template of a part of `key`", "secret")
        except ValueError as error:  # told without the key
            self._problem(
                f"this is no key for {spec.algorithm}: {error}",
                _KEYS[spec.algorithm[:2]],
                "secret" if spec.secret else "key",
            )
        return None

    def _tried(self, name: str, builders: Mapping[str, ValueTemplate], key: str) -> dict[str, Any]:
        """What templates give that read nothing but a key and times, so that one that fails does so here."""
        scope = Scope({"key": key, "now": 0, "exp": 0})
        try:
            return {member: build(scope) for member, build in builders.items()}
        except BridgeError as error:
            self._problem(error.message, "templates that the key suits", name)
            return {}

    def _known(self, steps: tuple[str, ...], builder: ValueTemplate, names: Iterable[str]) -> bool:
        """Whether a template reads nothing but these."""
        unknown = sorted(str(name) for name in builder.reads if name is not None and name not in names)
        for name in unknown:
            at = self._node.find(steps)
            known = {"known": names} if names else {"expected": "no template: nothing is asked for yet"}
            self._problems.add(at.location, at.path, f"`{name}` is not known here", word=name, **known)
        return not unknown

    def _problem(self, message: str, expected: str, name: str = "") -> None:
        at = self._node.find((name,)) if name else self._node
        self._problems.add(at.location, at.path, message, expected=expected)


def _pair(client_id: str, secret: str) -> str:
    """Both as Authorization: Basic shows them: encoded as in a form first (RFC 6749, section 2.3.1)."""
    return b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def _form(spec: OAuth2Spec) -> Mapping[str, str]:
    """What is told to the token server."""
    grant = spec.grant or (_JWT_BEARER if spec.assertion else "client_credentials")
    said = {"scope": " ".join(spec.scope), "audience": spec.audience}
    if spec.credentials != "basic":
        said |= {"client_id": spec.client_id, "client_secret": spec.client_secret}
    return {
        "grant_type": grant,
        **{name: value for name, value in said.items() if value},
        **(spec.params or {}),
    }


def _spellings(secrets: Iterable[str]) -> set[str]:
    """Return secrets as a server may repeat them: as they are, or as a form encodes them."""
    return {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}


def _constant(text: str) -> ValueTemplate:
    return ValueTemplate(lambda scope: text, set(), set(), literal=True)


_KEYS = {
    "HS": "a secret",
    "RS": "a private RSA key in PEM",
    "PS": "a private RSA key in PEM",
    "ES": "a private key of that curve in PEM",
    "Ed": "a private Ed25519 key in PEM",
}

_STATIC = ("bearer", "header", "query", "basic")
_DYNAMIC: dict[str, Callable[[AuthCompiler, Any], DynamicAuth | None]] = {
    "oauth2": AuthCompiler.oauth2,
    "jwt": AuthCompiler.jwt,
    "hmac": AuthCompiler.hmac,
    "aws": AuthCompiler.aws,
}
