"""`format-bridge reference`: every key of `routes.yaml`, from the declarations that check it."""

from __future__ import annotations

from dataclasses import MISSING, is_dataclass
from typing import TYPE_CHECKING, Any

from bridge.config.records import Record
from bridge.config.value_types import ValueType
from bridge.core import json
from bridge.routes.spec import ABSENT, FILE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from dataclasses import Field

__all__ = ["print_reference", "print_schema", "reference"]

_HEAD = """\
# Reference of `routes.yaml`

Every key that `format-bridge check` accepts; `format-bridge reference` prints this page. Paths, templates,
slots and conditions are described in [the language](language.md). Keys that begin with `x-` are ignored, so
that they can hold anchors; any other unknown key is a problem. `format-bridge schema` prints the keys as a
JSON Schema, for editors that complete YAML.
"""


def print_reference(called: argparse.Namespace) -> int:
    """Print the page."""
    print(reference(), end="")
    return 0


def print_schema(called: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    print(json.pretty({"$schema": "https://json-schema.org/draft/2020-12/schema", **FILE.schema()}))
    return 0


def reference() -> str:
    """The page, in Markdown."""
    sections = [_section(title, record) for title, record in _records("", FILE, set())]
    return "\n".join([_HEAD, *sections])


def _records(path: str, record: Record, seen: set[type]) -> Iterator[tuple[str, Record]]:
    """A record and those inside of it, each once, with the way to it."""
    if record.of in seen:
        return
    seen.add(record.of)
    yield path, record
    for name, entry in record.fields.items():
        for inner in _inside(entry.metadata["shape"]):
            yield from _records(f"{path}.{name}".lstrip("."), inner, seen)


def _inside(shape: ValueType) -> Iterator[Record]:
    """The records that a shape is made of."""
    if isinstance(shape, Record):
        yield shape
        return
    for value in vars(shape).values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ValueType):
                yield from _inside(part)


def _section(path: str, record: Record) -> str:
    rows = [
        f"| `{name}` | {entry.metadata['doc']}{_spellings(entry)} "
        f"| {_cell(entry.metadata['shape'].expected)} | {_default(entry)} |"
        for name, entry in record.fields.items()
    ]
    title = f"## `{path}`" if path else "## The file"
    return "\n".join(
        [title, "", "| key | what it is | takes | if absent |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _spellings(entry: Field[Any]) -> str:
    aliases = entry.metadata["aliases"]
    return f" (also `{'`, `'.join(aliases)}`)" if aliases else ""


def _default(entry: Field[Any]) -> str:
    value = entry.default
    if value is MISSING:
        return "required"
    if value is None or value == ABSENT or value == () or is_dataclass(value):
        return "–"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
