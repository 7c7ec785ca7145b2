"""Rules of upstream responses, compiled: where the parts of a response are.

ResponseSlots    the slots of a response or a frame
StreamRule       slots, and how a stream is cut into frames, filtered and ended
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.core.deltas import MISSING
from bridge.core.finish_reasons import read_finish_reason
from bridge.core.regex import Pattern
from bridge.expressions.conditions import Condition, compile_when, values_equal
from bridge.expressions.extractors import Extractor, compile_slot, first_of
from bridge.expressions.paths import Path, compile_path, is_path
from bridge.framing import SSE
from bridge.openai.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.expressions.scope import RuleErrors, Scope
    from bridge.framing import Framing
    from bridge.tool_formats import ToolFormat

__all__ = [
    "IMAGE_BODY", "FinishSlot", "ResponseSlots", "StreamRule", "TextSlot", "UsagePart",
    "compile_choices", "compile_done", "compile_images", "missing_outputs",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextSlot:
    """The slot of a text, with the options for texts."""

    extractor: Extractor
    parse: bool = False  # the text is a string of JSON, to be parsed
    strip_prompt: bool = False  # the upstream repeats the prompt before the completion
    trim: bool = False
    separator: str = ""  # joins a list of strings
    after: str = ""  # only what follows the last occurrence of this marker is the text
    match: Pattern | None = None  # only the first group of a match is the text

    @classmethod
    def compile(cls, value: Any, errors: RuleErrors) -> TextSlot:
        """Compile a slot of the file."""
        if not isinstance(value, dict):
            return cls(compile_slot(value, errors))
        for name in ("strip_prompt", "trim"):
            if not isinstance(value.get(name, False), bool):
                errors.below(name).add(f"`{value[name]}` is not allowed here", expected="true or false")
        value = {**value, "as": "object"} if value.get("as") == "json" and "then" in value else value
        parse = value.get("as") == "json"
        rest = {key: item for key, item in value.items() if not (key == "as" and parse) and key != "join"}
        extractor = compile_slot(rest, errors, extra=("strip_prompt", "trim", "after", "match"))
        separator = value.get("join", "")
        if not isinstance(separator, str):
            errors.below("join").add(f"`{separator}` is not allowed here", expected="the string to join with")
        return cls(
            extractor,
            parse,
            bool(value.get("strip_prompt")),
            bool(value.get("trim")),
            str(separator),
            _marker(value.get("after", ""), errors.below("after")),
            _pattern(value["match"], errors.below("match")) if "match" in value else None,
        )

    def is_empty(self, scope: Scope) -> bool:
        """Return whether a document has null, or an empty list, in the place of the text."""
        # A condition decides whether the place counts, so that a slot with conditions is never empty.
        slot = self.extractor
        return not slot.condition_paths and any(path.leads_to_empty(scope) for path in slot.sources)

    def __str__(self) -> str:
        return str(self.extractor)


def _marker(value: Any, errors: RuleErrors) -> str:
    if not isinstance(value, str):
        errors.add(f"`{value}` is not allowed here", expected="the string before the text")
    return str(value)


def _pattern(value: Any, errors: RuleErrors) -> Pattern | None:
    try:
        return Pattern(value)
    except ValueError as error:
        errors.add(str(error), expected="RE2's syntax")
        return None


@dataclass(frozen=True, slots=True)
class FinishSlot:
    """The slot of a finish reason."""

    extractor: Extractor
    not_finished: tuple[Any, ...] = ()  # values that mean "not finished yet"

    @classmethod
    def compile(cls, value: Any, errors: RuleErrors) -> FinishSlot:
        """Compile a slot of the file."""
        unset = value.get("unset", []) if isinstance(value, dict) else []
        return cls(
            compile_slot(value, errors, extra=("unset",)),
            tuple(unset if isinstance(unset, list) else [unset]),
        )

    def read(self, scope: Scope) -> str | None:
        """Return a finish reason of OpenAI's, or FAILED; None if the response is not finished."""
        found = self.extractor.read(scope)
        if found is MISSING or any(values_equal(found, item) for item in self.not_finished):
            return None
        return read_finish_reason(found[0] if type(found) is list and len(found) == 1 else found)

    def __str__(self) -> str:
        return str(self.extractor)


class UsagePart(NamedTuple):
    """The slot of one token count."""

    extractor: Extractor
    sums: bool = False  # the counts of all frames are added; else the last count is used
    addends: tuple[Extractor, ...] = ()  # the last counts of these slots are added

    @classmethod
    def compile(cls, value: Any, errors: RuleErrors) -> UsagePart:
        """Compile a slot of the file, or the sum of several: `{sum: [$.a, $.b]}`."""
        sums = value.get("sum", False) if isinstance(value, dict) else False
        if isinstance(sums, list) and sums:
            errors.check_keys(value, ("sum",))
            below = errors.below("sum")
            addends = tuple(compile_slot(item, below.below(number)) for number, item in enumerate(sums))
            return cls(first_of(addends), addends=addends)
        if not isinstance(sums, bool):
            errors.below("sum").add(
                f"`{sums}` is not allowed here", expected="true or false, or a list of slots to add"
            )
        return cls(compile_slot(value, errors, extra=("sum",)), bool(sums))


@dataclass(frozen=True, slots=True)
class ResponseSlots:
    """The slots of a response or a frame. A slot that is None is turned off."""

    text: TextSlot | None = None
    reasoning: TextSlot | None = None
    role: Extractor | None = None
    finish_reason: FinishSlot | None = None
    tool_calls: Extractor | None = None
    usage: tuple[tuple[str, UsagePart], ...] = ()
    id: Extractor | None = None
    logprobs: Extractor | None = None
    inside: Extractor | None = None  # of the value that the other slots read, perhaps as a string of JSON
    choices: Path | None = None  # if set, the other slots read each choice as `$item`
    message: str | None = None  # in OpenAI's format, whose further members are kept: `message` or `delta`
    openai_usage: bool = False  # the token counts are OpenAI's own, whose further members are kept
    embeddings: Extractor | None = None
    images: Path | None = None  # if set, the slots below read each image as `$item`
    url: Extractor | None = None
    b64_json: Extractor | None = None
    revised_prompt: Extractor | None = None
    rerank: Path | None = None  # if set, the slots below read each ranked document as `$item`
    index: Extractor | None = None
    score: Extractor | None = None
    document: Extractor | None = None

    def has_slot(self, name: str) -> bool:
        """Return whether a slot is set."""
        return getattr(self, name) is not None

    def named(self, names: Iterable[str]) -> list[tuple[str, Extractor | Path]]:
        """Return the slots of these names that are set, and the token counts, by name, for people."""
        slots = [(name, getattr(self, name)) for name in names]
        return [(name, getattr(slot, "extractor", slot)) for name, slot in slots if slot is not None] + [
            (name, part.extractor) for name, part in self.usage
        ]

    def with_tool_format(self, tools: ToolFormat | None, declared: frozenset[str]) -> ResponseSlots:
        """Return these slots with tool calls read by a tool format, unless `tool_calls` is declared."""
        if tools is None or self.tool_calls is not None or "tool_calls" in declared:
            return self
        read, on_item = tools.read_calls, self.choices is not None

        def calls(scope: Scope) -> Any:
            return list(read(scope.item if on_item else scope.doc)) or MISSING

        return replace(self, tool_calls=Extractor(calls, ()))

    def inherit_from(self, inherited: ResponseSlots | None, declared: frozenset[str]) -> ResponseSlots:
        """Return the declared slots of these, and all others as inherited.

        If `text` is declared with a path that does not start with `$item`, no choices are inherited: the
        response is read as a single choice.
        """
        if inherited is None:
            return self
        if not declared:
            return inherited
        on_item = self.text is not None and any(path.on_item for path in self.text.extractor.sources)
        if "text" in declared and not on_item:
            declared |= {"choices", "message"}
        if "usage" in declared:
            declared |= {"openai_usage"}
        return replace(inherited, **{name: getattr(self, name) for name in declared})


@dataclass(frozen=True, slots=True)
class StreamRule:
    """The reading of a stream."""

    slots: ResponseSlots
    framing: Framing = SSE
    inner: str = "json"  # what the messages of the framing contain
    cumulative: bool = False  # each frame repeats all text so far
    text_data: bool = False  # the data of a frame is a string, not JSON
    only: Condition | None = None
    skip: Condition | None = None
    done: Condition | None = None
    done_literal: str = "[DONE]"
    done_promised: bool = False  # a stream that ends without `done` was cut short
    finish_ends: bool = False  # a finish reason counts as `done`
    replace: Extractor | None = None


def missing_outputs(slots: ResponseSlots | None, serves: Iterable[str]) -> Iterator[str]:
    """Yield the slots besides `text` that served endpoints require, and that are not set."""
    for output in dict.fromkeys(ENDPOINTS[name].output for name in serves):
        if output != "text" and (slots is None or not slots.has_slot(output)):
            yield output


def compile_choices(value: Any, errors: RuleErrors) -> Path | None:
    """Compile the path of a list."""
    if not is_path(value):
        errors.add(f"`{value}` is not a path", expected="the path of a list, such as $.results[*]")
        return None
    try:
        return compile_path(value)
    except ValueError as error:
        errors.add(str(error))
        return None


IMAGE_BODY: Final = compile_path("$")
"""The path of an image that is the body itself."""


def compile_images(value: Any, errors: RuleErrors) -> Path | None:
    """Compile the path of a list of images, or `body`."""
    return IMAGE_BODY if value == "body" else compile_choices(value, errors)


def compile_done(value: Any, errors: RuleErrors) -> str | Condition:
    """Compile the end of a stream: a literal frame, or a condition, whose frame is still read."""
    return str(value) if isinstance(value, str) else compile_when(value, errors)
