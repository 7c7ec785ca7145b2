"""Makes the requests of one upstream call: the documents of the rules in, bytes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bridge import json
from bridge.errors import RequestError
from bridge.exchange.document import request_document
from bridge.routes.bodies import AsIs, Built
from bridge.routes.route import UpstreamRequest
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.openai.endpoints import Endpoint
    from bridge.routes.route import Outgoing, Route

__all__ = ["Asking", "make_request"]

Body = dict[str, Any]


@dataclass(slots=True)
class Asking:
    """What is asked of the server in one call.

    `body` is the client's as this server is to see it, `data` its bytes where nothing was changed in it,
    `raw` the client's own. `messages` and, of a legacy completion, `text` are what the rules read.
    `stream`: the server is asked to stream. `authorization`: the client's header, for routes that pass it.
    """

    route: Route
    endpoint: Endpoint
    body: Body
    data: bytes | None
    raw: Body
    messages: list[Body]
    text: str | None
    stream: bool
    now: float
    authorization: str | None
    document: Body = field(default_factory=dict)

    @property
    def outgoing(self) -> Outgoing:
        """How the request is made."""
        return self.route.streaming if self.stream else self.route.outgoing

    @property
    def cuts(self) -> tuple[str, ...]:
        """The stop strings that the server is not told of, or not whole."""
        if not self.route.emulate.stop:
            return ()
        rule = self.outgoing.body
        told = rule is not None and rule.passes("stop")
        prompt = str(self.document.get("prompt", ""))
        own = self.route.prompt.cut if self.text is None else ()
        return tuple([] if told else self.document.get("stop", [])) + tuple(
            string for string in own if string.strip() in prompt
        )

    def make_document(self, *calls: Outgoing) -> None:
        """Compute what the request and the calls around it look at."""
        reads = frozenset[str | None]().union(*(call.reads for call in (self.outgoing, *calls)))
        self.document = request_document(
            self.endpoint,
            self.body,
            messages=self.messages,
            text=self.text,
            raw=self.raw,
            prompt=self.route.prompt,
            stream=self.stream,
            now=self.now,
            reads=reads,
        )

    def call(self, outgoing: Outgoing) -> UpstreamRequest:
        """The request of a call beside the main one."""
        scope = Scope(self.document)
        body = outgoing.body.build(scope, self.body) if outgoing.body else None
        return make_request(outgoing, scope, None if outgoing.body is None else json.dumps(body), self._own())

    def main(self) -> UpstreamRequest:
        """The request whose answer is the client's."""
        outgoing = self.outgoing
        scope = Scope(self.document)
        headers = {"Accept": _accept(self.route, stream=self.stream)} | self._own()
        if outgoing.method == "GET":
            return make_request(outgoing, scope, None, headers)
        return make_request(outgoing, scope, self._main_body(outgoing, scope), headers)

    def _main_body(self, outgoing: Outgoing, scope: Scope) -> bytes:
        rule = outgoing.body or AsIs()
        told = self.stream or "stream_options" not in self.body
        if isinstance(rule, AsIs) and self.data is not None and told:
            return self.data
        built = rule.build(scope, self.body)
        if not isinstance(rule, Built) and not self.stream:
            built = {name: value for name, value in built.items() if name != "stream_options"}
        return json.dumps(built)

    def _own(self) -> dict[str, str]:
        if self.route.pass_key and self.authorization:
            return {"Authorization": self.authorization}
        return {}


def make_request(
    outgoing: Outgoing, scope: Scope, body: bytes | None, headers: Mapping[str, str]
) -> UpstreamRequest:
    """Fill the templates of a request. Raises RequestError where a value cannot be part of a header."""
    given = {"Accept-Encoding": "identity"} | dict(headers)
    if body is not None:
        given["Content-Type"] = "application/json"
    names = {name.lower(): name for name in given}
    for name, value in outgoing.headers.items():
        given.pop(names.get(name.lower(), name), None)
        given[name] = _header(name, str(value(scope)))
    query = "&".join(
        f"{quote(name, safe='')}={quote(str(value(scope)), safe='', errors='replace')}"
        for name, value in outgoing.query.items()
    )
    urls = tuple(_with_query(str(url(scope)), query) for url in outgoing.urls)
    return UpstreamRequest(outgoing.method, urls, given, body)


def _with_query(url: str, query: str) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _header(name: str, value: str) -> str:
    # A line break would begin another header; half a surrogate pair cannot be written at all.
    if any(character in "\r\n\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise RequestError(400, f"a value cannot be part of the header {name}", code="invalid_value")
    return value


def _accept(route: Route, *, stream: bool) -> str:
    if stream and route.stream is not None and route.stream.framing == "sse":
        return "text/event-stream"
    return "*/*" if stream else "application/json, */*;q=0.5"
