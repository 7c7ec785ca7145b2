"""Paths: `$.choices[0].delta.content`, compiled to getters.

A path of names and indexes becomes a closure and gives one value. One that can match more (wildcard,
slice, filter, `..`) is left to jsonpath-ng and gives the list of its matches. What finds nothing gives
MISSING, which costs no exception: most slots are missing in most frames.

Source of the language: jsonpath-ng's extended syntax, near RFC 9535.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING
from bridge.core.strings import Interpolated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.expressions.scope import Scope

__all__ = ["Path", "compile_path", "find_text_paths", "is_path", "vector_paths"]

Step = str | int

_SIMPLE = re.compile(
    r"""\.(?P<name>[\w-]+) | \[(?P<index>-?\d+)\] | \['(?P<single>[^'\\]*)'\] | \["(?P<double>[^"\\]*)"\]""",
    re.VERBOSE,
)
_IS_PATH = re.compile(r"\$(?:item(?=$|[.\[])|(?=$|[.\[]))")


class Path(NamedTuple):
    """A compiled path. `find(scope)` gives its value or MISSING.

    `on_item`: it begins at `$item`. `many`: it gives a list of matches. `steps`: its names and indexes,
    None where it is more than these. `head`: the first name, the member of the document that it reads; None:
    possibly every one.
    """

    text: str
    find: Callable[[Scope], Any]
    on_item: bool
    many: bool
    steps: tuple[Step, ...] | None
    head: str | None

    def overlaps(self, other: Path) -> bool:
        """Return whether one of two paths may lead to a value within the other's value."""
        if self.head is None or other.head is None or self.on_item or other.on_item:
            return True
        if self.steps is None or other.steps is None:
            return self.head == other.head
        return not any(map(_differ, self.steps, other.steps))

    def __str__(self) -> str:
        return self.text


def _differ(left: Step, right: Step) -> bool:
    """Return whether two steps from one value lead to two values."""
    if isinstance(left, int) and isinstance(right, int):
        # An index from the end may be any index from the start.
        return left != right and min(left, right) >= 0
    return left != right


def is_path(value: Any) -> bool:
    """Whether a value of the file is a path: `$`, `$.…`, `$[…`, `$item…`, as the file itself wrote it."""
    own = value.template if isinstance(value, Interpolated) else value
    return isinstance(own, str) and _IS_PATH.match(own) is not None


def compile_path(text: str) -> Path:
    """Compile a path. Raises ValueError that says what is wrong with it."""
    if isinstance(text, Interpolated):
        raise ValueError("${…} cannot be part of a path")
    text = text.rstrip()
    start = _IS_PATH.match(text)
    if start is None:
        raise ValueError(f"`{text}` is no path: expected `$`, `$.name`, `$[0]` or `$item.name`")
    on_item = start[0] == "$item"
    rest = text[start.end() :]
    steps = _simple_steps(rest)
    if steps is not None:
        head = steps[0] if steps and isinstance(steps[0], str) else None
        return Path(text, _walker(steps, on_item), on_item, many=False, steps=steps, head=head)
    from bridge.expressions.jsonpath import (
        compile_extended,  # its library costs start and memory, which few need
    )

    get, many, simple = compile_extended("$" + rest, text)
    first = _SIMPLE.match(rest)
    head = first["name"] if first and simple else None
    return Path(text, _rooted(get, on_item), on_item, many=many, steps=None, head=head)


def _simple_steps(rest: str) -> tuple[Step, ...] | None:
    steps: list[Step] = []
    end = 0
    while end < len(rest):
        match = _SIMPLE.match(rest, end)
        if match is None:
            return None
        if match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(next(name for name in match.group("name", "single", "double") if name is not None))
        end = match.end()
    return tuple(steps)


def _rooted(get: Callable[[Any], Any], on_item: bool) -> Callable[[Scope], Any]:  # noqa: FBT001
    if on_item:
        return lambda scope: get(scope.item)
    return lambda scope: get(scope.doc)


def _walker(steps: tuple[Step, ...], on_item: bool) -> Callable[[Scope], Any]:  # noqa: FBT001
    """A getter over names and indexes. A name wants a mapping, an index a list (a string is none)."""
    match steps:
        case ():
            return _rooted(lambda value: value, on_item)
        case (str(name),):
            return _member(name, on_item)

    names_only = all(isinstance(step, str) for step in steps)

    def walk(scope: Scope) -> Any:
        value = scope.item if on_item else scope.doc
        try:
            found = reduce(getitem, steps, value)
        except (LookupError, TypeError):
            return MISSING
        # Of a string an index would give a character, which is a string again.
        if names_only or type(found) is not str or len(found) > 1:
            return found
        return found if _leads(steps, value) else MISSING

    return walk


def _member(name: str, on_item: bool) -> Callable[[Scope], Any]:  # noqa: FBT001
    """The most frequent path of all: one member."""

    def find(scope: Scope) -> Any:
        value = scope.item if on_item else scope.doc
        return value.get(name, MISSING) if type(value) is dict else MISSING

    return find


def _leads(steps: tuple[Step, ...], value: Any) -> bool:
    """Whether no index among the steps is one of a string."""
    for step in steps:
        if type(value) is str:
            return False
        value = value[step]
    return True


def find_text_paths(docs: Iterable[Any], wanted: str = "", most: int = 6) -> list[str]:
    """The paths of some documents that hold strings, those most like the `wanted` one first."""
    return _likest(docs, lambda value: isinstance(value, str), wanted, most)


def vector_paths(docs: Iterable[Any], wanted: str = "", most: int = 6) -> list[str]:
    """The paths of some documents that hold lists of numbers, those most like the `wanted` one first."""
    return _likest(docs, _is_vector, wanted, most)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], int | float)


def _likest(docs: Iterable[Any], sought: Callable[[Any], bool], wanted: str, most: int) -> list[str]:
    found = dict.fromkeys(path for doc in docs for path in _paths(doc, sought, "$", 0))
    return sorted(found, key=lambda path: -SequenceMatcher(None, path, wanted).ratio())[:most]


def _paths(value: Any, sought: Callable[[Any], bool], path: str, depth: int) -> Iterator[str]:
    """The paths of the values that are sought, not too deep, and of the first few elements of a list."""
    if sought(value):
        yield path
        return
    match value:
        case dict() if depth < 12:
            for name, below in value.items():
                yield from _paths(below, sought, path + _step_text(name), depth + 1)
        case list() if depth < 12:
            for index, below in enumerate(value[:3]):
                yield from _paths(below, sought, f"{path}[{index}]", depth + 1)


def _step_text(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[\w-]+", name) else f"[{name!r}]"
