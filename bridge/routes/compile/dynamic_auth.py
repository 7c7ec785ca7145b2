"""Compilation of credentials that the bridge makes. To add a kind, write a compiler and a row of `DYNAMIC`.

Keys and templates over keys are tried here, so that an invalid key is a problem of the file.
"""

from __future__ import annotations

from base64 import b64encode
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote_plus, urlsplit

from bridge.config.secrets import secret_texts
from bridge.core.errors import BridgeError
from bridge.core.jwt import JWTSigner, is_known
from bridge.expressions.scope import Scope
from bridge.routes.compile.proxies import compile_proxy
from bridge.routes.compile.requests import compile_tls, compile_urls
from bridge.routes.rules.auth_rules import AWS, CLAIM_VARIABLES, HMAC, JWT, SIGNED_VARIABLES, OAuth2
from bridge.routes.rules.transport import TimeoutsSpec, TransportSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.expressions.templates import ValueTemplate
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.rules.proxies import EnvironmentProxies
    from bridge.routes.spec.auth import AssertionSpec, AWSSpec, HMACSpec, OAuth2Spec

__all__ = ["DYNAMIC", "AuthCompiler"]

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523, section 2.1

_MIN_KEY = 8  # characters of a query's value that may be a key, not a version or a flag

_KEY_FORMATS = {  # by the first letters of the algorithm
    "HS": "a secret",
    "RS": "a private RSA key in PEM",
    "PS": "a private RSA key in PEM",
    "ES": "a private key of that curve in PEM",
    "Ed": "a private Ed25519 key in PEM",
}


class AuthCompiler:
    """A compiler of one kind of credentials. Subclasses implement `compile`."""

    def __init__(
        self,
        node: Node,
        environment: LoadEnvironment,
        problems: Problems,
        proxy: str | EnvironmentProxies | None,
    ) -> None:
        self._node = node  # the node of the spec
        self._environment = environment
        self._problems = problems
        self._proxy = proxy  # of the route's upstream

    def compile(self, spec: Any) -> DynamicAuth | None:
        """Return the rule; None if problems were added."""
        raise NotImplementedError

    def _check_reads(self, steps: tuple[str, ...], template: ValueTemplate, names: Iterable[str]) -> bool:
        """Return whether a template reads nothing but these variables, and add problems if not."""
        unknown = sorted(str(name) for name in template.reads if name is not None and name not in names)
        for name in unknown:
            at = self._node.find(steps)
            allowed = {"known": names} if names else {"expected": "no template: no request exists yet"}
            message = f"`{name}` is not available here"
            self._problems.add(at.location, at.path, message, word=name, **allowed)
        return not unknown

    def _problem(self, message: str, expected: str, key: str = "") -> None:
        at = self._node.find((key,)) if key else self._node
        self._problems.add(at.location, at.path, message, expected=expected)


class JWTCompiler(AuthCompiler):
    """The compiler of `jwt`, and of `assertion` in `oauth2`."""

    def compile(self, spec: AssertionSpec) -> JWT | None:
        headers, claims = spec.headers or {}, spec.claims or {}
        for group, templates in (("headers", headers), ("claims", claims)):
            for name, template in templates.items():
                self._check_reads((group, name), template, CLAIM_VARIABLES)
        if spec.expires < 1:
            self._problem("the token's lifetime is too short", "at least 1s", "expires")
        signer = self._signer(spec)
        sample = self._try_templates("headers", headers, spec.key)
        if sample.get("alg", spec.algorithm) != spec.algorithm:
            self._problem(
                "`alg` differs from `algorithm`",
                f"no `alg`: `algorithm` sets it to {spec.algorithm}",
                "headers",
            )
        self._try_templates("claims", claims, spec.key)
        if signer is None:
            return None
        return JWT(
            signer=signer,
            key=str(spec.key),
            headers=headers,
            claims=claims,
            expires=spec.expires,
            header=getattr(spec, "header", ""),  # an assertion has neither header nor prefix
            prefix=getattr(spec, "prefix", ""),
        )

    def _signer(self, spec: AssertionSpec) -> JWTSigner | None:
        """Return the signer with the part of the key that signs; None if a problem was added."""
        if not is_known(spec.algorithm):
            message = f"{spec.algorithm} needs the package cryptography"
            self._problem(message, "pip install cryptography", "algorithm")
            return None
        if spec.secret is not None and not self._check_reads(("secret",), spec.secret, ("key",)):
            return None
        try:
            secret = str(spec.secret(Scope({"key": spec.key}))) if spec.secret else spec.key
            return JWTSigner(spec.algorithm, secret)
        except BridgeError as error:
            self._problem(error.message, "a template of a part of `key`", "secret")
        except ValueError as error:  # its message does not contain the key
            self._problem(
                f"not a valid key for {spec.algorithm}: {error}",
                _KEY_FORMATS[spec.algorithm[:2]],
                "secret" if spec.secret else "key",
            )
        return None

    def _try_templates(self, key: str, templates: Mapping[str, ValueTemplate], value: str) -> dict[str, Any]:
        """Return the values of templates for the actual key, so that a template that fails is a problem."""
        scope = Scope({"key": value, "now": 0, "exp": 0})
        try:
            return {name: template(scope) for name, template in templates.items()}
        except BridgeError as error:
            self._problem(error.message, "templates that can be rendered with `key`", key)
            return {}


class OAuth2Compiler(AuthCompiler):
    """The compiler of `oauth2`."""

    def compile(self, spec: OAuth2Spec) -> OAuth2 | None:
        before = len(self._problems)
        self._check(spec)
        url = self._token_url(spec)
        transport = self._transport(spec)
        assertion = self._assertion(spec)
        if len(self._problems) > before:
            return None
        pair = _basic_pair(spec.client_id or "", spec.client_secret or "")
        return OAuth2(
            url=url,
            form=_form(spec),
            form_in_query=spec.credentials == "query",
            headers={"Authorization": f"Basic {pair}"} if spec.credentials == "basic" else {},
            assertion=assertion,
            header=spec.header or "Authorization",
            prefix="" if spec.header else "Bearer ",
            query=spec.query,
            transport=transport,
            secrets=(pair, *secret_texts(self._node), *_query_texts(url)),
        )

    def _check(self, spec: OAuth2Spec) -> None:
        """Add problems for keys that contradict one another."""
        if spec.client_id is None and spec.assertion is None and not spec.params:
            self._problem(
                "the token request has no credentials",
                "`client_id`, with `client_secret`, or an `assertion`",
            )
        if spec.credentials == "basic" and (spec.client_id is None or spec.client_secret is None):
            self._problem("`credentials: basic` without credentials", "`client_id` and `client_secret`")
        if spec.header is not None and spec.query is not None:
            self._problem("`header` cannot be combined with `query`", "either `header` or `query`")

    def _token_url(self, spec: OAuth2Spec) -> str:
        at = self._node.find(("token_url",))
        (url,) = compile_urls([(spec.token_url, at)], None, at, self._problems)
        return str(url(Scope({}))) if self._check_reads(("token_url",), url, ()) else ""

    def _transport(self, spec: OAuth2Spec) -> TransportSpec:
        tls = compile_tls(spec.tls, self._node.find(("tls",)), self._environment, self._problems)
        limit = spec.timeout
        timeouts = TimeoutsSpec(connect=limit, first_byte=limit, idle=limit, total=limit)
        proxy = self._proxy
        if spec.proxy is not None:
            at = self._node.find(("proxy",))
            proxy = compile_proxy(spec.proxy, at, self._environment, self._problems)
        return TransportSpec(timeouts=timeouts, tls=tls, proxy=proxy)

    def _assertion(self, spec: OAuth2Spec) -> JWT | None:
        if spec.assertion is None:
            return None
        node = self._node.find(("assertion",))
        return JWTCompiler(node, self._environment, self._problems, None).compile(spec.assertion)


class HMACCompiler(AuthCompiler):
    """The compiler of `hmac`."""

    def compile(self, spec: HMACSpec) -> HMAC:
        headers, query = spec.headers or {}, spec.query or {}
        self._check_reads(("text",), spec.text, SIGNED_VARIABLES)
        for group, templates in (("headers", headers), ("query", query)):
            for name, template in templates.items():
                self._check_reads((group, name), template, (*SIGNED_VARIABLES, "signature"))
        if not any("signature" in template.reads for template in (*headers.values(), *query.values())):
            self._problem("no template reads the signature", "`headers` or `query` with {{ signature }}")
        return HMAC(
            secret=spec.secret,
            key=spec.key or "",
            text=spec.text,
            algorithm=spec.algorithm,
            encoding=spec.encoding,
            headers=headers,
            query=query,
        )


class AWSCompiler(AuthCompiler):
    """The compiler of `aws`."""

    def compile(self, spec: AWSSpec) -> AWS:
        if find_spec("botocore") is None:
            self._problem("`aws` needs the package botocore", "pip install botocore")
        keys = None
        if spec.access_key is not None and spec.secret_key is not None:
            keys = (spec.access_key, spec.secret_key, spec.session_token)
        elif (spec.access_key, spec.secret_key, spec.session_token) != (None, None, None):
            self._problem("the key is incomplete", "`access_key` and `secret_key`, or neither")
        return AWS(service=spec.service, region=spec.region, keys=keys)


def _basic_pair(client_id: str, secret: str) -> str:
    """Return credentials for Authorization: Basic, form-encoded first (RFC 6749, section 2.3.1)."""
    return b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def _query_texts(url: str) -> Iterator[str]:
    """Yield the query of a URL, and the values in the query that are long enough for a key."""
    query = urlsplit(url).query
    yield query
    yield from (value for _, value in parse_qsl(query) if len(value) >= _MIN_KEY)


def _form(spec: OAuth2Spec) -> Mapping[str, str]:
    """Return the parameters of the token request."""
    grant = spec.grant or (_JWT_BEARER if spec.assertion else "client_credentials")
    optional = {"scope": " ".join(spec.scope), "audience": spec.audience}
    if spec.credentials != "basic":
        optional |= {"client_id": spec.client_id, "client_secret": spec.client_secret}
    return {
        "grant_type": grant,
        **{name: value for name, value in optional.items() if value},
        **(spec.params or {}),
    }


DYNAMIC: Final[dict[str, type[AuthCompiler]]] = {
    "oauth2": OAuth2Compiler,
    "jwt": JWTCompiler,
    "hmac": HMACCompiler,
    "aws": AWSCompiler,
}
