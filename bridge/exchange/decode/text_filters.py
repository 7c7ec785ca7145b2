"""What happens to the text of one choice on its way: stages that hold back what is not decided yet.

    Cumulative, or Whole ─▶ Echo ─▶ Trim ─▶ Stop        each: feed(text) -> text, close() -> text

What a stage lets out never depends on how the text was cut, only how soon it does.
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


class TextFilter(Protocol):
    """One thing done to a text that comes in pieces."""

    def feed(self, text: str) -> str:
        """Take a piece, give what is decided."""

    def close(self) -> str:
        """Give what was held back."""


class SurrogateJoiner:
    """Joins halves of surrogate pairs, which servers that cut UTF-16 send apart.

    A half that stays alone becomes U+FFFD.
    """

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        if not self._half and _is_whole(text):
            return text
        text = self._half + text
        self._half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        return _join_pairs(text.removesuffix(self._half) if self._half else text)

    def close(self) -> str:
        half, self._half = self._half, ""
        return _join_pairs(half)


class CumulativeToDelta:
    """Each piece repeats all text so far, perhaps behind the prompt: what is new in it goes on.

    A trailing U+FFFD is half a character that the next piece replaces (FastChat's worker), so it waits; half
    a surrogate pair becomes one.
    What a server changes in text that was let out already is lost: a stream cannot retract.
    """

    __slots__ = ("_latest", "_prompt", "_said")

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._said = 0
        self._latest = ""

    def feed(self, text: str) -> str:
        if not _is_whole(text):
            text = _join_pairs(text)
        if self._prompt:
            text = "" if self._prompt.startswith(text) else text.removeprefix(self._prompt)
        self._latest = text
        return self._new(text.rstrip("\ufffd"))

    def close(self) -> str:
        return self._new(self._latest)

    def _new(self, text: str) -> str:
        new = text[self._said :]
        self._said = max(self._said, len(text))
        return new


class PromptStripper:
    """Takes away the prompt that the server repeats ahead of its answer."""

    __slots__ = ("_ahead", "_held")

    def __init__(self, prompt: str) -> None:
        self._ahead = prompt
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._ahead:
            return text
        self._held += text
        if len(self._held) < len(self._ahead) and self._ahead.startswith(self._held):
            return ""
        text, self._held = self._held.removeprefix(self._ahead), ""
        self._ahead = ""
        return text

    def close(self) -> str:
        text, self._held = self._held, ""
        return text


class WhitespaceTrimmer:
    """Takes away white space at both ends of the whole text."""

    __slots__ = ("_held", "_started")

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
    """Ends the text where one of some strings begins, though it come in pieces. `hit`: it has ended."""

    __slots__ = ("_held", "_longest", "_strings", "hit")

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = strings
        self._longest = max(map(len, strings))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        if self.hit:
            return ""
        text = self._held + text
        # The string that is complete first ends the text, so that it does not matter how much has arrived.
        found = [(at + len(string), at) for string in self._strings if (at := text.find(string)) >= 0]
        if found:
            self.hit = True
            self._held = ""
            return text[: min(found)[1]]
        kept = len(text) - self._begun(text)
        self._held = text[kept:]
        return text[:kept]

    def close(self) -> str:
        text, self._held = self._held, ""
        return text

    def _begun(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(string.startswith(end) for string in self._strings):
                return length
        return 0


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _join_pairs(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
