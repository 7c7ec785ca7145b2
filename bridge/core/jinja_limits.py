"""Limits of the work and the memory that one rendering of a template takes.

Templates come with models, and their loops multiply: `{% for i in range(99999) %}` twice never ends, and
`'x' * 10**10` takes 10 GB. What grows is counted before or as soon as it is made: by the operators, calls and
filters here, and by the nodes that `jinja_counters.py` inserts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from jinja2 import pass_context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, _PassArg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2.runtime import Context

__all__ = [
    "COUNT",
    "MADE",
    "READ",
    "LimitedEnvironment",
    "TemplateLimitError",
    "with_limits",
]

_MAX_STEPS: Final = 200_000  # iterations and calls of macros
_MAX_SIZE: Final = 2**29  # characters, and 16 for each element, of all values that a template makes
_MAX_ELEMENTS: Final = 1_000_000  # of lists and mappings that a template writes or nests
_MAX_BITS: Final = 16_384  # of an integer
_MAX_WIDTH: Final = 10_000  # of a field, an indentation, a batch
_MAX_INDENT: Final = 16  # of JSON, whose lines nest
_ELEMENT: Final = 16

_LIMITS = " limits"  # a name that no template can write, as those of the filters below
COUNT, MADE, READ = " count", " made", " read"


class TemplateLimitError(Exception):
    """More work or memory than a template may take."""


class _Limits:
    """The steps, bytes and elements that are left to one rendering."""

    __slots__ = ("elements", "size", "steps")

    def __init__(self) -> None:
        self.steps = _MAX_STEPS
        self.size = _MAX_SIZE
        self.elements = _MAX_ELEMENTS

    def count(self, size: int) -> None:
        """Count an iteration that writes literal text of a size."""
        self.steps -= 1
        if self.steps < 0:
            raise TemplateLimitError(f"more than {_MAX_STEPS} iterations")
        self.add(size)

    def add(self, size: int) -> None:
        """Count characters."""
        self.size -= size
        if self.size < 0:
            raise TemplateLimitError(f"more than {_MAX_SIZE} characters, or values of that size")

    def measure(self, value: Any) -> None:
        """Count a value with all that it contains."""
        pending = [value]
        while pending:
            item = pending.pop()
            self.add(_size(item))
            if isinstance(item, Namespace):
                item = object.__getattribute__(item, "_Namespace__attrs")
            if isinstance(item, dict):
                item = item.values()
            elif not isinstance(item, list | tuple):
                continue
            self.elements -= len(item)
            if self.elements < 0:
                raise TemplateLimitError(f"more than {_MAX_ELEMENTS} elements")
            pending.extend(item)


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """An environment whose operators, calls and filters count."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def limited(self, finalize: Callable[[Any], Any] | None) -> Callable[..., Any]:
        """Let the filters count. Return the conversion of values to text, which counts the text."""
        self.filters.update({name: _limited(name, function) for name, function in self.filters.items()})
        self.filters.update({COUNT: _count, MADE: _measured, READ: _read})

        @pass_context
        def convert(context: Context, value: Any) -> Any:
            limits = _limits_of(context)
            if isinstance(value, str):
                limits.add(len(value))
            else:
                limits.measure(value)
            return value if finalize is None else finalize(value)

        return convert

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`."""
        limits = _limits_of(context)
        if operator == "+":
            limits.add(_size(left) + _size(right))
        elif operator == "%":
            _check_widths(left)
            limits.add(_size(left) + _size(right))
        elif type(left) is int and type(right) is int:
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _MAX_BITS:
                raise TemplateLimitError(f"an integer of more than {_MAX_BITS} bits")
        elif operator == "*":
            factor, repeated = (left, right) if isinstance(left, int) else (right, left)
            limits.add(_size(repeated) * max(factor, 0) if isinstance(factor, int) else 0)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - keyword arguments of any name
        """Call a function or a method of a value."""
        limits = _limits_of(__context)
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps `str.format`
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes | int):
            _check_method(limits, owner, method.__name__, args)
        value = super().call(__context, __obj, *args, **kwargs)
        limits.measure(value)
        return value


def with_limits(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of one rendering, with its limits."""
    return {**variables, _LIMITS: _Limits()}


@pass_context
def _count(context: Context, size: int) -> bool:
    _limits_of(context).count(size)
    return True


@pass_context
def _measured(context: Context, value: Any) -> Any:
    _limits_of(context).measure(value)
    return value


@pass_context
def _read(context: Context, value: Any) -> Any:
    _limits_of(context).add(_size(value))
    return value


def _limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that counts what it reads and makes."""
    pass_arg = _PassArg.from_obj(function)

    @pass_context
    def limited(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        limits = _limits_of(context)
        limits.add(_size(value))
        _check_filter(limits, name, value, (*args, *kwargs.values()))
        if name in _LAZY:
            value = _counted(limits, value)
        match pass_arg:
            case _PassArg.context:
                made = function(context, value, *args, **kwargs)
            case _PassArg.eval_context:
                made = function(context.eval_ctx, value, *args, **kwargs)
            case _PassArg.environment:
                made = function(context.environment, value, *args, **kwargs)
            case _:
                made = function(value, *args, **kwargs)
        limits.add(_size(made))
        return made

    return limited


def _counted(limits: _Limits, value: Any) -> Iterator[Any]:
    """Yield the elements of a value, and count each as an iteration."""
    for item in value:
        limits.count(1)
        yield item


def _check_filter(limits: _Limits, name: str, value: Any, arguments: tuple[Any, ...]) -> None:
    """Count what a filter makes more than it reads, before it does so."""
    match name:
        case "center" | "indent" | "batch" | "slice" | "wordwrap":
            width = _check_width(arguments, _MAX_WIDTH)
            if name in ("indent", "wordwrap") and isinstance(value, str):
                lines = value.count("\n") if name == "indent" else len(value)
                limits.add(lines * width)
        case "replace" if len(arguments) > 1:
            _check_replacement(limits, str(value), arguments)
        case "format":
            _check_widths(value)
            limits.measure(arguments)
        case "tojson":
            _check_width(arguments, _MAX_INDENT)
            limits.measure(value)
        case "join" | "pprint" | "string" | "sum" | "xmlattr" | "urlencode":
            limits.measure(value)
            if name == "join" and arguments and hasattr(value, "__len__"):
                limits.add(len(value) * _size(arguments[0]))


def _check_method(limits: _Limits, owner: str | bytes | int, name: str, arguments: tuple[Any, ...]) -> None:
    """Count what a method of a text makes, before it does so."""
    match name:
        case "translate":
            raise TemplateLimitError("`translate` is not available: use `replace`")
        case "format" | "format_map":
            _check_widths(owner)
            limits.measure(arguments)
        case "replace" if len(arguments) > 1:
            _check_replacement(limits, owner, arguments)
        case "join":
            limits.measure(arguments)
            if arguments and hasattr(arguments[0], "__len__"):
                limits.add(len(arguments[0]) * _size(owner))
        case "ljust" | "rjust" | "center" | "zfill" | "to_bytes" | "expandtabs":
            width = _check_width(arguments, _MAX_WIDTH)
            if name == "expandtabs":
                limits.add(_size(owner) * width)
    limits.add(_size(owner))


def _check_replacement(limits: _Limits, text: Any, arguments: tuple[Any, ...]) -> None:
    old, new = arguments[:2]
    if isinstance(old, type(text)) and isinstance(new, type(text)):
        limits.add(text.count(old) * _size(new))


def _check_width(arguments: tuple[Any, ...], limit: int) -> int:
    """Return the largest number or length among arguments. Raise TemplateLimitError over the limit."""
    widths = [
        len(item) if isinstance(item, str) else item for item in arguments if isinstance(item, int | str)
    ]
    width = max(widths, default=8)
    if width > limit:
        raise TemplateLimitError(f"a width of more than {limit}")
    return width


def _check_widths(form: Any) -> None:
    """Raise TemplateLimitError if the form of a text has a width of many digits, or a computed one."""
    if isinstance(form, str | bytes):
        text = form if isinstance(form, str) else form.decode("latin-1")
        if _WIDE.search(text):
            raise TemplateLimitError("a form with a width of more than four digits, or a computed one")


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, list | tuple | dict | range):
        return len(value) * _ELEMENT
    return 1


def _limits_of(context: Context) -> _Limits:
    limits = context.parent[_LIMITS]
    assert isinstance(limits, _Limits)
    return limits


_LAZY = {"map", "reject", "rejectattr", "select", "selectattr"}  # filters that run other ones on each element

_WIDE = re.compile(r"%[-+ #0]*(?:\(.*?\))?[-+ #0]*(?:\d*\.)?(?:\*|\d{5})|\{[^{}]*:[^{}]*(?:\d{5}|\{)")
