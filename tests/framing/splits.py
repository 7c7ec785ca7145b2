"""Feeds bytes to framers in pieces, for the tests beside this."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from bridge.core.errors import UpstreamError
from bridge.framing import FRAMINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.core.frames import Frame

__all__ = ["LIMIT", "Outcome", "cuts", "frames", "run_framer", "split_at", "split_evenly"]

LIMIT = 1 << 20


class Outcome(NamedTuple):
    """The frames of a body, and what ended it if it did not end well."""

    frames: list[Frame]
    error: str | None
    kind: str | None


def run_framer(framing: str, pieces: Iterable[bytes], limit: int = LIMIT) -> Outcome:
    """Feed a body, piece by piece."""
    framer = FRAMINGS[framing].framer(limit)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            frames.extend(framer.feed(piece))
        frames.extend(framer.close())
    except UpstreamError as error:
        return Outcome(frames, error.message, error.kind)
    return Outcome(frames, None, None)


def frames(framing: str, body: bytes) -> list[Frame]:
    """The frames of a body that ends well, the same ones however it is cut in two, or into bytes."""
    whole = run_framer(framing, [body])
    assert whole.error is None
    for at in range(len(body) + 1):
        assert run_framer(framing, [body[:at], body[at:]]) == whole
        assert run_framer(framing, [body[:at], b"", body[at : at + 1], body[at + 1 :]]) == whole
    assert run_framer(framing, split_evenly(body, 1)) == whole
    return whole.frames


def split_evenly(body: bytes, size: int) -> list[bytes]:
    """A body in pieces of one size."""
    return [body[at : at + size] for at in range(0, len(body), size)]


def split_at(body: bytes, places: Sequence[int]) -> list[bytes]:
    """A body cut at places, each taken modulo its length."""
    at = sorted(place % (len(body) + 1) for place in places)
    return [body[start:end] for start, end in zip([0, *at], [*at, len(body)], strict=True)]


cuts = st.lists(st.integers(0, 1000), max_size=8)
