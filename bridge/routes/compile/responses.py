"""Compilation of `response`, `stream` and `error`.

`response`         `stream`       non-streaming responses      streams
absent             absent         OpenAI's format              OpenAI's format
with `text`        absent         `response`                   none: the upstream cannot stream
with `text`        slots          `response`                   `stream` over `response`
without `text`     any slots      `response` over OpenAI's     `stream` over `response` over OpenAI's
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from bridge.framing import FRAMINGS, RAW_SSE
from bridge.routes.rules.error_rule import ErrorRule
from bridge.routes.rules.openai_defaults import OPENAI_RESPONSE, OPENAI_STREAM
from bridge.routes.rules.response_rules import ResponseSlots, StreamRule, TextSlot
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.responses import ResponseSpec, SlotsSpec

if TYPE_CHECKING:
    from bridge.routes.spec import RouteSpec
    from bridge.tool_formats import ToolFormat

__all__ = ["compile_errors", "compile_response", "compile_stream"]


def compile_response(spec: RouteSpec, tools: ToolFormat | None) -> ResponseSlots | None:
    """Compile how a non-streaming response is read; None if the upstream only streams."""
    match spec.response:
        case False:
            return None
        case ResponseSpec() as response:
            slots, declared = _slots(response), _declared(response)
            if _adjusts_openai(response):
                slots = slots.inherit_from(OPENAI_RESPONSE, declared)
            return slots.with_tool_format(tools, declared)
        case _:
            return OPENAI_RESPONSE


def compile_stream(spec: RouteSpec, tools: ToolFormat | None) -> StreamRule | None:
    """Compile how a stream is read; None if the upstream cannot stream."""
    stream, response = spec.stream, spec.response
    if stream is False:
        return None
    inherited = _inherited(response, stream)
    if stream is ABSENT:
        if response is ABSENT or response is False:
            return OPENAI_STREAM
        if inherited is None or response.text is not ABSENT or response.choices is not ABSENT:
            return None
        return replace(OPENAI_STREAM, slots=inherited.with_tool_format(tools, _declared(response)))
    slots = _slots(stream).inherit_from(inherited, _declared(stream))
    done = stream.done
    return StreamRule(
        slots=slots.with_tool_format(tools, _declared(stream, response)),
        framing=RAW_SSE if stream.data == "raw" and stream.framing == "sse" else FRAMINGS[stream.framing],
        inner=stream.inner,
        cumulative=stream.mode == "cumulative",
        text_data=stream.data != "json",
        only=stream.only,
        skip=stream.skip,
        done=None if isinstance(done, str) else done,
        done_literal=done if isinstance(done, str) else "[DONE]",
        done_promised=done is not None,
        replace=stream.replace,
    )


def compile_errors(spec: RouteSpec) -> tuple[ErrorRule, ...]:
    """Compile how the upstream reports failure."""
    return tuple(
        ErrorRule(**{entry.name: getattr(error, entry.name) for entry in fields(error)})
        for error in spec.error
    )


def _inherited(response: Any, stream: Any) -> ResponseSlots | None:
    """Return the slots that a stream has unless it declares them itself."""
    if isinstance(response, ResponseSpec):
        slots = _slots(response)
        if _adjusts_openai(response):
            return slots.inherit_from(OPENAI_STREAM.slots, _declared(response))
        if stream is not ABSENT and _is_openai_text(stream) and stream.choices is ABSENT:
            return slots.inherit_from(OPENAI_STREAM.slots, _declared(response) - {"text", "choices"})
        return slots
    return OPENAI_STREAM.slots if stream is not ABSENT and _adjusts_openai(stream) else None


def _adjusts_openai(spec: SlotsSpec) -> bool:
    """Return whether slots adjust OpenAI's format: they declare a map of finish reasons, say, but no text.

    The place of the text in OpenAI's format declares nothing more: the other parts have their places too.
    """
    return (spec.text is ABSENT or _is_openai_text(spec)) and spec.choices is ABSENT


def _is_openai_text(spec: SlotsSpec) -> bool:
    """Return whether the text is at OpenAI's own place in a response, or in a frame, without options."""
    text = spec.text
    if not isinstance(text, TextSlot) or text != TextSlot(text.extractor) or not text.extractor.plain:
        return False
    message = "message" if isinstance(spec, ResponseSpec) else "delta"
    steps = text.extractor.sources[0].steps
    return steps in (("choices", 0, message, "content"), ("choices", 0, "text"))


def _declared(*specs: Any) -> frozenset[str]:
    """Return the names of the slots that specs declare, or turn off with null."""
    # `url` of a stream is not the slot of an image.
    kinds = [(spec, ResponseSpec if isinstance(spec, ResponseSpec) else SlotsSpec) for spec in specs]
    names = [(spec, entry.name) for spec, kind in kinds for entry in fields(kind)]
    return frozenset(
        name
        for spec, name in names
        if getattr(spec, name, ABSENT) is not ABSENT
        and not (name == "text" and spec.choices is ABSENT and _is_openai_text(spec))
    )


def _slots(spec: SlotsSpec) -> ResponseSlots:
    slots = {name: getattr(spec, name) for name in _declared(spec)}
    usage = slots.pop("usage", None)
    parts = [(entry.name, getattr(usage, entry.name)) for entry in fields(usage)] if usage else []
    return ResponseSlots(**slots, usage=tuple((name, part) for name, part in parts if part is not None))
