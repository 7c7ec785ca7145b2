"""The session of one upstream call: acquired before the response, and kept or closed after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.exchange.commands import AcquireSession, ReleaseSession, StoredSession
from bridge.exchange.conversation_key import conversation_key, history, new_turn
from bridge.openai.folded_tool_calls import FoldedToolCalls

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from bridge.core.deltas import Delta
    from bridge.exchange.callout_steps import CalloutSteps
    from bridge.exchange.commands import Command, SendRequest
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import SessionRule

__all__ = ["SessionSteps"]


class SessionSteps:
    """The session of one upstream call."""

    __slots__ = (
        "_call",
        "_id",  # of the session, or MISSING
        "_rule",
        "_steps",
        "_texts",  # of the first choice, for the transcript
        "_tool_calls",  # of the first choice
    )

    def __init__(self, call: UpstreamCall, rule: SessionRule, steps: CalloutSteps) -> None:
        self._call = call
        self._rule = rule
        self._steps = steps
        self._id: Any = MISSING
        self._texts: list[str] = []
        self._tool_calls = FoldedToolCalls()

    def record_output(self, deltas: Sequence[Delta]) -> None:
        """Add output of the first choice to the transcript."""
        for delta in deltas:
            if delta.choice == 0:
                self._texts.append(delta.text)
                for tool_call in delta.tool_calls or ():
                    self._tool_calls.add(tool_call)

    def acquire(self) -> Generator[Command, Any, None]:
        """Take the conversation's session from the store, or open a session. Raises UpstreamError."""
        call, rule = self._call, self._rule
        key = self._lookup_key() if call.plan.keeps_session else None
        stored: StoredSession | None = (yield AcquireSession(key)) if key is not None else None
        if stored is not None:
            call.drop_history()
            call.replica = stored.replica
            self._id = call.builder.document["session"] = stored.id
        elif rule.open is not None and self._steps.applies(rule.open):
            yield from self._steps.run(rule.open)
            self._id = call.builder.document["session"]

    def release(self) -> Iterator[SendRequest | ReleaseSession]:
        """Keep the session for the next turn, or close the session. Do nothing the second time."""
        call, rule = self._call, self._rule
        if call.succeeded and call.decoder.session is not MISSING:
            self._id = call.decoder.session  # some upstreams give the session of each response a new id
        if self._id is MISSING:
            return
        call.builder.document["session"] = self._id
        session = StoredSession(self._id, call.replica or 0, self._members_for_close())
        self._id = MISSING
        key = self._store_key() if call.plan.keeps_session and call.succeeded else None
        if key is not None:
            yield ReleaseSession(key, session)
        elif rule.close is not None and self._steps.applies(rule.close):
            yield self._steps.send(rule.close)

    def _lookup_key(self) -> str | None:
        """Return the key under which this conversation's session may be stored."""
        messages = self._call.builder.messages
        if not new_turn(messages):
            return None  # there is nothing to send within the session
        if self._rule.by != "transcript":
            return self._store_key()
        earlier = history(messages)
        return conversation_key(self._key_scope, earlier) if earlier else None

    def _store_key(self) -> str | None:
        """Return the key that the next turn looks up; None if the key is unknown, as of several choices."""
        builder, by = self._call.builder, self._rule.by
        if builder.choices > 1:
            return None
        if by == "transcript":
            message = {
                "role": "assistant",
                "content": "".join(self._texts),
                "tool_calls": self._tool_calls.complete(),
            }
            return conversation_key(self._key_scope, [*builder.messages, message])
        context = builder.context
        name = context.conversation if by == "header" else context.body.get("user")
        return conversation_key([*self._key_scope, by, name], []) if name else None

    @property
    def _key_scope(self) -> list[str | None]:
        # With the client's keys, for the bridge and for the upstream, no client finds another's conversation.
        context = self._call.builder.context
        return [context.route.name, context.body["model"], context.client.tenant, context.authorization]

    def _members_for_close(self) -> dict[str, Any]:
        """Return the members of the request document that the request to close the session reads."""
        document = self._call.builder.document
        names = self._rule.close.reads if self._rule.close else frozenset()
        return {name: value for name, value in document.items() if name in names or None in names}
