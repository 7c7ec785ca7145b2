"""OpenAI's own shape, as the rules that a route without any has.

Chat and legacy completions are read alike, since a chat may be answered by either, and what many servers
that nearly speak it do is read too: usage inside of the choice (Moonshot), messages in a stream.
"""

from __future__ import annotations

from dataclasses import replace

from bridge.expressions.extractors import compile_slot
from bridge.expressions.scope import RuleErrors
from bridge.routes.rules.response_rules import (
    FinishSlot,
    ResponseSlots,
    StreamRule,
    TextSlot,
    UsagePart,
    compile_choices,
)

__all__ = ["OPENAI_RESPONSE", "OPENAI_STREAM"]

_REASONING = ("reasoning_content", "reasoning")
_USAGE = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "cached_tokens": "prompt_tokens_details.cached_tokens",
    "reasoning_tokens": "completion_tokens_details.reasoning_tokens",
}


def _rule(message: str, *others: str) -> ResponseSlots:
    faults = RuleErrors()
    texts = [f"$item.{message}.content", "$item.text", *others]
    rule = ResponseSlots(
        text=TextSlot.compile(texts, faults),
        reasoning=TextSlot.compile([f"$item.{message}.{name}" for name in _REASONING], faults),
        finish_reason=FinishSlot.compile({"path": "$item.finish_reason", "unset": ["null", "None"]}, faults),
        tool_calls=compile_slot(f"$item.{message}.tool_calls", faults),
        usage=tuple(
            (name, UsagePart.compile([f"$.usage.{path}", f"$.choices[0].usage.{path}"], faults))
            for name, path in _USAGE.items()
        ),
        id=compile_slot("$.id", faults),
        logprobs=compile_slot("$item.logprobs", faults),
        choices=compile_choices("$.choices", faults),
    )
    assert not faults.found
    return rule


OPENAI_RESPONSE = replace(
    _rule("message"),
    embeddings=compile_slot("$.data", RuleErrors()),
    images=compile_choices("$.data", RuleErrors()),
)
OPENAI_STREAM = StreamRule(_rule("delta", "$item.message.content"), done_promised=True, finish_ends=True)
