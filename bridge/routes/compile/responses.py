"""Compiles how answers are read: `response`, `stream` and `error`.

response      stream        whole answers are read by    streams are read by
─             ─             OpenAI's own shape           OpenAI's own shape
with text     ─             it                           nothing: the server cannot stream
with text     slots         it                           `stream`, over `response`
no text       ─ or slots    it, over OpenAI's shape      `stream`, over `response`, over OpenAI's shape
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from bridge.framing import FRAMINGS
from bridge.routes.rules.openai_defaults import OPENAI_RESPONSE, OPENAI_STREAM
from bridge.routes.rules.response_rules import ErrorRule, ResponseSlots, StreamRule
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.responses import ResponseSpec

if TYPE_CHECKING:
    from bridge.routes.spec import RouteSpec
    from bridge.routes.spec.responses import SlotsSpec
    from bridge.tool_formats import ToolFormat

__all__ = ["compile_errors", "compile_response", "compile_stream"]


def compile_response(spec: RouteSpec, tools: ToolFormat | None) -> ResponseSlots | None:
    """How a whole answer is read; None: the server only streams."""
    match spec.response:
        case False:
            return None
        case ResponseSpec() as response:
            rule = _answer_rule(response)
            rule = rule.inherit_from(OPENAI_RESPONSE, _said(response)) if _adjusts(response) else rule
            return rule.with_tool_format(tools, _said(response))
        case _:
            return OPENAI_RESPONSE


def compile_stream(spec: RouteSpec, tools: ToolFormat | None) -> StreamRule | None:
    """How a stream is read; None: the server cannot stream."""
    stream, response = spec.stream, spec.response
    if stream is False:
        return None
    inherited = _inherited(response, stream)
    if stream is ABSENT:
        if response is ABSENT:
            return OPENAI_STREAM
        if inherited is None or not _adjusts(response):
            return None
        return replace(OPENAI_STREAM, slots=inherited.with_tool_format(tools, _said(response)))
    done = stream.done
    return StreamRule(
        slots=_answer_rule(stream)
        .inherit_from(inherited, _said(stream))
        .with_tool_format(tools, _said(stream, response)),
        framing=FRAMINGS[stream.framing],
        inner=stream.inner,
        cumulative=stream.mode == "cumulative",
        text_data=stream.data == "text",
        only=stream.only,
        skip=stream.skip,
        done=None if isinstance(done, str) else done,
        done_literal=done if isinstance(done, str) else "[DONE]",
        done_promised=done is not None,
        replace=stream.replace,
    )


def compile_errors(spec: RouteSpec) -> tuple[ErrorRule, ...]:
    """How the server reports failure."""
    return tuple(
        ErrorRule(**{entry.name: getattr(error, entry.name) for entry in fields(error)})
        for error in spec.error
    )


def _inherited(response: Any, stream: Any) -> ResponseSlots | None:
    """What a stream reads where it says nothing itself."""
    if isinstance(response, ResponseSpec):
        rule = _answer_rule(response)
        return rule.inherit_from(OPENAI_STREAM.slots, _said(response)) if _adjusts(response) else rule
    return OPENAI_STREAM.slots if stream is not ABSENT and _adjusts(stream) else None


def _adjusts(spec: SlotsSpec) -> bool:
    """Whether the slots adjust OpenAI's own shape: a map of finish reasons, say, and no text of their own."""
    return spec.text is ABSENT and spec.choices is ABSENT


def _said(*specs: Any) -> frozenset[str]:
    """The slots that specs say something of, be it that they are off."""
    slots = [(spec, entry.name) for spec in specs for entry in fields(ResponseSpec)]
    return frozenset(name for spec, name in slots if getattr(spec, name, ABSENT) is not ABSENT)


def _answer_rule(spec: SlotsSpec) -> ResponseSlots:
    slots = {name: getattr(spec, name) for name in _said(spec)}
    usage = slots.pop("usage", None)
    parts = [(entry.name, getattr(usage, entry.name)) for entry in fields(usage)] if usage else []
    return ResponseSlots(**slots, usage=tuple((name, part) for name, part in parts if part is not None))
