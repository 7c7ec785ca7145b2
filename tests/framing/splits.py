"""Bodies split into pieces, and the frames that a framer makes of the pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from bridge.core.errors import UpstreamError
from bridge.core.frames import Frame
from bridge.framing import FRAMINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LIMIT", "Outcome", "cuts", "frames", "run_framer", "split_at", "split_evenly"]

LIMIT = 1 << 20


class Outcome(NamedTuple):
    """The frames of a body, and the error that ended it, if any."""

    frames: list[Frame]
    error: str | None
    kind: str | None


def run_framer(framing: str, pieces: Iterable[bytes], limit: int = LIMIT) -> Outcome:
    """Feed a body in pieces to a framer, and return its frames; one frame if these follow the reads."""
    framer = FRAMINGS[framing].framer(limit)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            frames.extend(framer.feed(piece))
        frames.extend(framer.close())
    except UpstreamError as error:
        return Outcome(frames, error.message, error.kind)
    if frames and FRAMINGS[framing].follows_reads:
        frames = [Frame("".join(str(frame.data) for frame in frames))]
    return Outcome(frames, None, None)


def frames(framing: str, body: bytes) -> list[Frame]:
    """Return the frames of a body without errors, the same for every split into two pieces or bytes."""
    whole = run_framer(framing, [body])
    assert whole.error is None
    for at in range(len(body) + 1):
        assert run_framer(framing, [body[:at], body[at:]]) == whole
        assert run_framer(framing, [body[:at], b"", body[at : at + 1], body[at + 1 :]]) == whole
    assert run_framer(framing, split_evenly(body, 1)) == whole
    return whole.frames


def split_evenly(body: bytes, size: int) -> list[bytes]:
    """Return a body in pieces of one size."""
    return [body[at : at + size] for at in range(0, len(body), size)]


def split_at(body: bytes, positions: Sequence[int]) -> list[bytes]:
    """Return a body split at positions, each taken modulo its length."""
    at = sorted(position % (len(body) + 1) for position in positions)
    return [body[start:end] for start, end in zip([0, *at], [*at, len(body)], strict=True)]


cuts = st.lists(st.integers(0, 1000), max_size=8)
