"""The reader of one response: frames in, deltas out, by the slots of one rule.

read(scope) ─▶ [Delta, …]     what a frame adds
close()     ─▶ [Delta, …]     text that filters held back
release()   ─▶ [Delta, …]     the same of a response that failed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, Delta, Usage
from bridge.core.errors import UpstreamError
from bridge.core.finish_reasons import EXPLAINS_NO_TEXT, FAILED
from bridge.core.messages import choice_index
from bridge.exchange.decode.choice_state import ChoiceState
from bridge.exchange.decode.finish_failure import finish_failure
from bridge.exchange.decode.openai_rest import OpenAIRest, replaces_text
from bridge.exchange.decode.usage_counts import UsageCounts
from bridge.exchange.decode.values import (
    as_identifier,
    as_list,
    no_text_message,
    read_text_slot,
    scope_inside,
)
from bridge.openai.token_estimate import TokenEstimator

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.exchange.decode.choice_state import ReadOptions
    from bridge.exchange.decode.text_filters import SurrogateJoiner
    from bridge.expressions.scope import Scope
    from bridge.routes.rules.response_rules import ResponseSlots, TextSlot

__all__ = ["ResponseReader"]

_MAX_SAMPLES = 4  # documents without output that are kept for the error text


class ResponseReader:
    """The reader of one response by one rule."""

    __slots__ = (
        "_begun",  # the first delta was returned, under the id and role that were known by then
        "_choices",  # by index
        "_cumulative",  # each text repeats all earlier text
        "_cut_choices",  # choices that ended at a stop string
        "_estimator",  # of the response's tokens; None without `emulate.usage: estimate`
        "_options",
        "_rest",  # the members that no slot reads; None: the format is not OpenAI's
        "_rule",
        "_samples",  # documents in which no output was found
        "_streams",  # a response has several frames
        "_surrogates",  # the filter of the first choice, if nothing else happens to the text; else None
        "body",  # the first chunk, or the completion, in OpenAI's format
        "counts",  # token counts that the upstream sent
        "ended",  # every requested choice was cut at a stop string, so that no more need be read
        "failure",  # the error of a choice that failed by its finish reason
        "finish_seen",  # a finish reason was read
        "has_output",  # text, a tool call, reasoning, or the reason of their lack was found; possibly empty
        "id",  # the upstream's id of the response
        "role",  # the upstream's role of the message
    )

    def __init__(
        self, rule: ResponseSlots, options: ReadOptions, *, streams: bool = False, cumulative: bool = False
    ) -> None:
        self._rule = rule
        self._options = options
        self._streams = streams
        self._cumulative = cumulative
        self._choices: dict[int, ChoiceState] = {}
        self._estimator = None if options.prompt_tokens is None else TokenEstimator()
        self._samples: list[Any] = []
        self._rest = None if rule.message is None else OpenAIRest(rule.message)
        self._cut_choices = 0
        self._surrogates: SurrogateJoiner | None = None
        self._begun = False
        self.body: JSONObject | None = None
        self.counts = UsageCounts()
        self.ended = False
        self.failure: UpstreamError | None = None
        self.finish_seen = False
        self.has_output = False
        self.id: str | None = None
        self.role: str | None = None

    @property
    def choice_count(self) -> int:
        """Return the number of choices, by the highest index."""
        return max(self._choices, default=-1) + 1

    @property
    def usage(self) -> Usage | None:
        """Return the token counts that were read, else an estimate if the route estimates, else None."""
        usage = self.counts.usage()
        if usage is not None or self._estimator is None or not self.has_output:
            return usage
        prompt, completion = self._options.prompt_tokens or 0, self._estimator.tokens
        return Usage(prompt, completion, prompt + completion, estimated=True)

    def inner_scope(self, scope: Scope) -> Scope:
        """Return the scope that the slots read, which may lie in a string of JSON."""
        slot = self._rule.inside
        return scope if slot is None else scope_inside(slot, scope)

    def read(self, scope: Scope, data: bytes | str | None = None) -> list[Delta]:
        """Return what one frame adds; `data` is the frame's bytes if they may be forwarded."""
        rule = self._rule
        if not self._begun:
            if self.id is None and rule.id is not None:
                self.id = as_identifier(rule.id.read(scope))
            if self.role is None and rule.role is not None:
                self.role = as_identifier(rule.role.read(scope))
        if rule.usage:
            self.counts.read(rule.usage, scope)
            if rule.openai_usage:
                self.counts.read_sent(scope.doc)
        if self.body is None and rule.message is not None and isinstance(scope.doc, dict):
            self.body = scope.doc
        if rule.choices is None:
            deltas = self._read_choice(0, scope)
        else:
            deltas = self._read_choices(rule.choices.find(scope), scope)
        self._estimate(deltas)
        self._begun = self._begun or bool(deltas)
        if not self.has_output and scope.doc is not MISSING:
            self._read_without_output(scope)
        return deltas

    def read_text(self, text: str, data: bytes | str | None) -> list[Any] | None:
        """Return what a frame adds whose only output is this text of the first choice.

        The text is not empty and has no surrogates. `data` is the frame's bytes. None: the frame has to be
        read by the rule.
        """
        surrogates = self._surrogates
        if surrogates is not None and not surrogates.half:  # nearly every frame of a stream comes here
            return [Delta(text)]
        deltas = self._deltas(self._choices[0], 0, text)
        self._estimate(deltas)
        return deltas

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
        slots = [rule.tool_calls, *(part.extractor for _, part in rule.usage)]
        if rule.reasoning is not None:
            slots.append(rule.reasoning.extractor)
        return all(slot is None or slot.read(scope) is MISSING for slot in slots)

    def close(self) -> list[Delta]:
        """Return what the filters of all choices held back."""
        deltas = [delta for n, choice in self._choices.items() if (delta := choice.close(n)) is not None]
        self._estimate(deltas)
        return deltas

    def release(self) -> list[Delta]:
        """Return the text that the filters of a failed response held back, if output was sent before.

        Without earlier output, nothing is returned, so that the failure keeps its status.
        """
        if not self._begun:
            return []
        held = [(number, *choice.release()) for number, choice in self._choices.items()]
        return [Delta(text, number, None, reasoning) for number, text, reasoning in held if text or reasoning]

    def replace(self, text: str) -> list[Delta] | None:
        """Return the deltas of a text with which the upstream replaces all earlier text.

        None: the text replaces text that a stream has sent, so that the stream ends.
        """
        self.has_output = True
        if not self._begun:
            self._begun = bool(text)
            return self._deltas(self._choices.get(0) or self._begin_choice(0), 0, text)
        if not self._options.gathers:
            return None
        self._choices.pop(0, None)
        replaced = Delta(finish_reason="content_filter", replaces=True)
        return [replaced, *self._deltas(self._begin_choice(0), 0, text)]

    def has_text(self, scope: Scope) -> bool:
        """Return whether the text slot finds text in a frame that also has an error."""
        rule = self._rule
        if rule.text is None:
            return False
        items = [scope]
        if rule.choices is not None:
            items = [scope.with_item(item) for item in as_list(rule.choices.find(scope))]
        # OpenRouter sends an empty text beside an error.
        return any(rule.text.extractor.read(item) not in (MISSING, "") for item in items)

    def no_output_message(self) -> str:
        """Return the error text for a response without output."""
        return no_text_message(str(self._rule.text.extractor) if self._rule.text else "", self._samples)

    def _read_without_output(self, scope: Scope) -> None:
        """Read a document in which the slots found no output."""
        rule = self._rule
        items = [scope]
        if rule.choices is not None:
            items = [scope.with_item(item) for item in as_list(rule.choices.find(scope))]
        if rule.text is not None and any(map(rule.text.is_empty, items)):
            self.has_output = True
        elif len(self._samples) < _MAX_SAMPLES:
            self._samples.append(scope.doc)

    def _estimate(self, deltas: list[Delta]) -> None:
        if self._estimator is not None:
            for delta in deltas:
                self._estimator.add(delta)

    def _read_choices(self, value: Any, scope: Scope) -> list[Delta]:
        deltas = []
        for position, item in enumerate(as_list(value)):
            deltas += self._read_choice(choice_index(item, position), scope.with_item(item))
        return deltas

    def _read_choice(self, index: int, scope: Scope) -> list[Delta]:
        rule, rest = self._rule, None
        if self._rest is not None:
            scope = self._rest.choice_scope(index, scope)
            rest = self._rest.read(index, scope)
            self.has_output = self.has_output or replaces_text(rest)
        text = "" if rule.text is None else self._read_text(rule.text, scope)
        reasoning = "" if rule.reasoning is None else self._read_text(rule.reasoning, scope)
        if reasoning is MISSING and self._rest is not None:
            reasoning = self._rest.reasoning(scope)
        calls = MISSING if rule.tool_calls is None else rule.tool_calls.read(scope)
        finish = None if rule.finish_reason is None else rule.finish_reason.read(scope)
        logprobs = None if rule.logprobs is None else rule.logprobs.read(scope) or None
        if finish == FAILED:
            self.failure, finish = finish_failure(rule.finish_reason, scope), None
        if finish:
            self.finish_seen = True
            self.has_output = self.has_output or finish in EXPLAINS_NO_TEXT
        if text is MISSING and reasoning is MISSING and calls is MISSING and not finish and rest is None:
            return []
        choice = self._choices.get(index) or self._begin_choice(index)
        if choice.ended:
            return []
        reasoning = choice.feed_reasoning(reasoning) if reasoning else ""
        tool_calls = None
        if calls is not MISSING:
            tool_calls = self._read_tool_calls(choice, calls)
            self.has_output = self.has_output or tool_calls is not None
        deltas = self._deltas(choice, index, text or "", finish, reasoning, tool_calls, logprobs)
        if rest is None:
            return deltas
        return [deltas[0]._replace(rest=rest)] if deltas else [Delta("", index, rest=rest)]

    def _deltas(
        self,
        choice: ChoiceState,
        index: int,
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
            reasoning += choice.split_reasoning()
            if choice.stop is not None and choice.stop.hit:
                choice.ended = True
                self._cut_choices += 1
                self.ended = self._cut_choices >= self._options.choices
                finish = "stop"
        if text or finish or reasoning or calls or logprobs:
            return [Delta(text, index, finish, reasoning, calls, logprobs)]
        return []

    def _read_tool_calls(self, choice: ChoiceState, calls: Any) -> list[dict[str, Any]] | None:
        try:
            return choice.feed_tool_calls(as_list(calls), complete=not self._streams) or None
        except UpstreamError as error:
            if path := str(self._rule.tool_calls):
                error.message = f"`{path}`: {error.message}"
            raise

    def _begin_choice(self, index: int) -> ChoiceState:
        choice = ChoiceState(self._rule.text, self._options, index, cumulative=self._cumulative)
        self._choices[index] = choice
        if index == 0 and self._estimator is None:
            self._surrogates = choice.surrogates
        return choice

    def _read_text(self, slot: TextSlot, scope: Scope) -> Any:
        text = read_text_slot(slot, scope)
        if text is not MISSING:
            self.has_output = True
        return text
