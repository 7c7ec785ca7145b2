"""Reads the frames of one answer into deltas, and remembers what only makes sense across frames.

read(Scope) ─▶ [Delta, …]        slots are read, texts go through their stages
close()     ─▶ [Delta, …]        what the stages held back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, Delta, Usage
from bridge.core.messages import choice_index
from bridge.exchange.decode.choice_state import ChoiceState
from bridge.expressions.paths import find_text_paths
from bridge.expressions.transforms import convert
from bridge.openai.token_estimate import TokenEstimator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.expressions.scope import Scope
    from bridge.routes.rules.response_rules import ResponseSlots, TextSlot

__all__ = ["ResponseReader", "as_identifier", "as_list", "count_tokens", "record_count", "to_usage"]

_MOST_KEPT = 4  # documents without text, kept to say where text would have been


class ResponseReader:
    """The answer of one upstream call, as it is read by one rule."""

    __slots__ = (
        "_begun",
        "_choices",
        "_counts",
        "_cumulative",
        "_cut",
        "_finish_seen",
        "_options",
        "_rule",
        "_samples_without_text",
        "_tally",
        "has_output",
        "id",
        "role",
    )  # fmt: skip

    def __init__(self, rule: ResponseSlots, options: ReadOptions, *, cumulative: bool = False) -> None:
        self._rule = rule
        self._options = options
        self._cumulative = cumulative
        self._choices: dict[int, ChoiceState] = {}
        self._counts: dict[str, int] = {}
        self._tally = None if options.prompt_tokens is None else TokenEstimator()
        self._samples_without_text: list[Any] = []
        self._cut = 0
        self._begun = False
        self._finish_seen = False
        self.has_output = False
        self.id: str | None = None
        self.role: str | None = None

    @property
    def ended(self) -> bool:
        """Whether every awaited choice was cut at a stop string, so that no more need be read."""
        return self._cut >= self._options.choices

    @property
    def choice_count(self) -> int:
        """How many choices there are, by the highest index."""
        return max(self._choices, default=-1) + 1

    @property
    def usage(self) -> Usage | None:
        """The token counts found, or reckoned where the route wants that; None where there are none."""
        return to_usage(self._counts) if self._counts else self._estimate()

    @property
    def finish_seen(self) -> bool:
        """Whether a reason for the end was read."""
        return self._finish_seen

    def has_only_text(self, scope: Scope, data: bytes, deltas: list[Any]) -> bool:
        """Return whether a frame, read to `deltas`, holds a text of the first choice and nothing else."""
        if len(deltas) != 1 or deltas[0] != Delta(deltas[0].text):
            return False
        rule = self._rule
        if rule.choices is not None:
            items = as_list(rule.choices.find(scope))
            if len(items) != 1:
                return False
            scope = scope.with_item(items[0])
        # What these slots find may have effects that no delta shows: counts, half a character.
        slots = [
            rule.reasoning and rule.reasoning.extractor,
            rule.tool_calls,
            *(part.extractor for _, part in rule.usage),
        ]
        return all(slot is None or slot.read(scope) is MISSING for slot in slots)

    def read_text(self, text: str, data: bytes | str | None) -> list[Any] | None:
        """Return what a frame adds that holds this text of the first choice and nothing else.

        None: the frame has to be read.
        """
        deltas = self._deltas(self._choices[0], 0, text)
        if self._tally is not None:
            self._add_up(deltas)
        return deltas

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Delta]:
        """What one frame adds; `data` are its own bytes."""
        rule = self._rule
        # With the first delta the reply begins, under the id and role that are known by then.
        if self.id is None and rule.id is not None and not self._begun:
            self.id = as_identifier(rule.id.read(scope))
        if self.role is None and rule.role is not None and not self._begun:
            self.role = as_identifier(rule.role.read(scope))
        if rule.usage:
            self.count(scope)
        if rule.choices is None:
            deltas = self._read_choice(0, scope)
        else:
            deltas = self._read_choices(rule.choices.find(scope), scope)
        self._add_up(deltas)
        self._begun = self._begun or bool(deltas)
        if not self.has_output and len(self._samples_without_text) < _MOST_KEPT and scope.doc is not MISSING:
            self._samples_without_text.append(scope.doc)
        return deltas

    def close(self) -> list[Delta]:
        """What was held back."""
        deltas = [delta for n, choice in self._choices.items() if (delta := choice.close(n)) is not None]
        self._add_up(deltas)
        return deltas

    def count(self, scope: Scope) -> None:
        """Note the token counts of a frame."""
        count_tokens(self._rule, scope, self._counts)

    def replace(self, text: str) -> Delta:
        """The server takes back what it said."""
        self.has_output = True
        return Delta(text, finish_reason="content_filter", replaces=True)

    def has_text(self, scope: Scope) -> bool:
        """Whether the text slot finds more than nothing in a frame."""
        rule = self._rule
        items = (
            [scope]
            if rule.choices is None
            else [scope.with_item(item) for item in as_list(rule.choices.find(scope))]
        )
        # Beside an error, an empty text is none (OpenRouter).
        return any(
            rule.text is not None and rule.text.extractor.read(at) not in (MISSING, "") for at in items
        )

    def no_text_message(self) -> str:
        """What to say of an answer in which no text was found."""
        wanted = str(self._rule.text.extractor) if self._rule.text else ""
        if not wanted:
            return "the route has no `text` to read from this answer"
        if not self._samples_without_text:
            return f"nothing came in which `{wanted}` could find text"
        where = ", ".join(find_text_paths(self._samples_without_text, wanted))
        return f"`{wanted}` matched no text in the upstream's answer; " + (
            f"text is at {where}" if where else "there is no text in it at all"
        )

    def _add_up(self, deltas: list[Delta]) -> None:
        if self._tally is not None:
            for delta in deltas:
                self._tally.add(delta)

    def _estimate(self) -> Usage | None:
        """The counts of an answer whose server told none."""
        asked = self._options.prompt_tokens
        if asked is None or self._tally is None or not self.has_output:
            return None
        said = self._tally.tokens
        return Usage(asked, said, asked + said, estimated=True)

    def _read_choices(self, found: Any, scope: Scope) -> list[Delta]:
        deltas = []
        for number, item in enumerate(as_list(found)):
            deltas += self._read_choice(choice_index(item, number), scope.with_item(item))
        return deltas

    def _read_choice(self, number: int, scope: Scope) -> list[Delta]:
        rule = self._rule
        text = "" if rule.text is None else self._text(rule.text, scope)
        reasoning = "" if rule.reasoning is None else self._text(rule.reasoning, scope)
        calls = MISSING if rule.tool_calls is None else rule.tool_calls.read(scope)
        finish = None if rule.finish_reason is None else rule.finish_reason.read(scope)
        logprobs = None if rule.logprobs is None else rule.logprobs.read(scope) or None
        if finish:
            self._finish_seen = True
        if text is MISSING and reasoning is MISSING and calls is MISSING and not finish:
            return []
        choice = self._choices.get(number) or self._open(number)
        thought = choice.feed_reasoning(reasoning) if reasoning and not choice.ended else ""
        called = None if calls is MISSING or choice.ended else self._calls(choice, calls)
        return self._deltas(choice, number, text or "", finish, thought, called, logprobs)

    def _deltas(
        self,
        choice: ChoiceState,
        number: int,
        text: str,
        finish: str | None = None,
        reasoning: str = "",
        calls: list[dict[str, Any]] | None = None,
        logprobs: Any = None,
    ) -> list[Delta]:
        """Return the delta of one choice, if the frame adds anything to the choice."""
        if choice.ended:
            return []
        if text:
            text = choice.feed(text)
            if choice.stop is not None and choice.stop.hit:
                choice.ended = True
                self._cut += 1
                finish = "stop"
        if text or finish or reasoning or calls or logprobs:
            return [Delta(text, number, finish, reasoning, calls, logprobs)]
        return []

    def _open(self, number: int) -> ChoiceState:
        first = self._options.call_id
        call_id = f"{first}_{number}" if number else first
        choice = ChoiceState(self._rule.text, self._options, call_id, cumulative=self._cumulative)
        self._choices[number] = choice
        return choice

    def _text(self, slot: TextSlot, scope: Scope) -> Any:
        """The text that a slot finds, MISSING where it finds none."""
        found = slot.extractor.read(scope)
        if found is MISSING:
            return MISSING
        if type(found) is str and not slot.parse:
            self.has_output = True
            return found
        if slot.parse and isinstance(found, str):
            try:
                found = json.loads(found)
            except ValueError:
                return MISSING
        if isinstance(found, list):
            texts = [_plain(_part(item)) for item in found]
            found = MISSING if not texts or MISSING in texts else slot.separator.join(texts)
        else:
            found = _plain(found)
        if found is not MISSING:
            self.has_output = True
        return found

    def _calls(self, choice: ChoiceState, found: Any) -> list[dict[str, Any]] | None:
        """Calls of tools in OpenAI's delta form: by index, id and name once, arguments as text."""
        deltas = choice.feed_tool_calls(as_list(found))
        if deltas:
            self.has_output = True
        return deltas or None


def count_tokens(rule: ResponseSlots, scope: Scope, counts: dict[str, int]) -> None:
    """Note the token counts that a rule finds in a frame."""
    for name, part in rule.usage:
        record_count(counts, name, part.extractor.read(scope), total=part.total)


def record_count(counts: dict[str, int], name: str, found: Any, *, total: bool) -> None:
    """Note one count, be it written as text; `total`: beside what was counted before."""
    if found is MISSING or isinstance(found, bool):
        return
    count = found if type(found) is int else convert(found, "int")
    if count is not MISSING and count >= 0:
        counts[name] = count + (counts.get(name, 0) if total else 0)


def to_usage(counts: Mapping[str, int]) -> Usage:
    """Token counts by name, with those that can be reckoned from them."""
    asked, said = counts.get("prompt_tokens", 0), counts.get("completion_tokens", 0)
    told = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said, **counts}
    return Usage(**told)  # type: ignore[arg-type]


def as_list(found: Any) -> list[Any]:
    """What a path found as a list of items."""
    if found is MISSING or found is None:
        return []
    return found if isinstance(found, list) else [found]


def _part(item: Any) -> Any:
    """The text of a content part, which is how many servers say what is said in pieces."""
    return item["text"] if isinstance(item, dict) and isinstance(item.get("text"), str) else item


def _plain(value: Any) -> Any:
    """A scalar as text; what is no scalar is no text."""
    match value:
        case str():
            return value
        case bool() | int() | float():
            return convert(value, "string")
        case _:
            return MISSING


def as_identifier(found: Any) -> str | None:
    """A name that a server gives, as it can go into a reply."""
    text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    return text.encode(errors="replace").decode() or None
