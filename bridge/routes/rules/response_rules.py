"""The answer side of a route, compiled: where in an answer its parts are found, and when it failed.

AnswerRule   the slots of a whole answer, or of a frame
StreamRule   these, and how a stream is framed, filtered and ended
ErrorRule    how the server reports failure
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING, as_finish_reason
from bridge.expressions.conditions import Condition, compile_when, values_equal
from bridge.expressions.extractors import Extractor, compile_slot
from bridge.expressions.paths import Path, compile_path, is_path
from bridge.framing import SSE
from bridge.openai.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.expressions.scope import RuleErrors, Scope
    from bridge.framing import Framing
    from bridge.tool_formats import ToolFormat

__all__ = [
    "ErrorRule",
    "FinishSlot",
    "ResponseSlots",
    "StreamRule",
    "TextSlot",
    "UsagePart",
    "missing_outputs",
]


class TextSlot(NamedTuple):
    """Where the text is, and what is done to it as text."""

    extractor: Extractor
    parse: bool = False  # the text is itself JSON
    strip_prompt: bool = False  # the server repeats the prompt ahead of its answer
    trim: bool = False
    separator: str = ""  # what joins a list of strings

    @classmethod
    def compile(cls, value: Any, faults: RuleErrors) -> TextSlot:
        """From what the file says at `text`."""
        if not isinstance(value, dict):
            return cls(compile_slot(value, faults))
        for name in ("strip_prompt", "trim"):
            if not isinstance(value.get(name, False), bool):
                faults.below(name).add(f"`{value[name]}` is not allowed here", expected="true or false")
        parse = value.get("as") == "json"
        rest = {key: item for key, item in value.items() if not (key == "as" and parse) and key != "join"}
        slot = compile_slot(rest, faults, extra=("strip_prompt", "trim"))
        glue = value.get("join", "")
        if not isinstance(glue, str):
            faults.below("join").add(f"`{glue}` is not allowed here", expected="the string to join with")
        return cls(slot, parse, bool(value.get("strip_prompt")), bool(value.get("trim")), str(glue))

    def __str__(self) -> str:
        return str(self.extractor)


class FinishSlot(NamedTuple):
    """Where the reason for the end is; `unset` are values that mean: not ended yet."""

    extractor: Extractor
    not_finished: tuple[Any, ...] = ()

    @classmethod
    def compile(cls, value: Any, faults: RuleErrors) -> FinishSlot:
        """From what the file says at `finish_reason`."""
        unset = value.get("unset", []) if isinstance(value, dict) else []
        return cls(
            compile_slot(value, faults, extra=("unset",)),
            tuple(unset if isinstance(unset, list) else [unset]),
        )

    def read(self, scope: Scope) -> str | None:
        """A word of OpenAI's vocabulary, or None while the answer goes on."""
        found = self.extractor.read(scope)
        if (
            found is MISSING
            or found == ""
            or found is False
            or any(values_equal(found, item) for item in self.not_finished)
        ):
            return None
        return as_finish_reason(found)

    def __str__(self) -> str:
        return str(self.extractor)


class UsagePart(NamedTuple):
    """Where one token count is; `total`: the counts of all frames are added, else the latest one holds."""

    extractor: Extractor
    total: bool = False

    @classmethod
    def compile(cls, value: Any, faults: RuleErrors) -> UsagePart:
        """From what the file says at a part of `usage`."""
        total = value.get("sum", False) if isinstance(value, dict) else False
        if not isinstance(total, bool):
            faults.below("sum").add(f"`{total}` is not allowed here", expected="true or false")
        return cls(compile_slot(value, faults, extra=("sum",)), bool(total))


@dataclass(frozen=True, slots=True)
class ResponseSlots:
    """The slots of an answer. None: there is nothing of that to find."""

    text: TextSlot | None = None
    reasoning: TextSlot | None = None
    role: Extractor | None = None
    finish_reason: FinishSlot | None = None
    tool_calls: Extractor | None = None
    usage: tuple[tuple[str, UsagePart], ...] = ()
    id: Extractor | None = None
    logprobs: Extractor | None = None
    choices: Path | None = None
    embeddings: Extractor | None = None
    images: Path | None = None
    url: Extractor | None = None
    b64_json: Extractor | None = None
    revised_prompt: Extractor | None = None

    def has_slot(self, name: str) -> bool:
        """Return whether a slot is given."""
        return getattr(self, name) is not None

    def sources(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return where the slots of these names and the token counts are read, for people; "" if nowhere."""
        slots = [(name, getattr(self, name)) for name in names]
        return [(name, "" if slot is None else str(slot)) for name, slot in slots] + [
            (name, str(part.extractor)) for name, part in self.usage
        ]

    def with_tool_format(self, tools: ToolFormat | None, said: frozenset[str]) -> ResponseSlots:
        """This rule with calls of tools read in a format, unless it `said` where they are, or null."""
        if tools is None or self.tool_calls is not None or "tool_calls" in said:
            return self
        read, on_item = tools.read_calls, self.choices is not None

        def calls(scope: Scope) -> Any:
            return list(read(scope.item if on_item else scope.doc)) or MISSING

        return replace(self, tool_calls=Extractor(calls, ()))

    def inherit_from(self, inherited: ResponseSlots | None, said: frozenset[str]) -> ResponseSlots:
        """This rule where it `said` something, the inherited one elsewhere.

        A text of its own that is not read with `$item` is one answer: there are no choices to inherit.
        """
        if inherited is None:
            return self
        if "text" in said and not (self.text and any(path.on_item for path in self.text.extractor.sources)):
            said |= {"choices"}
        return replace(inherited, **{name: getattr(self, name) for name in said})


@dataclass(frozen=True, slots=True)
class StreamRule:
    """How a streamed answer is read.

    `done_promised`: the server says when it is done, so that a stream without it was cut short;
    `finish_ends`: a reason for the end says so too.
    """

    slots: ResponseSlots
    framing: Framing = SSE
    inner: str = "json"
    cumulative: bool = False
    text_data: bool = False
    only: Condition | None = None
    skip: Condition | None = None
    done: Condition | None = None
    done_literal: str = "[DONE]"
    done_promised: bool = False
    finish_ends: bool = False
    replace: Extractor | None = None


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One way in which the server reports failure. Without `when`: a non-2xx status."""

    when: Condition | None = None
    message: Extractor | None = None
    type: Extractor | None = None
    code: Extractor | None = None
    status: Extractor | None = None
    retry_after: Extractor | None = None


def missing_outputs(whole: ResponseSlots | None, serves: Iterable[str]) -> Iterator[str]:
    """The slots beside `text` that served endpoints ask for, and that a rule of whole answers lacks."""
    for finds in dict.fromkeys(ENDPOINTS[name].output for name in serves):
        if finds != "text" and (whole is None or not whole.has_slot(finds)):
            yield finds


def compile_word(value: Any, faults: RuleErrors) -> Extractor:
    """A slot, or a word that stands for itself."""
    if isinstance(value, str | int) and not isinstance(value, bool) and not is_path(value):
        return Extractor(lambda scope: value, ())
    return compile_slot(value, faults)


def compile_choices(value: Any, faults: RuleErrors) -> Path | None:
    """The path of the list of answers."""
    if not is_path(value):
        faults.add(f"`{value}` is no path", expected="the path of a list, such as $.results[*]")
        return None
    try:
        return compile_path(value)
    except ValueError as error:
        faults.add(str(error))
        return None


def compile_done(value: Any, faults: RuleErrors) -> str | Condition:
    """A literal, or a condition whose frame is still read."""
    return str(value) if isinstance(value, str) else compile_when(value, faults)
