"""Conversations on the bench: answers one after another, and the sessions that are kept between them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.exchange.commands import AcquireSession, ReleaseSession, SendRequest, StoredSession
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import CHAT
from bridge.openai.request_validation import parse_request
from tests.exchange.callout_steps import commands_after, commands_before, fetched, respond
from tests.exchange.single_exchange import ID, NOW, request, table

if TYPE_CHECKING:
    from bridge.exchange.upstream_call import UpstreamCall

__all__ = [
    "OPENED",
    "Message",
    "SessionStore",
    "assistant",
    "conversation_call",
    "conversation_exchange",
    "conversation_key",
    "user",
]

OPENED = """
    session:
      open: {path: /open, body: {who: $.user}, id: $.session}
      close: {path: /close, body: {session: $.session, who: $.user}}
      keep: conversation
    request: {body: {session: $.session, said: {$each: $.messages, $as: $item.content}, ask: $.last}}
    response: $.text
    stream: {framing: ndjson, text: $.text}
"""
Message = dict[str, Any]


def user(text: Any) -> Message:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


class SessionStore:
    """Conversations that are kept, as every store keeps them."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredSession] = {}
        self.opened = 0

    def answer(self, exchange: Exchange, answer: Any, *, well: bool = True) -> tuple[Any, Any, bytes]:
        """Carry an exchange out: the session it used, the body it sent, what the client got."""
        [call] = exchange.calls
        assert call.callouts is not None
        steps = call.callouts.before()
        came: Any = None
        try:
            step = next(steps)
            while True:
                match step:
                    case AcquireSession(key):
                        came = self.kept.pop(key, None)
                    case SendRequest():
                        self.opened += 1
                        came = fetched({"session": self.opened})
                step = steps.send(came)
        except StopIteration:
            pass
        sent = json.loads(call.request().body or b"null")
        out = respond(exchange, answer, status=200 if well else 500)
        for last in commands_after(call):
            if isinstance(last, ReleaseSession):
                self.kept[last.key] = last.session
        return sent.get("session", sent.get("conversation")), sent, out


def conversation_exchange(
    rules: str, messages: list[Message], *, key: str | None = None, named: str | None = None, **more: Any
) -> Exchange:
    data = json.dumps(request(messages=messages, **more)).encode()
    read = parse_request(CHAT, data)
    routes = table(rules)
    return Exchange(
        RequestContext(
            routes.routes[0], CHAT, read, data, id=ID, now=NOW, authorization=key, conversation=named
        )
    )


def conversation_call(rules: str, messages: list[Message], **how: Any) -> UpstreamCall:
    [call] = conversation_exchange(rules, messages, **how).calls
    return call


def conversation_key(rules: str, messages: list[Message], **how: Any) -> str | None:
    """What a turn looks for."""
    first = commands_before(conversation_call(rules, messages, **how))[0]
    return first.key if isinstance(first, AcquireSession) else None
