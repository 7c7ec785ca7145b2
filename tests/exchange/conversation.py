"""Conversations by plain calls: consecutive requests, and a store of the sessions kept between them."""

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
    """A store of sessions by the keys of their conversations."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredSession] = {}
        self.opened = 0

    def complete(self, exchange: Exchange, response: Any, *, success: bool = True) -> tuple[Any, Any, bytes]:
        """Complete an exchange. Return its session, the upstream body and the output."""
        [call] = exchange.calls
        assert call.callouts is not None
        steps = call.callouts.before()
        result: Any = None
        try:
            step = next(steps)
            while True:
                match step:
                    case AcquireSession(key):
                        result = self.kept.pop(key, None)
                    case SendRequest():
                        self.opened += 1
                        result = fetched({"session": self.opened})
                step = steps.send(result)
        except StopIteration:
            pass
        sent = json.loads(call.request().body or b"null")
        out = respond(exchange, response, status=200 if success else 500)
        for command in commands_after(call):
            if isinstance(command, ReleaseSession):
                self.kept[command.key] = command.session
        return sent.get("session", sent.get("conversation")), sent, out


def conversation_exchange(
    rules: str,
    messages: list[Message],
    *,
    key: str | None = None,
    conversation: str | None = None,
    **more: Any,
) -> Exchange:
    data = json.dumps(request(messages=messages, **more)).encode()
    body = parse_request(CHAT, data)
    routes = table(rules)
    return Exchange(
        RequestContext(
            routes.routes[0], CHAT, body, data, id=ID, now=NOW, authorization=key, conversation=conversation
        )
    )


def conversation_call(rules: str, messages: list[Message], **options: Any) -> UpstreamCall:
    [call] = conversation_exchange(rules, messages, **options).calls
    return call


def conversation_key(rules: str, messages: list[Message], **options: Any) -> str | None:
    """Return the key by which a turn finds its session."""
    first = commands_before(conversation_call(rules, messages, **options))[0]
    return first.key if isinstance(first, AcquireSession) else None
