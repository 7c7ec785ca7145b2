"""Slots: where in an answer a value is found.

    $.choices[0].text
    [$.result, {header: x-answer}, {const: ""}]                  the first source that finds a value
    {path: $.stop_type, map: {eos: stop}, when: {$.stop: true}}  one source, adjusted

A slot finds nothing where its path finds nothing, and where it finds null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.expressions.conditions import compile_when
from bridge.expressions.paths import Path, compile_path, is_path
from bridge.expressions.scope import Scope
from bridge.expressions.transforms import TRANSFORMS, compile_transforms, unmapped_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors

__all__ = ["Extractor", "compile_slot"]

SOURCES = ("path", "header", "field", "const")


class Extractor(NamedTuple):
    """A compiled slot."""

    read: Callable[[Scope], Any]  # returns a value other than null, or MISSING
    sources: tuple[Path, ...]  # the paths that values come from
    condition_paths: tuple[Path, ...] = ()  # the paths that conditions of the slot read
    plain: bool = False  # the slot is one path and nothing else

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return every path that the slot reads."""
        return self.sources + self.condition_paths

    @property
    def whole(self) -> bool:
        """Return whether the document itself may be the value, so that the document need not be JSON."""
        return any(path.steps == () and not path.on_item for path in self.sources)

    def __str__(self) -> str:
        return " or ".join(path.text for path in self.sources)


def compile_slot(value: Any, faults: RuleErrors, *, extra: tuple[str, ...] = ()) -> Extractor:
    """Compile a slot. `extra`: options that its place knows besides, which are not looked at here."""
    match value:
        case str() if is_path(value):
            return _path_slot(value, faults)
        case list() if value:
            return _first([compile_slot(item, faults.below(n)) for n, item in enumerate(value)])
        case dict():
            return _mapping_slot(value, faults, extra)
    faults.add(
        f"`{value}` is no path" if isinstance(value, str) else "no slot",
        expected=f"a path, such as $.answer, a list of sources, or a mapping: {', '.join(SOURCES)}",
    )
    return Extractor(lambda scope: MISSING, ())


def _path_slot(text: str, faults: RuleErrors) -> Extractor:
    try:
        path = compile_path(text)
    except ValueError as error:
        faults.add(str(error))
        return Extractor(lambda scope: MISSING, ())
    find = path.find

    def read(scope: Scope) -> Any:
        found = find(scope)
        return MISSING if found is None else found

    return Extractor(read, (path,), plain=True)


def _first(slots: list[Extractor]) -> Extractor:
    def read(scope: Scope) -> Any:
        for slot in slots:
            found = slot.read(scope)
            if found is not MISSING:
                return found
        return MISSING

    return Extractor(
        read,
        tuple(path for slot in slots for path in slot.sources),
        tuple(path for slot in slots for path in slot.condition_paths),
    )


def _mapping_slot(options: dict[Any, Any], faults: RuleErrors, extra: tuple[str, ...]) -> Extractor:
    faults.unknown(options, (*SOURCES, "default", "when", *TRANSFORMS, *extra))
    source = _source(options, faults)
    adjust = compile_transforms(options, faults)
    when = compile_when(options["when"], faults.below("when")) if "when" in options else None
    holds = when and when.holds
    default = options.get("default", MISSING)
    inner = source.read

    def read(scope: Scope) -> Any:
        found = inner(scope) if holds is None or holds(scope) else MISSING
        if found is MISSING:
            found = default
        elif adjust is not None:
            found = adjust(found)
            passing = unmapped_value(found)
            if passing is not MISSING:
                found = passing if default is MISSING else default
        return MISSING if found is None else found

    return Extractor(read, source.sources, when.paths if when else ())


def _source(options: dict[Any, Any], faults: RuleErrors) -> Extractor:
    match options:
        case {"field": str(name), "path": inner}:
            _alone("field", {key: item for key, item in options.items() if key != "path"}, faults)
            return _field_path(name, inner, faults)
        case {"path": path} if is_path(path):
            _alone("path", options, faults)
            return _path_slot(path, faults.below("path"))
        case {"path": path}:
            faults.below("path").add(f"`{path}` is no path", expected="a path, such as $.answer")
        case {"header": str(name)}:
            _alone("header", options, faults)
            key = name.lower()
            return Extractor(lambda scope: scope.headers.get(key, MISSING), ())
        case {"field": "data"}:
            faults.below("field").add("`data` is the frame itself", expected="the path $, with `data: text`")
        case {"field": str(name)}:
            _alone("field", options, faults)
            return Extractor(lambda scope: scope.fields.get(name, MISSING), ())
        case {"const": value}:
            _alone("const", options, faults)
            return Extractor(lambda scope: value, ())
        case _:
            faults.add("no source", expected=f"one of {', '.join(SOURCES)}")
    return Extractor(lambda scope: MISSING, ())


def _alone(source: str, options: dict[Any, Any], faults: RuleErrors) -> None:
    for other in SOURCES:
        if other != source and other in options:
            faults.below(other).add_key(
                f"`{other}` beside `{source}`", expected="one source; a list takes several"
            )


def _field_path(name: str, inner: Any, faults: RuleErrors) -> Extractor:
    """The JSON inside a field of an SSE event."""
    slot = compile_slot(inner, faults.below("path"))

    def read(scope: Scope) -> Any:
        text = scope.fields.get(name)
        if text is None:
            return MISSING
        try:
            return slot.read(Scope(json.loads(text)))
        except ValueError:
            return MISSING

    return Extractor(read, ())
