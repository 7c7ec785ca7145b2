"""The endpoints that clients call, and what sets them apart."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CHAT", "COMPLETIONS", "EMBEDDINGS", "ENDPOINTS", "IMAGES", "Endpoint"]


class Endpoint(NamedTuple):
    """One endpoint. `name` is the word for it in a route's `serves`, `operation` OpenTelemetry's for it.

    `finds` is the slot that an answer to it must fill: what streams and is cut at stop strings is `text`.
    """

    name: str
    path: str
    operation: str
    object: str
    chunk_object: str = ""
    id_prefix: str = ""
    output: str = "text"


CHAT: Final = Endpoint(
    "chat", "chat/completions", "chat", "chat.completion", "chat.completion.chunk", "chatcmpl-"
)
COMPLETIONS: Final = Endpoint(
    "completions", "completions", "text_completion", "text_completion", "text_completion", "cmpl-"
)
EMBEDDINGS: Final = Endpoint("embeddings", "embeddings", "embeddings", "list", output="embeddings")
IMAGES: Final = Endpoint("images", "images/generations", "image_generation", "", output="images")

ENDPOINTS: Final = {endpoint.name: endpoint for endpoint in (CHAT, COMPLETIONS, EMBEDDINGS, IMAGES)}
