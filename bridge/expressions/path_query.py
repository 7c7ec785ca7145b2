"""Queries of RFC 9535: the segments of a path, parsed, and evaluated to a list of values.

    $.a[*].b   ─▶   (Name("a"),), (Wildcard,), (Name("b"),)   ─▶   function of (root, values)

A selector is a function of (root, value) to the list of what it selects of the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.expressions.path_tokens import PathText

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Query", "Segment", "parse_query", "parse_segments"]

Select = Callable[[Any, Any], list[Any]]

_SELECTOR = "a name in quotes, an index, a slice, * or ?"


class Segment(NamedTuple):
    """One step of a query."""

    select: Select
    step: str | int | None  # the only name or index; None if the step may select several values
    has_root: bool = False  # a filter reads from `$`


class Query(NamedTuple):
    """A parsed path, without its first character."""

    segments: tuple[Segment, ...]

    @property
    def steps(self) -> tuple[str | int, ...] | None:
        """Return names and indexes if the query selects at most one value; else None."""
        steps = tuple(segment.step for segment in self.segments if segment.step is not None)
        return steps if len(steps) == len(self.segments) else None

    @property
    def has_root(self) -> bool:
        """Return whether a filter reads from `$`."""
        return any(segment.has_root for segment in self.segments)

    def select(self, root: Any, value: Any) -> list[Any]:
        """Return the values that the query selects, in the order of the document."""
        values = [value]
        for segment in self.segments:
            values = [selected for each in values for selected in segment.select(root, each)]
        return values


def parse_query(text: str) -> Query:
    """Return the query of a whole path, which begins with one character such as `$`. Raises ValueError."""
    source = PathText(text, 1)
    segments = tuple(parse_segments(source))
    if source.position < len(text):
        raise source.error("a dot, a bracket or the end of the path")
    return Query(segments)


def parse_segments(source: PathText) -> Iterator[Segment]:
    """Yield the segments that follow in a text."""
    while True:
        start = source.position
        source.skip_blanks()
        if source.take(".."):
            if source.take("["):
                yield _descendant(*_selectors(source))
            else:
                yield _descendant([_dotted(source)], has_root=False)
        elif source.take("."):
            yield _dotted(source)
        elif source.take("["):
            yield _child(*_selectors(source))
        else:
            source.position = start  # blanks that no segment follows belong to what comes next
            return


def _dotted(source: PathText) -> Segment:
    if source.take("*"):
        return Segment(_children, None)
    name = source.take_name()
    if name is None:
        raise source.error("a name or *")
    return Segment(_member(name), name)


def _selectors(source: PathText) -> tuple[list[Segment], bool]:
    """Return the selectors up to the closing bracket, and whether a filter among them reads from `$`."""
    selectors = []
    while True:
        source.skip_blanks()
        selectors.append(_selector(source))
        source.skip_blanks()
        if source.take("]"):
            return selectors, any(selector.has_root for selector in selectors)
        source.require(",", "`,` or `]`")


def _selector(source: PathText) -> Segment:
    if source.is_at('"') or source.is_at("'"):
        name = source.take_string()
        return Segment(_member(name), name)
    if source.take("*"):
        return Segment(_children, None)
    if source.take("?"):
        from bridge.expressions.path_filters import parse_filter

        test, has_root = parse_filter(source)
        return Segment(
            lambda root, value: [child for child in _children(root, value) if test(root, child)],
            None,
            has_root,
        )
    return _index_or_slice(source)


def _index_or_slice(source: PathText) -> Segment:
    start = source.take_integer()
    index_end = source.position
    source.skip_blanks()
    if not source.take(":"):
        source.position = index_end
        if start is None:
            raise source.error(_SELECTOR)
        return Segment(_item(start), start)
    source.skip_blanks()
    stop = source.take_integer()
    source.skip_blanks()
    step = None
    if source.take(":"):
        source.skip_blanks()
        step = source.take_integer()
    bounds = slice(start, stop, step)
    if step == 0:
        return Segment(lambda root, value: [], None)
    return Segment(lambda root, value: value[bounds] if isinstance(value, list) else [], None)


def _child(selectors: list[Segment], has_root: bool) -> Segment:  # noqa: FBT001
    if len(selectors) == 1:
        return selectors[0]
    functions = [selector.select for selector in selectors]
    return Segment(
        lambda root, value: [selected for select in functions for selected in select(root, value)],
        None,
        has_root,
    )


def _descendant(selectors: list[Segment], has_root: bool) -> Segment:  # noqa: FBT001
    """Return the segment that applies selectors to a value and to everything below the value."""
    child = _child(selectors, has_root).select

    def select(root: Any, value: Any) -> list[Any]:
        selected: list[Any] = []
        pending = [value]
        while pending:
            each = pending.pop()
            selected += child(root, each)
            pending += reversed(_children(root, each))
        return selected

    return Segment(select, None, has_root)


def _children(root: Any, value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _member(name: str) -> Select:
    return lambda root, value: [value[name]] if isinstance(value, dict) and name in value else []


def _item(index: int) -> Select:
    return lambda root, value: (
        [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []
    )
