"""What is remembered of each choice of an answer, and how its text is to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import Delta
from bridge.exchange.decode.text_filters import (
    CumulativeToDelta,
    PromptStripper,
    StopSequenceCutter,
    SurrogateJoiner,
    WhitespaceTrimmer,
)
from bridge.openai.tool_calls import ToolCallAssembler

if TYPE_CHECKING:
    from bridge.exchange.decode.text_filters import TextFilter
    from bridge.routes.rules.response_rules import TextSlot

__all__ = ["ChoiceState", "ReadOptions"]


class ReadOptions(NamedTuple):
    """What this request asks of the reading, besides the rule.

    `prompt` is what the server may repeat, `stop` what is cut here, `choices` how many are awaited.
    `call_id` begins the ids of tool calls that the server left without one. `prompt_tokens` is an estimate
    of the request's, for a server that tells none; None: what it does not tell stays untold.
    """

    prompt: str = ""
    stop: tuple[str, ...] = ()
    choices: int = 1
    call_id: str = "call"
    prompt_tokens: int | None = None


class ChoiceState:
    """What is remembered of one choice. `calls` and `thought` come to be with their first piece."""

    __slots__ = ("_call_id", "calls", "ended", "stages", "stop", "thought")

    def __init__(
        self, slot: TextSlot | None, options: ReadOptions, call_id: str, *, cumulative: bool
    ) -> None:
        self._call_id = call_id
        self.ended = False
        self.calls: ToolCallAssembler | None = None
        self.thought: SurrogateJoiner | None = None
        self.stop = StopSequenceCutter(options.stop) if options.stop else None
        prompt = options.prompt if slot and slot.strip_prompt else ""
        self.stages: list[TextFilter] = [CumulativeToDelta(prompt) if cumulative else SurrogateJoiner()]
        if prompt and not cumulative:
            self.stages.append(PromptStripper(prompt))
        if slot and slot.trim:
            self.stages.append(WhitespaceTrimmer())
        if self.stop:
            self.stages.append(self.stop)

    def feed(self, text: str) -> str:
        """What of a piece of text may go on by now."""
        for stage in self.stages:
            text = stage.feed(text)
        return text

    def feed_reasoning(self, text: str) -> str:
        """The same of what the model thinks."""
        if self.thought is None:
            self.thought = SurrogateJoiner()
        return self.thought.feed(text)

    def feed_tool_calls(self, found: list[Any]) -> list[dict[str, Any]]:
        """Pieces of calls of tools in OpenAI's delta form: by index, id and name once, arguments as text."""
        if self.calls is None:
            self.calls = ToolCallAssembler(self._call_id)
        return self.calls.add(found)

    def close(self, number: int) -> Delta | None:
        """What was held back: each stage's rest goes through the stages behind it."""
        text = ""
        for stage in self.stages:
            text = (stage.feed(text) if text else "") + stage.close()
        said = "" if self.ended else text
        thought = self.thought.close() if self.thought else ""
        calls = self.calls.close() if self.calls else None
        return Delta(said, number, None, thought, calls) if said or thought or calls else None
