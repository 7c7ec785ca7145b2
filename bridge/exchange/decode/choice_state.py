"""The state of one choice of a response, and the options by which a response is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import Delta
from bridge.exchange.decode.reasoning_splitter import ReasoningSplitter
from bridge.exchange.decode.text_filters import (
    CumulativeToDelta,
    MarkerFilter,
    PromptStripper,
    StopSequenceCutter,
    SurrogateJoiner,
    WhitespaceTrimmer,
)
from bridge.openai.tool_calls import ToolCallAssembler

if TYPE_CHECKING:
    from bridge.exchange.decode.reasoning_splitter import ReasoningTags
    from bridge.exchange.decode.text_filters import TextFilter
    from bridge.routes.rules.response_rules import TextSlot

__all__ = ["ChoiceState", "ReadOptions"]


class ReadOptions(NamedTuple):
    """The properties of one request that the reading of its response depends on."""

    prompt: str = ""  # the prompt, which the upstream may repeat before its output
    stop: tuple[str, ...] = ()  # strings at which the bridge cuts the text
    choices: int = 1  # choices, vectors or images that the upstream is to send
    call_id: str = "call"  # the prefix of the ids of tool calls that the upstream sends without an id
    gathers: bool = False  # a stream is gathered to one response
    tags: ReasoningTags | None = None  # between which the text is reasoning
    prompt_tokens: int | None = None  # the estimate for the prompt; None: token counts are not estimated


class ChoiceState:
    """The state of one choice."""

    __slots__ = (
        "_call_id",
        "_filters",  # of the text, in their order
        "_reasoning",  # the only filter of the reasoning; None before the first reasoning
        "_splitter",  # takes reasoning out of the text; None: the text has none
        "_tool_calls",  # None before the first tool call
        "ended",  # the text was cut at a stop string
        "stop",  # the filter that cuts at stop strings
        "surrogates",  # the only filter of the text if that joins surrogates; else None
    )

    def __init__(self, slot: TextSlot | None, options: ReadOptions, index: int, *, cumulative: bool) -> None:
        self._call_id = f"{options.call_id}_{index}" if index else options.call_id
        self._tool_calls: ToolCallAssembler | None = None
        self._reasoning: SurrogateJoiner | None = None
        self.ended = False
        self.stop = StopSequenceCutter(options.stop) if options.stop else None
        prompt = options.prompt if slot and slot.strip_prompt else ""
        self._filters: list[TextFilter] = [
            CumulativeToDelta(prompt, gathers=options.gathers) if cumulative else SurrogateJoiner()
        ]
        if prompt and not cumulative:
            self._filters.append(PromptStripper(prompt))
        if slot and slot.after:
            self._filters.append(MarkerFilter(slot.after))
        self._splitter = ReasoningSplitter(options.tags) if options.tags else None
        if self._splitter:
            self._filters.append(self._splitter)
        if slot and slot.trim:
            self._filters.append(WhitespaceTrimmer())
        if self.stop:
            self._filters.append(self.stop)
        first, *others = self._filters
        self.surrogates = first if isinstance(first, SurrogateJoiner) and not others else None

    def feed(self, text: str) -> str:
        """Return the text that is final by now."""
        for text_filter in self._filters:
            text = text_filter.feed(text)
        return text

    def split_reasoning(self) -> str:
        """Return the reasoning that was taken out of the text since the last call."""
        return self._splitter.take() if self._splitter else ""

    def feed_reasoning(self, text: str) -> str:
        """Return the reasoning that is final by now."""
        if self._reasoning is None:
            self._reasoning = SurrogateJoiner()
        return self._reasoning.feed(text)

    def feed_tool_calls(self, calls: list[Any], *, complete: bool) -> list[dict[str, Any]]:
        """Return tool calls, or parts of tool calls, as OpenAI's deltas. Raises UpstreamError."""
        if self._tool_calls is None:
            self._tool_calls = ToolCallAssembler(self._call_id)
        return self._tool_calls.add(calls, complete=complete)

    def close(self, index: int) -> Delta | None:
        """Return what was held back. Raises UpstreamError if a tool call is incomplete."""
        text, reasoning = self.release()
        calls = self._tool_calls.close() if self._tool_calls else None
        return Delta(text, index, None, reasoning, calls) if text or reasoning or calls else None

    def release(self) -> tuple[str, str]:
        """Return the held text and reasoning: the rest of each filter passes the filters after it."""
        text = ""
        for text_filter in self._filters:
            text = (text_filter.feed(text) if text else "") + text_filter.close()
        if self.ended:
            text = ""
        reasoning = self.split_reasoning()
        return text, reasoning + (self._reasoning.close() if self._reasoning else "")
