r"""Templates of frames: where a frame differs from an earlier one in its text alone, only the text is parsed.

    {"text":" teal","id":7}      is read by the rules; its bytes around `" teal"` become the template
    {"text":", mostly","id":7}   matches the template: the text is ", mostly"

A frame that matches has the same outcome by the rules, but for the text, since nothing else that the rules
read can lie within the text (`bridge.routes.compile.fast_path` decides so for each route). A frame that does
not match is read by the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.frames import NO_FIELDS
from bridge.core.json import dumps, loads_strictly
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from bridge.core.frames import Frame
    from bridge.expressions.paths import Path

__all__ = ["FrameTemplate"]

_MAX_ATTEMPTS = 4
_PROBE = "\x01probe"


class FrameTemplate:
    """The bytes before and after the text of a stream's frames, from a frame that the rules have read."""

    __slots__ = (
        "_after",  # bytes of the frame from the quote after the text
        "_attempts",  # frames that may still become the template: no limit would cost each frame of a
        #               stream whose frames differ in more than their text
        "_before",  # bytes of the frame up to the quote before the text; None before the first attempt
        "_fields",  # SSE fields of the frame
        "_path",  # of the text in the document
        "_text",  # the place of the text and its quotes in the bytes of a frame
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._attempts = _MAX_ATTEMPTS
        self._before: bytes | None = None
        self._after = b""
        self._text = slice(0)
        self._fields = NO_FIELDS

    @property
    def can_learn(self) -> bool:
        """Return whether another frame may become the template."""
        return self._attempts > 0

    def learn(self, frame: Frame, doc: Any) -> None:
        """Make a frame the template, if the place of its text in the bytes is certain.

        `doc` is the document that the frame's bytes were parsed to.
        """
        self._attempts -= 1
        data, text = frame.data, self._path.find(Scope(doc))
        if not isinstance(data, bytes) or not isinstance(text, str) or not text:
            return
        literal = dumps(text)
        if data.count(literal) != 1:
            return
        before, _, after = data.partition(literal)
        try:
            probed = self._path.find(Scope(loads_strictly(before + dumps(_PROBE) + after)))
        except ValueError:  # the literal crosses the borders of strings, as `":"` does in {"t":":"}
            return
        if probed == _PROBE:
            self._before, self._after = before + b'"', b'"' + after
            self._text = slice(len(before), -len(after) or None)
            self._fields = frame.fields

    def match(self, frame: Frame) -> str | None:
        """Return the text of a frame that is equal to the template but for its text, else None."""
        data, before = frame.data, self._before
        if before is None or type(data) is not bytes:
            return None
        # With the quotes: a list in place of the text may have millions of values, and must not be parsed.
        if not (data.startswith(before) and data.endswith(self._after)):
            return None
        try:
            text = loads_strictly(data[self._text])
        except ValueError:  # not one JSON value, or one that only a lenient parser reads
            return None
        # An empty text does not match: beside an `error` member an empty text is not output.
        return text if text and frame.fields == self._fields else None
