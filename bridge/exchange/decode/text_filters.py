"""Filters of the text of one choice, each of which holds back text that is not final.

    CumulativeToDelta, or SurrogateJoiner ─▶ PromptStripper ─▶ MarkerFilter ─▶ ReasoningSplitter
      ─▶ WhitespaceTrimmer ─▶ StopSequenceCutter

The text that a filter returns in all never depends on how the text was cut, only how soon the filter returns
it.
"""

from __future__ import annotations

from array import array
from typing import Protocol

from bridge.core.errors import UpstreamError, UpstreamFailure

__all__ = [
    "CumulativeToDelta",
    "MarkerFilter",
    "PromptStripper",
    "StopSequenceCutter",
    "SurrogateJoiner",
    "TextFilter",
    "WhitespaceTrimmer",
]

_REPLACEMENT = "\ufffd"


class TextFilter(Protocol):
    """A filter of text that arrives in parts."""

    def feed(self, text: str) -> str:
        """Take a part of the text, and return the text that is final by now."""

    def close(self) -> str:
        """Return the text that was held back."""


class SurrogateJoiner:
    """Joins the halves of surrogate pairs, which upstreams that cut UTF-16 send apart.

    A half that stays alone becomes U+FFFD.
    """

    __slots__ = ("half",)  # the first half of a pair, at the end of the text so far

    def __init__(self) -> None:
        self.half = ""

    def feed(self, text: str) -> str:
        if not self.half and _is_utf8(text):
            return text
        text = self.half + text
        self.half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        return _join_pairs(text.removesuffix(self.half) if self.half else text)

    def close(self) -> str:
        half, self.half = self.half, ""
        return _join_pairs(half)


class CumulativeToDelta:
    """Reduces texts that each repeat all earlier text, perhaps after the prompt, to their new text.

    A text that does not continue what was returned is an error, since a stream cannot retract text. Where the
    stream is gathered, nothing is returned before the end, and the last text counts.
    """

    __slots__ = (
        "_gathers",
        "_newest",  # the newest text, without the prompt
        "_prompt",
        "_returned",  # the text that was returned
    )

    def __init__(self, prompt: str, *, gathers: bool = False) -> None:
        self._prompt = prompt
        self._gathers = gathers
        self._returned = ""
        self._newest = ""

    def feed(self, text: str) -> str:
        """Take a text, and return what is new. Raises UpstreamError."""
        if not _is_utf8(text):
            text = _join_pairs(text)  # half a pair at the end becomes U+FFFD
        if self._prompt:
            text = "" if self._prompt.startswith(text) else text.removeprefix(self._prompt)
        if not text:
            return ""
        # U+FFFD at the end is half a character, which the next text completes (FastChat's worker).
        new = "" if self._gathers else self._new(text.rstrip(_REPLACEMENT))
        if text.startswith(self._returned):
            self._newest = text
        return new

    def close(self) -> str:
        return self._new(self._newest)

    def _new(self, text: str) -> str:
        returned = self._returned
        if text.startswith(returned):
            self._returned = text
            return text[len(returned) :]
        if returned.startswith(text):
            return ""  # the last text of some upstreams lacks the white space at the end
        raise UpstreamError(
            UpstreamFailure.MALFORMED,
            "the upstream sent a text that does not continue the text before, as `mode: cumulative` requires:"
            " is it `mode: delta`?",
        )


class PromptStripper:
    """Removes the prompt that the upstream repeats before its output."""

    __slots__ = (
        "_matched",  # characters of the prompt that have arrived
        "_prompt",  # empty once the beginning of the text has been compared
    )

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._matched = 0

    def feed(self, text: str) -> str:
        if not self._prompt:
            return text
        prompt, matched = self._prompt, self._matched
        rest = len(prompt) - matched
        if not prompt.startswith(text[:rest], matched):
            self._prompt = ""
            return prompt[:matched] + text
        if len(text) < rest:
            self._matched += len(text)
            return ""
        self._prompt = ""
        return text[rest:]

    def close(self) -> str:
        text, self._prompt = self._prompt[: self._matched], ""
        return text


class MarkerFilter:
    """Removes the text up to the last occurrence of a marker; without the marker, nothing.

    Which occurrence is the last is only known at the end, so that the text is held until then.
    """

    __slots__ = ("_marker", "_parts")

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._parts: list[str] = []

    def feed(self, text: str) -> str:
        self._parts.append(text)
        return ""

    def close(self) -> str:
        text = "".join(self._parts)
        self._parts.clear()
        return text.rpartition(self._marker)[2]


class WhitespaceTrimmer:
    """Removes white space at both ends of the text."""

    __slots__ = (
        "_held",  # white space that may be the end of the text, in the parts in which it arrived
        "_started",  # other characters than white space were returned
    )

    def __init__(self) -> None:
        self._started = False
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        if not self._started:
            text = text.lstrip()
        kept = text.rstrip()
        if kept:
            self._started = True
            kept = "".join([*self._held, kept])
            self._held.clear()
            text = text[len(text.rstrip()) :]
        if text:
            self._held.append(text)
        return kept

    def close(self) -> str:
        return ""


class StopSequenceCutter:
    """Ends the text before the first stop string, which may arrive in parts."""

    __slots__ = (
        "_held",  # the end of the text if a stop string may begin there
        "_prefixes",
        "hit",  # a stop string has arrived
    )

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._prefixes = [_PrefixMatcher(string) for string in strings]
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        if self.hit:
            return ""
        known = len(self._held)
        full = self._held + text
        # The string that is complete first ends the text, so that the cut does not depend on the parts.
        ends = [
            (at + len(prefix.string), at)
            for prefix in self._prefixes
            if (at := full.find(prefix.string, max(known - len(prefix.string) + 1, 0))) >= 0
        ]
        if ends:
            self.hit = True
            self._held = ""
            return full[: min(ends)[1]]
        for prefix in self._prefixes:
            prefix.feed(text)
        kept = len(full) - max(prefix.length for prefix in self._prefixes)
        self._held = full[kept:]
        return full[:kept]

    def close(self) -> str:
        text, self._held = self._held, ""
        return text


class _PrefixMatcher:
    """The longest end of a text that is the beginning of a string (Knuth, Morris and Pratt).

    Every character of the text is looked up once, however much of the string the text repeats.
    """

    __slots__ = (
        "_shorter",  # by length of a matched beginning, less one: the next shorter one that matches too
        "length",  # characters of the string that the text ends with
        "string",
    )

    def __init__(self, string: str) -> None:
        self.string = string
        self.length = 0
        self._shorter = array("I", [0])  # each choice has one: an array is a tenth of a list
        length = 0
        for character in string[1:]:
            length = self._extended(length, character)
            self._shorter.append(length)

    def feed(self, text: str) -> None:
        """Take a part of the text, which does not complete the string."""
        if len(text) >= len(self.string):  # only the end of the text matters
            text, self.length = text[len(text) - len(self.string) + 1 :], 0
        length = self.length
        if not length and self.string[0] not in text:
            return
        for character in text:
            length = self._extended(length, character)
        self.length = length

    def _extended(self, length: int, character: str) -> int:
        """Return the matched length after one more character."""
        while length and self.string[length] != character:
            length = self._shorter[length - 1]
        return length + 1 if self.string[length] == character else 0


def _is_utf8(text: str) -> bool:
    """Return whether a text has no halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _join_pairs(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
