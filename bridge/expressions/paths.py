"""Paths such as `$.choices[0].delta.content`, compiled to getters.

A path of names and indexes becomes a closure and has one value. A path that can match several values
(wildcard, slice, filter, `..`) has the list of its matches as value. A path
without a match returns MISSING and raises nothing: in most frames of a stream, most paths match nothing.

The syntax is RFC 9535's; `path_tokens` names the one deviation. jsonpath-ng evaluates its own extensions.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING
from bridge.core.strings import Interpolated
from bridge.expressions.path_query import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.expressions.path_query import Query
    from bridge.expressions.scope import Scope

__all__ = ["Path", "compile_path", "find_text_paths", "is_path", "vector_paths"]

Step = str | int

_STEP = re.compile(
    r"""\.(?P<name>[\w-]+) | \[(?P<index>-?[1-9][0-9]{0,14}|0)\] |
        \['(?P<single>[^'\\\x00-\x1f]*)'\] | \["(?P<double>[^"\\\x00-\x1f]*)"\]""",
    re.VERBOSE,
)
# Syntax that jsonpath-ng has and RFC 9535 has not: functions in backticks, `=~`, single & and |, arithmetic.
_EXTENSION = re.compile(r"`|=~|(?<!&)&(?!&)|(?<!\|)\|(?!\|)|\bwhere\b|\[[\\/]|\s[-+*/]\s")
_IS_PATH = re.compile(r"\$(?:item(?=$|[.\[])|(?=$|[.\[]))")

_MAX_DEPTH = 12  # levels of a document that are searched for paths to suggest
_MAX_ITEMS = 3  # elements of each list that are searched


class Path(NamedTuple):
    """A compiled path."""

    text: str
    find: Callable[[Scope], Any]  # returns the value or MISSING
    on_item: bool  # the path begins with `$item`
    many: bool  # the value is a list of matches
    steps: tuple[Step, ...] | None  # names and indexes; None if the path has other steps
    head: str | None  # the member of the document that is read; None: possibly every member

    def __str__(self) -> str:
        return self.text

    def overlaps(self, other: Path) -> bool:
        """Return whether the value of one path may lie within the value of the other."""
        if self.head is None or other.head is None or self.on_item or other.on_item:
            return True
        if self.steps is None or other.steps is None:
            return self.head == other.head
        return not any(map(_differ, self.steps, other.steps))

    def leads_to_empty(self, scope: Scope) -> bool:
        """Return whether the path leads to null, to an empty string or to an empty list.

        A path that can match several values leads to the value before its wildcard, slice or filter.
        """
        steps = self.steps
        if steps is None:
            steps = _leading_steps(self.text.partition("item" if self.on_item else "$")[2])
            if not steps:
                return False
        value = scope.item if self.on_item else scope.doc
        try:
            found = reduce(getitem, steps, value)
        except (LookupError, TypeError):
            return False
        return (found is None or found == "" or found == []) and not _indexes_string(steps, value)


def is_path(value: Any) -> bool:
    """Return whether a value of the file is written as a path: `$`, `$.…`, `$[…` or `$item…`."""
    written = value.template if isinstance(value, Interpolated) else value
    return isinstance(written, str) and _IS_PATH.match(written) is not None


def compile_path(text: str) -> Path:
    """Compile a path. Raises ValueError if the path is invalid."""
    if isinstance(text, Interpolated):
        raise ValueError("${…} cannot be part of a path")
    text = text.rstrip()
    start = _IS_PATH.match(text)
    if start is None:
        raise ValueError(f"`{text}` is not a valid path: expected `$`, `$.name`, `$[0]` or `$item.name`")
    on_item = start[0] == "$item"
    rest = text[start.end() :]
    steps = _simple_steps(rest)
    if steps is not None:
        head = steps[0] if steps and isinstance(steps[0], str) else None
        return Path(text, _walker(steps, on_item), on_item, many=False, steps=steps, head=head)
    first = _STEP.match(rest)
    head = first["name"] if first else None
    try:
        query = parse_query("$" + rest)
    except (ValueError, RecursionError) as error:
        if _EXTENSION.search(rest):
            return _extended(text, rest, head, on_item=on_item)
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise ValueError(f"`{text}` is not a valid path: {_shifted(reason, len(start[0]) - 1)}") from None
    steps = query.steps
    if steps is not None:
        head = steps[0] if steps and isinstance(steps[0], str) else None
        return Path(text, _walker(steps, on_item), on_item, many=False, steps=steps, head=head)
    get = _rooted(_getter(query), on_item)
    return Path(text, get, on_item, many=True, steps=None, head=None if query.has_root else head)


def _getter(query: Query) -> Callable[[Any], Any]:
    """Return the getter of a query that may select several values."""

    def find(value: Any) -> Any:
        return MISSING if value is MISSING else query.select(value, value) or MISSING

    return find


def _extended(text: str, rest: str, head: str | None, *, on_item: bool) -> Path:
    """Compile a path with extensions of jsonpath-ng. Raises ValueError if the path is invalid."""
    # Few files need jsonpath-ng, which costs start-up time and memory.
    from bridge.expressions.jsonpath import compile_extended

    get, many, only_down = compile_extended("$" + rest, text)
    return Path(text, _rooted(get, on_item), on_item, many=many, steps=None, head=head if only_down else None)


def _shifted(reason: str, characters: int) -> str:
    """Return an error whose position counts from `$item` instead of `$`."""
    return re.sub(r"(?<=at character )\d+", lambda number: str(int(number[0]) + characters), reason)


def _differ(left: Step, right: Step) -> bool:
    """Return whether two steps from one value lead to two values."""
    if isinstance(left, int) and isinstance(right, int):
        # An index from the end may be any index from the start.
        return left != right and min(left, right) >= 0
    return left != right


def _simple_steps(rest: str) -> tuple[Step, ...] | None:
    """Return the steps of a path of names and indexes; None for any other path."""
    steps: list[Step] = []
    end = 0
    while end < len(rest):
        match = _STEP.match(rest, end)
        if match is None:
            return None
        if match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(next(name for name in match.group("name", "single", "double") if name is not None))
        end = match.end()
    return tuple(steps)


def _leading_steps(rest: str) -> tuple[Step, ...]:
    """Return the names and indexes at the beginning of a path."""
    end = 0
    while match := _STEP.match(rest, end):
        end = match.end()
    # A name that a function or an operator of the extended syntax follows is none: `.a.`len``.
    return _simple_steps(rest[:end]) or ()


def _rooted(get: Callable[[Any], Any], on_item: bool) -> Callable[[Scope], Any]:  # noqa: FBT001
    if on_item:
        return lambda scope: get(scope.item)
    return lambda scope: get(scope.doc)


def _walker(steps: tuple[Step, ...], on_item: bool) -> Callable[[Scope], Any]:  # noqa: FBT001
    """Return a getter over names and indexes; an index requires a list, a string is not one."""
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
        # An index into a string succeeds in Python and returns one character.
        if names_only or type(found) is not str or len(found) > 1:
            return found
        return MISSING if _indexes_string(steps, value) else found

    return walk


def _member(name: str, on_item: bool) -> Callable[[Scope], Any]:  # noqa: FBT001
    """Return a getter of one member: by far the most frequent path."""

    def find(scope: Scope) -> Any:
        value = scope.item if on_item else scope.doc
        return value.get(name, MISSING) if type(value) is dict else MISSING

    return find


def _indexes_string(steps: tuple[Step, ...], value: Any) -> bool:
    """Return whether a step indexes a string."""
    for step in steps:
        if type(value) is str:
            return True
        value = value[step]
    return False


def find_text_paths(docs: Iterable[Any], similar_to: str = "", limit: int = 6) -> list[str]:
    """Return paths to strings in documents, those most similar to a path first."""
    return _most_similar(docs, lambda value: isinstance(value, str), similar_to, limit)


def vector_paths(docs: Iterable[Any], similar_to: str = "", limit: int = 6) -> list[str]:
    """Return paths to lists of numbers in documents, those most similar to a path first."""
    return _most_similar(docs, _is_vector, similar_to, limit)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], int | float)


def _most_similar(
    docs: Iterable[Any], accepts: Callable[[Any], bool], similar_to: str, limit: int
) -> list[str]:
    paths = dict.fromkeys(path for doc in docs for path in _paths(doc, accepts, "$", 0))
    return sorted(paths, key=lambda path: -SequenceMatcher(None, path, similar_to).ratio())[:limit]


def _paths(value: Any, accepts: Callable[[Any], bool], path: str, depth: int) -> Iterator[str]:
    """Yield the paths of accepted values, down to a depth and among the first elements of lists."""
    if accepts(value):
        yield path
        return
    match value:
        case dict() if depth < _MAX_DEPTH:
            for name, member in value.items():
                yield from _paths(member, accepts, path + _step_text(name), depth + 1)
        case list() if depth < _MAX_DEPTH:
            for index, item in enumerate(value[:_MAX_ITEMS]):
                yield from _paths(item, accepts, f"{path}[{index}]", depth + 1)


def _step_text(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[\w-]+", name) else f"[{name!r}]"
