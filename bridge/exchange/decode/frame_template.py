r"""Templates of frames: where a frame differs from an earlier one in its text alone, only the text is parsed.

    {"text":" teal","id":7}      is read by the rules; its bytes around `" teal"` become a template
    {"text":", mostly","id":7}   matches the template: the text is ", mostly"

A frame that matches has the same outcome by the rules, but for the text, since nothing else that the rules
read can lie within the text (`bridge.routes.compile.fast_path` decides so for each route). A frame that does
not match is read by the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.json import dumps, loads_strictly
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.frames import Frame
    from bridge.expressions.paths import Path

__all__ = ["FrameTemplate", "make_template"]

_PROBE = "\x01probe"


class FrameTemplate:
    """The bytes of a frame before and after its text, and the frame's SSE fields."""

    __slots__ = ("_after", "_before", "_end", "_fields", "_start")

    def __init__(self, before: bytes, after: bytes, fields: Mapping[str, str]) -> None:
        self._before = before
        self._after = after
        self._fields = fields
        self._start = len(before)
        self._end = -len(after)

    def match(self, frame: Frame) -> str | None:
        """Return the text of a frame that is equal to the template but for its text, else None."""
        data, fields, _ = frame
        if type(data) is not bytes or not (data.startswith(self._before) and data.endswith(self._after)):
            return None
        try:
            text = loads_strictly(data[self._start : self._end])
        except ValueError:  # not one JSON value, or one that only a lenient parser reads
            return None
        # An empty text does not match: beside an `error` member an empty text is not output.
        return text if text and type(text) is str and fields == self._fields else None


def make_template(frame: Frame, doc: Any, path: Path) -> FrameTemplate | None:
    """Return the template of a frame whose text is at `path`, None if its place in the bytes is uncertain.

    `doc` is the document that the frame's bytes were parsed to.
    """
    data, text = frame.data, path.find(Scope(doc))
    if not isinstance(data, bytes) or not isinstance(text, str) or not text:
        return None
    literal = dumps(text)
    if data.count(literal) != 1:
        return None
    before, _, after = data.partition(literal)
    try:
        probed = path.find(Scope(loads_strictly(before + dumps(_PROBE) + after)))
    except ValueError:  # the literal crosses the borders of strings, as `":"` does in {"t":":"}
        return None
    return FrameTemplate(before, after, frame.fields) if probed == _PROBE else None
