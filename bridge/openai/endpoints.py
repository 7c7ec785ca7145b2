"""The endpoints that clients call, and what sets them apart."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CHAT", "COMPLETIONS", "ENDPOINTS", "Endpoint"]


class Endpoint(NamedTuple):
    """One endpoint. `name` is the word for it in a route's `serves`, `operation` OpenTelemetry's for it."""

    name: str
    path: str
    operation: str
    object: str
    chunk_object: str
    id_prefix: str


CHAT: Final = Endpoint(
    "chat", "chat/completions", "chat", "chat.completion", "chat.completion.chunk", "chatcmpl-"
)
COMPLETIONS: Final = Endpoint(
    "completions", "completions", "text_completion", "text_completion", "text_completion", "cmpl-"
)

ENDPOINTS: Final = {endpoint.name: endpoint for endpoint in (CHAT, COMPLETIONS)}
