"""Makes the requests of one upstream call: the documents of the rules in, bytes out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bridge import json
from bridge.deltas import MISSING
from bridge.errors import Kind, RequestError, UpstreamError
from bridge.exchange.document import request_document
from bridge.openai.endpoints import IMAGES
from bridge.openai.estimating import prompt_tokens
from bridge.openai.failures import shorten
from bridge.routes.bodies import AsIs, Built
from bridge.routes.route import UpstreamRequest, origin
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.openai.endpoints import Endpoint
    from bridge.routes.route import Call, Outgoing, Route

__all__ = ["Asking", "make_call", "make_request"]

Body = dict[str, Any]


@dataclass(slots=True)
class Asking:
    """What is asked of the server in one call.

    `body` is the client's as this server is to see it, `data` its bytes where nothing was changed in it,
    `raw` the client's own. `messages` and, of a legacy completion, `text` are what the rules read.
    `stream`: the server is asked to stream. `authorization`: the client's header, for routes that pass it.
    `answers` are awaited (choices, vectors, images), the `first` of them at that place in the reply.
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
    answers: int = 1
    first: int = 0
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

    def estimate(self) -> int | None:
        """About how many tokens are asked, where the route wants that of a server that tells none."""
        if self.route.emulate.usage != "estimate" or self.endpoint is IMAGES:
            return None
        return prompt_tokens(self.endpoint, self.body, self.messages)

    def make_document(self) -> None:
        """Compute what the request and the calls around it look at."""
        reads = self.outgoing.reads | self.route.reads_around
        self.document = request_document(
            self.endpoint,
            self.body,
            messages=self.messages,
            text=self.text,
            raw=self.raw,
            prompt=self.route.prompt,
            tools=self.route.tools,
            stream=self.stream,
            now=self.now,
            timeout=self.route.transport.timeouts.answer,
            reads=reads,
        )
        # What a call is to find is never what a client says it would: it may be where a request goes.
        for name in self.route.finds:
            self.document.pop(name, None)

    def call(self, call: Call, newest: Any = MISSING) -> UpstreamRequest:
        """The request of a call around the main one; `newest` is the answer that may hold its URL.

        Raises UpstreamError where a server's answer gave no URL.
        """
        return make_call(call, self.document, self.body, self._own(), newest)

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


def make_call(
    call: Call, document: Body, body: Body, own: Mapping[str, str], newest: Any = MISSING
) -> UpstreamRequest:
    """The request of a call around an answer. `own`: headers with the client's own key.

    Raises UpstreamError where a server's answer gave no URL.
    """
    outgoing, scope = call.outgoing, Scope(document)
    data = json.dumps(outgoing.body.build(scope, body)) if outgoing.body else None
    if outgoing.origins is None:
        return make_request(outgoing, scope, data, own)
    found = call.url.read(Scope(newest)) if call.url else outgoing.urls[0](scope)
    if not isinstance(found, str) or not _URL.fullmatch(found) or origin(found) is None:
        shown = "nothing" if found is MISSING else shorten(json.dumps(found).decode(), 100)
        raise UpstreamError(Kind.GARBLED, f"`{call.at}.url` found no URL in an answer but {shown}")
    return make_request(outgoing, scope, data, own if outgoing.shows_keys(found) else {}, url=found)


def make_request(
    outgoing: Outgoing,
    scope: Scope,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    url: str | None = None,
) -> UpstreamRequest:
    """Fill the templates of a request, or take the `url` that a server gave.

    Raises RequestError where a value cannot be part of a header.
    """
    urls = (url,) if url is not None else tuple(str(one(scope)) for one in outgoing.urls)
    shown = url is None or outgoing.shows_keys(url)
    given = {"Accept-Encoding": "identity"} | dict(headers)
    if body is not None:
        given["Content-Type"] = "application/json"
    names = {name.lower(): name for name in given}
    for name, value in [*(outgoing.keys.items() if shown else ()), *outgoing.headers.items()]:
        given.pop(names.get(name.lower(), name), None)
        names[name.lower()] = name
        given[name] = _header(name, str(value(scope)))
    query = "&".join(
        f"{quote(name, safe='')}={quote(str(value(scope)), safe='', errors='replace')}"
        for name, value in [*(outgoing.key_query.items() if shown else ()), *outgoing.query.items()]
    )
    filled = tuple(_with_query(one, query) for one in urls)
    auth = outgoing.auth if shown else None
    return UpstreamRequest(outgoing.method, filled, given, body, auth, outgoing.websocket)


# What a request line can hold, sent to where a bridge may be sent by a server.
_URL = re.compile(r"https?://[!-~]+")


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
