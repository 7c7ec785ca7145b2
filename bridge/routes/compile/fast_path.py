"""The check whether a stream may be read on the fast path: nothing but the text may depend on the text.

    text: $.delta.text     finish_reason: $.stop      error: {when: {$.code: {not: 0}}}      may
    text: $.text           done: {$.text: "[END]"}                                           may not

On the fast path, frames that differ in nothing but their text are read without evaluating a rule. So no path
of another rule may overlap the text's path. Every path of every compiled rule is checked: a new key of the
rules cannot be forgotten here.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from bridge.expressions.conditions import Condition
from bridge.expressions.extractors import Extractor
from bridge.expressions.paths import Path, compile_path
from bridge.routes.rules.openai_defaults import OPENAI_STREAM
from bridge.routes.rules.response_rules import ResponseSlots, TextSlot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.routes.rules.error_rule import ErrorRule
    from bridge.routes.rules.response_rules import StreamRule

__all__ = ["independent_text_path", "paths_read"]

_OPENAI_TEXT = compile_path("$.choices[0].delta.content")


def independent_text_path(
    rule: StreamRule | None, errors: Sequence[ErrorRule], session_id: Extractor | None
) -> Path | None:
    """Return the path of a stream's text if no other rule reads the text, else None."""
    if rule is None:
        return None
    # OpenAI's own rule reads choices with `$item`; the fast path itself checks that there is one choice.
    own = rule.slots is OPENAI_STREAM.slots
    text = _text_path(rule, own=own)
    others = [
        errors,
        session_id,
        replace(rule, slots=ResponseSlots() if own else replace(rule.slots, text=None)),
    ]
    if text is None or any(text.overlaps(path) for path in paths_read(others)):
        return None
    return text


def paths_read(rule: Any) -> Iterator[Path]:
    """Yield every path that a rule reads, or any of several rules."""
    if isinstance(rule, Path):
        yield rule
    elif isinstance(rule, Condition | Extractor):
        yield from rule.paths
    elif isinstance(rule, tuple | list):
        for part in rule:
            yield from paths_read(part)
    elif is_dataclass(rule):
        for entry in fields(rule):
            yield from paths_read(getattr(rule, entry.name))


def _text_path(rule: StreamRule, *, own: bool) -> Path | None:
    """Return the path of the text if the text is forwarded exactly as found there, else None.

    `own`: the slots are those of OpenAI's own streams.
    """
    text = rule.slots.text
    if (
        rule.text_data
        or rule.replace is not None
        or rule.slots.inside is not None
        or (rule.slots.choices is not None and not own)
    ):
        return None
    if '"' in rule.done_literal:
        return None  # a frame with a text could be the literal
    if own:
        return _OPENAI_TEXT
    if text is None or not text.extractor.plain or text != TextSlot(text.extractor, separator=text.separator):
        return None
    (path,) = text.extractor.sources
    return None if path.on_item or not path.steps else path
