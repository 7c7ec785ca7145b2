"""What is remembered of each choice of an answer, and how its text is to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.exchange.texts import Cumulative, Echo, Stop, Trim, Whole
from bridge.openai.tools import ToolCalls

if TYPE_CHECKING:
    from bridge.exchange.texts import Stage
    from bridge.routes.answers import TextSlot

__all__ = ["Choice", "Manner"]


class Manner(NamedTuple):
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


class Choice:
    """What is remembered of one choice."""

    __slots__ = ("calls", "ended", "stages", "stop", "thought")

    def __init__(self, slot: TextSlot | None, manner: Manner, call_id: str, *, cumulative: bool) -> None:
        self.ended = False
        self.calls = ToolCalls(call_id)
        self.thought = Whole()
        self.stop = Stop(manner.stop) if manner.stop else None
        prompt = manner.prompt if slot and slot.strip_prompt else ""
        self.stages: list[Stage] = [Cumulative(prompt) if cumulative else Whole()]
        if prompt and not cumulative:
            self.stages.append(Echo(prompt))
        if slot and slot.trim:
            self.stages.append(Trim())
        if self.stop:
            self.stages.append(self.stop)

    @property
    def open(self) -> bool:
        """Whether text goes through as it is, and none is held back."""
        (first, *others) = self.stages
        return not (self.ended or others) and isinstance(first, Whole) and first.between

    def feed(self, text: str) -> str:
        """What of a piece of text may go on by now."""
        for stage in self.stages:
            text = stage.feed(text)
        return text

    def close(self) -> str:
        """Each stage's rest goes through the stages behind it."""
        text = ""
        for stage in self.stages:
            text = (stage.feed(text) if text else "") + stage.close()
        return text
