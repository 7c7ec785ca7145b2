"""Passthrough of OpenAI's own non-streaming responses: the upstream's bytes, normalized where necessary.

The reader returns bytes in place of deltas, and the encoder joins them. A response of another kind than
requested is read by the rules, into deltas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.exchange.decode.response_reader import ResponseReader
from bridge.openai.normalize_completion import normalize_completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["CompletionPassthrough", "PassthroughEncoder"]

_CONTENT_ALTERNATIVES = ("refusal", "audio", "function_call")


class CompletionPassthrough(ResponseReader):
    """The reader of a completion whose bytes are forwarded."""

    __slots__ = ("_info",)

    def __init__(self, rule: ResponseSlots, options: ReadOptions, info: ResponseInfo) -> None:
        super().__init__(rule, options)
        self._info = info

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Any]:
        """Return the bytes of the body; nothing if the body is not a completion."""
        super().read(scope)
        self.has_output = self.has_output or _may_lack_text(scope.doc)
        if not self.has_output:
            return []
        body = normalize_completion(scope.doc, self._info, self.usage)
        return [data if body is scope.doc and data is not None else json.dumps(body)]

    def close(self) -> list[Any]:
        """Return nothing: the reader holds nothing back."""
        return []


class PassthroughEncoder:
    """The encoder of a non-streaming response whose bytes are forwarded."""

    __slots__ = ("_body",)

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self) -> None:
        self._body = b""

    def write(self, bodies: Sequence[Any]) -> bytes:
        """Keep the body, which is sent once the response has ended well. Return nothing."""
        self._body += b"".join(bodies)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the body."""
        return self._body

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""


def _may_lack_text(doc: Any) -> bool:
    """Return whether every choice of a completion gives a reason for having no text."""
    choices = doc.get("choices") if isinstance(doc, dict) else None
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(choice, dict) and _choice_may_lack_text(choice) for choice in choices)


def _choice_may_lack_text(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {}
    if isinstance(message.get("content"), list):
        return True  # content parts, as Mistral's reasoning models send
    return any(message.get(name) is not None for name in _CONTENT_ALTERNATIVES)
