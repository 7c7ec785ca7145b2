"""Forward proxies that the environment names (`proxy: environment`), and the servers that need none."""

from __future__ import annotations

import pytest

from bridge.core.errors import ConfigError
from bridge.routes.rules.proxies import Bypass, EnvironmentProxies, proxy_for
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import load_table, run_bridge
from tests.upstream.formats import completion

GOOD = http_response(completion("hello"))
PROXIED = http_response(completion("by the proxy"))
PROXY = "http://proxy:3128"

# Entries of NO_PROXY, and URLs with whether they bypass the proxy: as in curl and Go's httpproxy.
BYPASSES = {
    "": [("http://a", False)],
    "*": [("http://a", True), ("https://1.2.3.4:99", True)],
    "example.com": [
        ("http://example.com", True),
        ("http://EXAMPLE.com.", True),
        ("http://api.example.com", True),
        ("http://badexample.com", False),
        ("http://example.com.org", False),
    ],
    ".example.com": [("http://api.example.com", True), ("http://example.com", True)],
    "*.example.com": [("http://api.example.com", True)],
    "example.com:8080": [("http://example.com:8080", True), ("http://example.com", False)],
    "example.com:80": [("http://example.com", True), ("https://example.com", False)],
    "10.0.0.0/8": [("http://10.1.2.3", True), ("http://11.1.2.3", False), ("http://ten.test", False)],
    "127.0.0.1": [("http://127.0.0.1:8000", True), ("http://127.0.0.2", False)],
    "::1": [("http://[::1]:8000", True), ("http://[::2]", False)],
    "[::1]:80": [("http://[::1]", True), ("http://[::1]:81", False)],
    "fd00::/8": [("ws://[fd12::1]/", True)],
    "localhost, a.test\tb.test": [("http://localhost", True), ("http://b.test", True), ("http://c", False)],
}


def proxies(**variables: str) -> str | EnvironmentProxies | None:
    text = "routes: [{models: m, upstream: {url: 'http://a', proxy: environment}}]"
    return load_table(text, variables).routes[0].transport.proxy


@pytest.mark.parametrize("entries", BYPASSES)
def test_servers_that_need_no_proxy(entries: str) -> None:
    setting = proxies(all_proxy=PROXY, NO_PROXY=entries)
    for url, direct in BYPASSES[entries]:
        assert proxy_for(setting, url) == (None if direct else PROXY), url


@pytest.mark.parametrize(
    ("variables", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1", None),
        ({"HTTPS_PROXY": "http://p:1"}, None, "http://p:1"),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, None, "http://low:1"),
        ({"ALL_PROXY": "http://all:1", "http_proxy": "http://p:1"}, "http://p:1", "http://all:1"),
        ({"ALL_PROXY": "http://all:1", "http_proxy": ""}, "http://all:1", "http://all:1"),
        ({"HTTP_PROXY": "p:1"}, "http://p:1", None),
        ({"HTTPS_PROXY": "https://user:word@p:1/"}, None, "https://user:word@p:1/"),
    ],
)
def test_variables_name_a_proxy_for_each_scheme(
    variables: dict[str, str], http: str | None, https: str | None
) -> None:
    setting = proxies(**variables)
    assert proxy_for(setting, "http://a") == http
    assert proxy_for(setting, "ws://a") == http
    assert proxy_for(setting, "https://a") == https
    assert proxy_for(setting, "wss://a") == https


@pytest.mark.parametrize("value", ["socks5://p:1080", "http://", "ftp://p", "http://p:1/path"])
def test_a_variable_that_names_no_http_proxy_is_a_problem(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        proxies(HTTPS_PROXY=value)
    (problem,) = caught.value.problems
    assert "routes[0].upstream.proxy: the environment variable HTTPS_PROXY is not" in str(problem)


@pytest.mark.parametrize("word", ["none", "''", "'${PROXY:-}'"])
def test_none_is_none(word: str) -> None:
    text = f"routes: [{{models: m, upstream: {{url: 'http://a', proxy: {word}}}}}]"
    assert load_table(text, {"HTTP_PROXY": PROXY}).routes[0].transport.proxy is None


def test_the_environment_is_read_only_if_the_route_says_so() -> None:
    text = "routes: [{models: m, upstream: 'http://a'}]"
    assert load_table(text, {"HTTP_PROXY": PROXY}).routes[0].transport.proxy is None


def test_passwords_of_the_environment_are_secrets() -> None:
    text = "routes: [{models: m, upstream: {url: 'http://a', proxy: environment}}]"
    (route,) = load_table(text, {"HTTP_PROXY": "http://user:pass-word-1@p:1"}).routes
    assert "pass-word-1" not in route.mask("by http://user:pass-word-1@p:1")


def test_names_are_compared_in_lower_case() -> None:
    assert Bypass.parse("Example.COM:80") == Bypass(name="example.com", port=80)


async def test_requests_pass_the_proxy_of_the_environment_unless_excepted() -> None:
    text = """
routes:
  - {models: m, upstream: {url: "http://model.test/v1", proxy: environment}}
  - {models: near, upstream: {url: "${MODEL}", proxy: environment}}
"""
    async with run_upstream(responder(PROXIED)) as proxy, run_upstream(responder(GOOD)) as model:
        variables = {"HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.0/8", "MODEL": model.url}
        async with run_bridge(text, variables) as bridge:
            assert (await bridge.request(HELLO)).completion().choice.text == "by the proxy"
            near = await bridge.request({**HELLO, "model": "near"})
            assert near.completion().choice.text == "hello"
        assert [request.path for request in proxy.requests] == ["http://model.test/v1"]
        assert [request.path for request in model.requests] == ["/"]
