"""Sandboxed Jinja templates. No other module imports Jinja, which is only loaded for a file with a template.

Only the text of the file of routes is parsed. A value of `${…}` is put into the parsed template as text, so
that braces in the value have no meaning.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from jinja2 import ChainableUndefined, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables

from bridge.core.errors import BridgeError, RequestError
from bridge.core.jinja_counters import insert_counters
from bridge.core.jinja_limits import (
    LimitedEnvironment,
    TemplateLimitError,
    with_limits,
)
from bridge.core.strings import Interpolated, PathText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jinja2.parser import Parser

__all__ = ["JinjaTemplate", "UnknownNameError"]

_UNKNOWN = re.compile(r"No (?P<kind>filter|test) named '(?P<name>[^']*)'")


class UnknownNameError(ValueError):
    """A filter or a test that Jinja lacks."""

    def __init__(self, message: str, word: str, known: Iterable[str]) -> None:
        super().__init__(message)
        self.word = word
        self.known = tuple(known)


class JinjaTemplate:
    """A compiled template."""

    __slots__ = (
        "_is_limited",  # the template can take more than its text and values suggest
        "_render",
        "variables",
    )

    variables: frozenset[str]  # the names that the template reads

    def __init__(self, text: str, *, finalize: Callable[[Any], Any] | None = None) -> None:
        """Compile a template; `finalize` converts the value of each expression. Raises ValueError."""
        environment = _environment()
        try:
            tree = environment.parse(text.template if isinstance(text, Interpolated) else text)
            if isinstance(text, Interpolated):
                _fill(tree, text)
            # Most templates are a few names, which need no limits. `find_undeclared_variables` compiles the
            # template, and so runs filters of constants.
            self._is_limited = insert_counters(tree)
            environment.finalize = environment.limited(finalize) if self._is_limited else finalize
            self.variables = frozenset(find_undeclared_variables(tree) - environment.globals.keys())
            self._render = environment.from_string(tree).render
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            message = f"{error.message}" + (f" (line {line} of the template)" if line else "")
            unknown = _UNKNOWN.match(error.message or "")
            if unknown is None:
                raise ValueError(message) from None
            known = environment.filters if unknown["kind"] == "filter" else environment.tests
            raise UnknownNameError(message, unknown["name"], known) from None

    def __call__(self, variables: Mapping[str, Any]) -> str:
        """Render. Raises RequestError if the template rejects the messages, BridgeError (500) if it fails."""
        try:
            return self._render(with_limits(variables) if self._is_limited else variables)
        except BridgeError:
            raise
        except TemplateLimitError as error:
            message = f"a template of the route takes too much: {error}{_place(error)}"
            raise BridgeError(500, message, code="template_error") from error
        except Exception as error:  # a template may raise any exception
            message = f"a template of the route failed: {type(error).__name__}: {error}{_place(error)}"
            raise BridgeError(500, message, code="template_error") from error


class _Generation(Extension):
    """`{% generation %}` of Hugging Face, which marks the assistant's texts for training."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the content of the block."""
        next(parser.stream)
        body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


def _fill(tree: nodes.Template, text: Interpolated) -> None:
    for data in tree.find_all(nodes.TemplateData):
        data.data = text.fill(data.data)
    for const in tree.find_all(nodes.Const):
        if isinstance(const.value, str):
            const.value = text.fill(const.value)


def _place(error: Exception) -> str:
    """Return the innermost line of the template in the traceback of an error."""
    traceback, line = error.__traceback__, None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return "" if line is None else f" (line {line} of the template)"


def _environment() -> LimitedEnvironment:
    environment = LimitedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=ChainableUndefined,
        extensions=["jinja2.ext.loopcontrols", _Generation],
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.filters["tojson"] = _tojson
    environment.filters["path"] = PathText
    environment.filters["base64"] = _base64
    del environment.globals["lipsum"]
    return environment


def _base64(value: Any) -> str:
    return b64encode(str(value).encode("utf-8", "surrogateescape")).decode()


def _raise_exception(message: str) -> None:
    """Reject messages: Hugging Face's chat templates call this function."""
    raise RequestError(400, str(message), param="messages")


def _tojson(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:  # noqa: FBT001, FBT002
    # As in transformers' apply_chat_template: no escapes for HTML, readable characters.
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
