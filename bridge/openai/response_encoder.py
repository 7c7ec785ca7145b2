"""The interface of encoders, and the members that all parts of a response share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = ["ResponseEncoder", "ResponseInfo"]


@dataclass(slots=True)
class ResponseInfo:
    """The members that all chunks of a response share, and the request."""

    endpoint: EndpointSpec
    id: str
    created: int  # Unix time in seconds
    model: str
    include_usage: bool = False  # the client requests a chunk with the token counts
    request_body: Mapping[str, Any] = field(default_factory=dict)
    role: str = "assistant"


class ResponseEncoder(Protocol):
    """Writes a response from deltas: `write` any number of times, then `close`, unless the response fails."""

    @property
    def started(self) -> bool:
        """Return whether bytes were written, so that a later failure cannot change the status."""

    def write(self, deltas: Sequence[Any]) -> bytes:
        """Return the bytes that can leave by now."""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the end of a response of at least `choices` choices."""

    def fail(self, error: BridgeError) -> bytes:
        """Return the end of a stream that has failed; nothing for what is not a stream."""
