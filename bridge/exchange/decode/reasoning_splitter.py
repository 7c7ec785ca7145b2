"""The filter that takes reasoning out of a text: what lies between tags such as `<think>` and `</think>`.

    "<think>hm</think>\\n\\nHello"  ─▶  reasoning "hm", text "Hello"

A tag may arrive in parts. White space at both ends of the reasoning, and after a closing tag, is left out.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ReasoningSplitter", "ReasoningTags"]


class ReasoningTags(NamedTuple):
    """The tags around reasoning."""

    opening: str
    closing: str
    begins_inside: bool  # the opening tag is part of the prompt


class ReasoningSplitter:
    """Takes the reasoning out of a text that arrives in parts."""

    __slots__ = (
        "_at_start",  # white space is left out
        "_held",  # the end of the text, where a tag or white space before a tag may begin
        "_inside",
        "_reasoning",
        "_tags",
    )

    def __init__(self, tags: ReasoningTags) -> None:
        self._tags = tags
        self._inside = tags.begins_inside
        self._at_start = tags.begins_inside
        self._held = ""
        self._reasoning: list[str] = []

    def feed(self, text: str) -> str:
        """Take a part of the text, and return the text that is final by now."""
        text = self._held + text
        out: list[str] = []
        while True:
            if self._at_start:
                text = text.lstrip()
                if self._inside:  # the opening tag of a model that sends one all the same
                    text = text.removeprefix(self._tags.opening).lstrip()
                self._at_start = not text or (self._inside and self._tags.opening.startswith(text))
                if self._at_start:
                    self._held = text
                    return "".join(out)
            before, tag, after = text.partition(self._tags.closing if self._inside else self._tags.opening)
            if not tag:
                break
            self._add(before.rstrip() if self._inside else before, out)
            self._inside, self._at_start, text = not self._inside, True, after
        kept = len(text) - self._undecided(text)
        self._add(text[:kept], out)
        self._held = text[kept:]
        return "".join(out)

    def take(self) -> str:
        """Return the reasoning since the last call."""
        reasoning = "".join(self._reasoning)
        self._reasoning.clear()
        return reasoning

    def close(self) -> str:
        """Return the text that was held back."""
        out: list[str] = []
        self._add(self._held.rstrip() if self._inside else self._held, out)
        self._held = ""
        return "".join(out)

    def _add(self, text: str, out: list[str]) -> None:
        if text:
            (self._reasoning if self._inside else out).append(text)

    def _undecided(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a tag, or before one."""
        tag = self._tags.closing if self._inside else self._tags.opening
        longest = min(len(tag) - 1, len(text))
        partial = next((size for size in range(longest, 0, -1) if text.endswith(tag[:size])), 0)
        if not self._inside:
            return partial
        end = len(text) - partial
        return partial + end - len(text[:end].rstrip())
