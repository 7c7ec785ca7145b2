"""Filters of the text of one choice, each of which holds back text that is not final.

    CumulativeToDelta, or SurrogateJoiner ─▶ PromptStripper ─▶ WhitespaceTrimmer ─▶ StopSequenceCutter

The text that a filter returns in all never depends on how the text was cut, only how soon the filter returns
it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = [
    "CumulativeToDelta",
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

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        if not self._half and _is_utf8(text):
            return text
        text = self._half + text
        self._half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        return _join_pairs(text.removesuffix(self._half) if self._half else text)

    def close(self) -> str:
        half, self._half = self._half, ""
        return _join_pairs(half)


class CumulativeToDelta:
    """Reduces texts that each repeat all earlier text, perhaps after the prompt, to their new text.

    Text that an upstream changes after it was returned stays as it was: a stream cannot retract text.
    """

    __slots__ = (
        "_newest",  # the newest text, without the prompt
        "_prompt",
        "_returned",  # characters of the text that were returned
    )

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._returned = 0
        self._newest = ""

    def feed(self, text: str) -> str:
        if not _is_utf8(text):
            text = _join_pairs(text)  # half a pair at the end becomes U+FFFD
        if self._prompt:
            text = "" if self._prompt.startswith(text) else text.removeprefix(self._prompt)
        self._newest = text
        # U+FFFD at the end is half a character, which the next text completes (FastChat's worker).
        return self._new(text.rstrip(_REPLACEMENT))

    def close(self) -> str:
        return self._new(self._newest)

    def _new(self, text: str) -> str:
        new = text[self._returned :]
        self._returned = max(self._returned, len(text))
        return new


class PromptStripper:
    """Removes the prompt that the upstream repeats before its output."""

    __slots__ = (
        "_held",
        "_prompt",  # empty once the beginning of the text has been compared
    )

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._prompt:
            return text
        self._held += text
        if len(self._held) < len(self._prompt) and self._prompt.startswith(self._held):
            return ""
        text, self._held = self._held.removeprefix(self._prompt), ""
        self._prompt = ""
        return text

    def close(self) -> str:
        text, self._held = self._held, ""
        return text


class WhitespaceTrimmer:
    """Removes white space at both ends of the text."""

    __slots__ = (
        "_held",  # white space that may be the end of the text
        "_started",  # other characters than white space were returned
    )

    def __init__(self) -> None:
        self._started = False
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text if self._started else text.lstrip()
        kept = text.rstrip()
        self._held = text[len(kept) :]
        self._started = self._started or bool(kept)
        return kept

    def close(self) -> str:
        return ""


class StopSequenceCutter:
    """Ends the text before the first stop string, which may arrive in parts."""

    __slots__ = (
        "_held",  # the end of the text if a stop string may begin there
        "_longest",  # characters of the longest stop string
        "_strings",
        "hit",  # a stop string has arrived
    )

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = strings
        self._longest = max(map(len, strings))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        if self.hit:
            return ""
        text = self._held + text
        # The string that is complete first ends the text, so that the cut does not depend on the parts.
        ends = [(at + len(string), at) for string in self._strings if (at := text.find(string)) >= 0]
        if ends:
            self.hit = True
            self._held = ""
            return text[: min(ends)[1]]
        kept = len(text) - self._possible_start(text)
        self._held = text[kept:]
        return text[:kept]

    def close(self) -> str:
        text, self._held = self._held, ""
        return text

    def _possible_start(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(string.startswith(end) for string in self._strings):
                return length
        return 0


def _is_utf8(text: str) -> bool:
    """Return whether a text has no halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _join_pairs(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
