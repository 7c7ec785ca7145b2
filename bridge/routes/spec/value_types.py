"""Value types of the language: paths, templates, conditions and slots, compiled while they are checked.

The compilers of `bridge.expressions` have no locations: here their errors become problems of the file.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bridge.config.container_types import MapOf
from bridge.config.problems import NameRead
from bridge.config.value_types import INVALID, Text, ValueType
from bridge.core.addresses import parse_addresses
from bridge.core.errors import BridgeError
from bridge.core.headers import can_be_sent
from bridge.core.strings import Interpolated
from bridge.expressions.conditions import compile_request_condition, compile_when
from bridge.expressions.extractors import compile_slot
from bridge.expressions.scope import RuleErrors, Scope
from bridge.expressions.templates import compile_body, compile_text
from bridge.routes.rules.error_rule import compile_status, compile_word
from bridge.routes.rules.response_rules import (
    FinishSlot,
    TextSlot,
    UsagePart,
    compile_choices,
    compile_done,
    compile_images,
)
from bridge.routes.rules.tool_call_slot import compile_tool_calls
from bridge.routes.spec.schema_definitions import (
    CONDITION_SCHEMA,
    DEFINITIONS,
    SLOT_SCHEMA,
    TEMPLATE_SCHEMA,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.expressions.templates import ValueTemplate

__all__ = [
    "BODY", "CHOICES", "CONDITION", "DONE", "FINISH", "HEADERS", "HEADER_NAME", "HEADER_TEXT", "IMAGES",
    "QUERY", "REQUEST_CONDITION", "SLOT", "STATUS", "TEMPLATE", "TEXT_SLOT", "TOOL_CALLS", "USAGE_PART",
    "WORD", "AddressText", "CompiledValue", "HeaderMap", "Nullable", "add_problems",
]  # fmt: skip


def add_problems(errors: RuleErrors, node: Node, problems: Problems) -> bool:
    """Add the errors of a rule as problems with locations, and return whether there were any.

    The members that the rule reads are added to `problems.names_read`.
    """
    for error in errors.found:
        at = node.find(error.steps)
        location = at.key_location if error.of_key and at.key_location else at.location
        problems.add(
            location, at.path, error.message, expected=error.expected, known=error.known, word=error.word
        )
    for read in errors.reads:
        at = node.find(read.steps)
        location = at.key_location if read.of_key and at.key_location else at.location
        problems.names_read.append(NameRead(location, at.path, read.name, read.in_template))
    return bool(errors.found)


class CompiledValue(ValueType):
    """A value that a compiler of the language accepts, read as the result of the compilation."""

    def __init__(
        self,
        compiler: Callable[[Any, RuleErrors], Any],
        expected: str,
        kinds: tuple[type, ...] = (str, list, dict),
        schema: dict[str, Any] | None = None,
    ) -> None:
        self._compiler = compiler
        self._kinds = kinds
        self._schema = schema or {"type": [_JSON_TYPES[kind] for kind in kinds if kind in _JSON_TYPES]}
        self.expected = expected

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, self._kinds)

    def read(self, node: Node, problems: Problems) -> Any:
        errors = RuleErrors()
        compiled = self._compiler(node.plain(), errors)
        return INVALID if add_problems(errors, node, problems) else compiled

    def schema(self) -> dict[str, Any]:
        return dict(self._schema)


class HeaderMap(MapOf):
    """A mapping of the names of headers to values."""

    def read(self, node: Node, problems: Problems) -> Any:
        for name, item in node.value.items():
            if not re.fullmatch(_HEADER_NAME, str(name)):
                location = item.key_location or item.location
                problems.add(
                    location, item.path, "not a valid name of a header", expected="a name such as X-Key"
                )
        return super().read(node, problems)


class AddressText(ValueType):
    """Addresses to listen on, which commas separate, or one of a few words."""

    def __init__(self, expected: str, other: tuple[str, ...] = ()) -> None:
        self._other = other
        self.expected = expected

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, str)

    def read(self, node: Node, problems: Problems) -> Any:
        if node.value in self._other:
            return node.value
        try:
            parse_addresses(node.value)
        except ValueError:
            message = f"`{node.value}` is not a valid address"
            problems.add(node.location, node.path, message, expected=self.expected)
            return INVALID
        return node.value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class Nullable(ValueType):
    """A value, or null, which turns a slot off."""

    def __init__(self, of: ValueType) -> None:
        self._of = of
        self.expected = of.expected + ", or null to turn the slot off"

    def accepts(self, node: Node) -> bool:
        return node.value is None or self._of.accepts(node)

    def read(self, node: Node, problems: Problems) -> Any:
        return None if node.value is None else self._of.read(node, problems)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self._of.schema(), {"type": "null"}]}


def _compile_header(value: str | float, errors: RuleErrors) -> ValueTemplate:
    """Compile the value of a header. What a client's data cannot cause is an error of the file."""
    text = _text(value)
    template = compile_text(text, errors)
    sent = [*text.values] if isinstance(text, Interpolated) else []
    with suppress(BridgeError):  # the template rejects a request without members
        sent.append(str(template(Scope({}))))
    if not all(map(can_be_sent, sent)):
        errors.add("the value cannot be part of a header", expected="a value on one line")
    return template


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value  # not a copy, which would lose what an `Interpolated` string remembers
    return str(value).lower() if isinstance(value, bool) else str(value)


_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # a token (RFC 9110, section 5.6.2)
_JSON_TYPES = {str: "string", list: "array", dict: "object", int: "number", bool: "boolean"}
_A_SLOT = "a path, such as $.answer, a list of sources, or a mapping with one source"

SLOT = CompiledValue(compile_slot, _A_SLOT, schema=SLOT_SCHEMA)
TEXT_SLOT = CompiledValue(TextSlot.compile, _A_SLOT, schema=DEFINITIONS["slot"])
FINISH = CompiledValue(FinishSlot.compile, _A_SLOT, schema=SLOT_SCHEMA)
TOOL_CALLS = CompiledValue(compile_tool_calls, _A_SLOT, schema=SLOT_SCHEMA)
USAGE_PART = CompiledValue(UsagePart.compile, _A_SLOT, schema=SLOT_SCHEMA)
WORD = CompiledValue(compile_word, f"a word, or {_A_SLOT}", (str, int, list, dict))
STATUS = CompiledValue(compile_status, f"a status from 400 to 599, or {_A_SLOT}", (str, int, list, dict))
CHOICES = CompiledValue(compile_choices, "the path of a list, such as $.results[*]", (str,))
IMAGES = CompiledValue(compile_images, "the path of a list, such as $.images[*], or `body`", (str,))
CONDITION = CompiledValue(
    compile_when,
    "a mapping of path to match, such as {$.code: {not: 0}}, or a list of such",
    (dict, list),
    CONDITION_SCHEMA,
)
REQUEST_CONDITION = CompiledValue(
    compile_request_condition, CONDITION.expected, (dict, list), CONDITION_SCHEMA
)
DONE = CompiledValue(
    compile_done,
    "a literal, such as [DONE], or a mapping of path to match",
    schema={"anyOf": [{"type": "string"}, CONDITION_SCHEMA]},
)
TEMPLATE = CompiledValue(
    lambda value, errors: compile_text(_text(value), errors),
    "a string",
    (str, int, float),
    {"type": ["string", "number", "boolean"]},
)
HEADERS = HeaderMap(
    CompiledValue(_compile_header, "a string", (str, int, float), {"type": ["string", "number", "boolean"]})
)
QUERY = MapOf(TEMPLATE)
HEADER_NAME = Text("the name of a header", pattern=_HEADER_NAME)
HEADER_TEXT = Text(
    "a string on one line, since a header carries the string", pattern=r"[^\r\n\0\ud800-\udfff]+"
)
BODY = CompiledValue(
    compile_body,
    "a template of any JSON shape",
    (str, list, dict, int, float, bool, type(None)),
    TEMPLATE_SCHEMA,
)
