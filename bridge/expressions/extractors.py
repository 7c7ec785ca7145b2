"""Extractors: the slots of a file, compiled. A slot names the place of one value in an upstream response.

    $.choices[0].text
    [$.result, {header: x-answer}, {const: ""}]                  the first source that has a value
    {path: $.stop_type, map: {eos: stop}, when: {$.stop: true}}  one source, transformed

Null counts as no value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.strings import flow_text
from bridge.expressions.conditions import compile_when
from bridge.expressions.paths import Path, compile_path, is_path
from bridge.expressions.scope import Scope
from bridge.expressions.transforms import TRANSFORMS, compile_transforms, unmapped_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.expressions.scope import RuleErrors

__all__ = ["Extractor", "compile_slot", "first_of"]

SOURCES = ("path", "header", "field", "const")
_A_PATH = "a path, such as $.answer"


@dataclass(frozen=True, slots=True)
class Extractor:
    """A compiled slot."""

    read: Callable[[Scope], Any]  # returns a value other than null, or MISSING
    sources: tuple[Path, ...]  # the paths that values come from
    condition_paths: tuple[Path, ...] = ()  # the paths that conditions of the slot read
    plain: bool = False  # the slot is one path and nothing else
    options: str = ""  # what the slot has besides its path, as written

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return every path that the slot reads."""
        return self.sources + self.condition_paths

    @property
    def reads_document(self) -> bool:
        """Return whether the document itself may be the value, so that the document need not be JSON."""
        return any(path.steps == () and not path.on_item for path in self.sources)

    @property
    def written(self) -> str:
        """Return the slot with its options, for people."""
        return " ".join(part for part in (str(self), self.options) if part)

    def __str__(self) -> str:
        return " or ".join(path.text for path in self.sources)


def compile_slot(value: Any, errors: RuleErrors, *, extra: tuple[str, ...] = ()) -> Extractor:
    """Compile a slot; `extra` are further options that the caller compiles."""
    match value:
        case str() if is_path(value):
            return _path_slot(value, errors)
        case list() if value:
            return first_of([compile_slot(item, errors.below(n)) for n, item in enumerate(value)])
        case dict():
            return _mapping_slot(value, errors, extra)
    errors.add(
        f"`{value}` is not a path" if isinstance(value, str) else "not a valid slot",
        expected=f"{_A_PATH}, a list of sources, or a mapping: {', '.join(SOURCES)}",
    )
    return _NOTHING


def _path_slot(text: str, errors: RuleErrors) -> Extractor:
    try:
        path = compile_path(text)
    except ValueError as error:
        errors.add(str(error))
        return _NOTHING
    find = path.find

    def read(scope: Scope) -> Any:
        found = find(scope)
        return MISSING if found is None else found

    return Extractor(read, (path,), plain=True)


def first_of(slots: Sequence[Extractor]) -> Extractor:
    """Return the slot of the first value that any of several slots finds."""

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
        options=" ".join(slot.options for slot in slots if slot.options),
    )


def _mapping_slot(options: dict[Any, Any], errors: RuleErrors, extra: tuple[str, ...]) -> Extractor:
    errors.check_keys(options, (*SOURCES, "default", "when", "then", *TRANSFORMS, *extra))
    source = _source(options, errors)
    transform = compile_transforms(options, errors)
    when = compile_when(options["when"], errors.below("when")) if "when" in options else None
    holds = when.holds if when else None
    default = options.get("default", MISSING)
    then = compile_slot(options["then"], errors.below("then")) if "then" in options else None
    inner = source.read

    def read(scope: Scope) -> Any:
        found = inner(scope) if holds is None or holds(scope) else MISSING
        if found is MISSING:
            found = default
        elif transform is not None:
            found = transform(found)
            unmapped = unmapped_value(found)
            if unmapped is not MISSING:
                found = unmapped if default is MISSING else default
        if then is not None and found is not MISSING:
            found = then.read(Scope(found))
        return MISSING if found is None else found

    written = {name: value for name, value in options.items() if name != "path" or not is_path(value)}
    return Extractor(
        read, source.sources, when.paths if when else (), options=flow_text(written) if written else ""
    )


def _source(options: dict[Any, Any], errors: RuleErrors) -> Extractor:
    """Return the extractor of a mapping's one source."""
    match options:
        case {"field": str(name), "path": inner}:
            _check_single("field", {key: item for key, item in options.items() if key != "path"}, errors)
            return _field_path(name, inner, errors)
        case {"path": path} if is_path(path):
            _check_single("path", options, errors)
            return _path_slot(path, errors.below("path"))
        case {"path": path}:
            errors.below("path").add(f"`{path}` is not a path", expected=_A_PATH)
        case {"header": str(name)}:
            _check_single("header", options, errors)
            key = name.lower()
            return Extractor(lambda scope: scope.headers.get(key, MISSING), ())
        case {"field": "data"}:
            errors.below("field").add(
                "`data` is the frame itself, not a field", expected="the path $, with `data: text`"
            )
        case {"field": str(name)}:
            _check_single("field", options, errors)
            return Extractor(lambda scope: scope.fields.get(name, MISSING), ())
        case {"const": value}:
            _check_single("const", options, errors)
            return Extractor(lambda scope: value, ())
        case _:
            errors.add("missing source", expected=f"one of {', '.join(SOURCES)}")
    return _NOTHING


def _check_single(source: str, options: dict[Any, Any], errors: RuleErrors) -> None:
    """Add an error for every source besides the first."""
    for other in SOURCES:
        if other != source and other in options:
            errors.below(other).add_key(
                f"`{other}` cannot be combined with `{source}`",
                expected="one source; for several, a list of slots",
            )


def _field_path(name: str, inner: Any, errors: RuleErrors) -> Extractor:
    """Return the extractor of a slot in the JSON of an SSE field."""
    slot = compile_slot(inner, errors.below("path"))

    def read(scope: Scope) -> Any:
        text = scope.fields.get(name)
        if text is None:
            return MISSING
        try:
            return slot.read(Scope(json.loads_text(text)))
        except ValueError:
            return MISSING

    return Extractor(read, ())  # the paths within a field read nothing of the frame's document


_NOTHING = Extractor(lambda scope: MISSING, ())
