"""The rules for OpenAI's own format, which a route without rules uses.

Chat completions and legacy completions are read by the same rules, since some servers respond to a chat with
the latter. A frequent deviation is read too: usage within the choice (Moonshot).
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


def _slots(message: str) -> ResponseSlots:
    """Return the slots of choices whose message is the member `message`."""
    errors = RuleErrors()
    slots = ResponseSlots(
        text=TextSlot.compile([f"$item.{message}.content", "$item.text"], errors),
        reasoning=TextSlot.compile([f"$item.{message}.{name}" for name in _REASONING], errors),
        finish_reason=FinishSlot.compile({"path": "$item.finish_reason", "unset": ["null", "None"]}, errors),
        tool_calls=compile_slot(f"$item.{message}.tool_calls", errors),
        usage=tuple(
            (name, UsagePart.compile([f"$.usage.{path}", f"$.choices[0].usage.{path}"], errors))
            for name, path in _USAGE.items()
        ),
        id=compile_slot("$.id", errors),
        logprobs=compile_slot("$item.logprobs", errors),
        choices=compile_choices("$.choices", errors),
        message=message,
        openai_usage=True,
    )
    assert not errors.found
    return slots


OPENAI_RESPONSE = replace(
    _slots("message"),
    embeddings=compile_slot("$.data", RuleErrors()),
    images=compile_choices("$.data", RuleErrors()),
    rerank=compile_choices("$.results", RuleErrors()),
)
OPENAI_STREAM = StreamRule(_slots("delta"), done_promised=True, finish_ends=True)
