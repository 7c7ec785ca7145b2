"""Paths: `$.choices[0].delta.content`, compiled to getters.

A path of names and indexes becomes a closure and gives one value. One that can match more (wildcard,
slice, filter, `..`) is left to jsonpath-ng and gives the list of its matches. What finds nothing gives
MISSING, which costs no exception: most slots are missing in most frames.

Source of the language: jsonpath-ng's extended syntax, near RFC 9535.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.filter import Expression
from jsonpath_ng.ext.parser import parse as _parse
from jsonpath_ng.ext.string import DefintionInvalid
from jsonpath_ng.jsonpath import Fields, Index, JSONPath

from bridge.deltas import MISSING
from bridge.templating import Interpolated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.rules.scope import Scope

__all__ = ["Path", "compile_path", "is_path", "text_paths", "vector_paths"]

Step = str | int

_SIMPLE = re.compile(
    r"""\.(?P<name>[\w-]+) | \[(?P<index>-?\d+)\] | \['(?P<single>[^'\\]*)'\] | \["(?P<double>[^"\\]*)"\]""",
    re.VERBOSE,
)
# By name: jsonpath-ng 1.16 deprecates two of them, older ones lack one.
_MANY = {"Descendants", "Filter", "Slice", "Union", "Where", "WhereNot", "Wildcard"}
_DOWN = {
    "Root",
    "Child",
    "Fields",
    "Index",
    "Slice",
    "Wildcard",
    "Descendants",
    "Filter",
    "Expression",
    "This",
}
# jsonpath-ng has no error of its own for all that can be wrong; these are what it was seen to raise.
_FOREIGN = (
    JSONPathError, DefintionInvalid, ValueError, TypeError, AttributeError, LookupError, OverflowError,
    RecursionError, re.error,
)  # fmt: skip
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


def is_path(value: Any) -> bool:
    """Whether a value of the file is a path: `$`, `$.…`, `$[…`, `$item…`, as the file itself wrote it."""
    own = value.own if isinstance(value, Interpolated) else value
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
        return Path(text, _rooted(_walker(steps), on_item), on_item, many=False, steps=steps, head=head)
    tree = _parse_extended("$" + rest, text)
    many = _can_match_more(tree)
    find = _rooted(_matcher(tree, many), on_item)
    return Path(text, find, on_item, many=many, steps=None, head=_head(rest, tree))


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


def _walker(steps: tuple[Step, ...]) -> Callable[[Any], Any]:
    """A getter over names and indexes. A name wants a mapping, an index a list (a string is none)."""
    match steps:
        case ():
            return lambda value: value
        case (str(name),):
            return lambda value: value.get(name, MISSING) if type(value) is dict else MISSING

    def walk(value: Any) -> Any:
        for step in steps:
            if type(value) is dict:
                if type(step) is int or step not in value:
                    return MISSING
            elif type(value) is not list or type(step) is not int or not -len(value) <= step < len(value):
                return MISSING
            value = value[step]
        return value

    return walk


def _parse_extended(path: str, text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parse(path)
        for node in _nodes(tree):
            if isinstance(node, Expression) and node.op == "=~":
                re.compile(node.value)
            if type(node).__name__.lstrip("_") == "Intersect":  # parsed by the library, and not done by it
                raise ValueError("`&` joins no paths here")
        return tree
    except _FOREIGN as error:
        raise ValueError(f"`{text}` is no path: {' '.join(str(error).split())}") from None


def _nodes(tree: Any) -> Iterator[Any]:
    """Every node of a parsed path, those of its filters too."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for below in vars(node).values():
            waiting += [
                one for one in (below if isinstance(below, list) else [below]) if isinstance(one, JSONPath)
            ]


def _can_match_more(tree: Any) -> bool:
    return any(_matches_more(node) for node in _nodes(tree))


def _head(rest: str, tree: Any) -> str | None:
    match = _SIMPLE.match(rest)
    kinds = Counter(type(node).__name__ for node in _nodes(tree))
    # A second root or anything that looks elsewhere than down may read every member.
    return match["name"] if match and kinds.keys() <= _DOWN and kinds["Root"] == 1 else None


def _matches_more(node: Any) -> bool:
    match node:
        case Fields():
            return len(node.fields) != 1 or node.fields[0] == "*"
        case Index():
            return len(node.indices) != 1
        case _:
            return type(node).__name__.lstrip("_") in _MANY


def _matcher(tree: Any, many: bool) -> Callable[[Any], Any]:  # noqa: FBT001
    def find(value: Any) -> Any:
        if value is MISSING:
            return MISSING
        try:
            found = [match.value for match in tree.find(value)]
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return MISSING  # a filter or function held against a type it was not made for
        if not found:
            return MISSING
        return found if many else found[0]

    return find


def text_paths(docs: Iterable[Any], wanted: str = "", most: int = 6) -> list[str]:
    """The paths of some documents that hold strings, those most like the `wanted` one first."""
    found = dict.fromkeys(path for doc in docs for path in _text_paths(doc, "$", 0))
    return sorted(found, key=lambda path: -SequenceMatcher(None, path, wanted).ratio())[:most]


def vector_paths(docs: Iterable[Any], wanted: str = "", most: int = 6) -> list[str]:
    """The paths of some documents that hold lists of numbers, those most like the `wanted` one first."""
    found = dict.fromkeys(path for doc in docs for path in _vector_paths(doc, "$", 0))
    return sorted(found, key=lambda path: -SequenceMatcher(None, path, wanted).ratio())[:most]


def _vector_paths(value: Any, path: str, depth: int) -> Iterator[str]:
    match value:
        case [int() | float(), *_]:
            yield path
        case dict() if depth < 12:
            for name, below in value.items():
                yield from _vector_paths(below, path + _step_text(name), depth + 1)
        case list() if depth < 12:
            for index, below in enumerate(value[:3]):
                yield from _vector_paths(below, f"{path}[{index}]", depth + 1)


def _text_paths(value: Any, path: str, depth: int) -> Iterator[str]:
    match value:
        case str():
            yield path
        case dict() if depth < 12:
            for name, below in value.items():
                yield from _text_paths(below, path + _step_text(name), depth + 1)
        case list() if depth < 12:
            for index, below in enumerate(value[:3]):
                yield from _text_paths(below, f"{path}[{index}]", depth + 1)


def _step_text(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[\w-]+", name) else f"[{name!r}]"
