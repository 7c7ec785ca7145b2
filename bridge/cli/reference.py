"""`format-bridge reference`: every key of `routes.yaml`, from the declarations that check it."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING

from bridge.config.records import Record, records_within
from bridge.core import json
from bridge.loader import read_presets
from bridge.routes.spec import ABSENT, FILE
from bridge.routes.spec.json_schema import json_schema

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from bridge.config.records import Option

__all__ = ["print_reference", "print_schema", "reference"]

_HEAD = """\
# Reference of `routes.yaml`

Every key that `format-bridge check` accepts; `format-bridge reference` prints this page. Paths, templates,
slots and conditions are described in [the language](language.md). Keys that begin with `x-` are ignored, so
that they can hold anchors; any other unknown key is a problem. `format-bridge schema` prints the keys as a
JSON Schema, for editors that complete YAML.
"""


def print_reference(arguments: argparse.Namespace) -> int:
    """Print the reference page, and return the exit code."""
    print(reference(), end="")
    return 0


def print_schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema, and return the exit code."""
    print(json.pretty(json_schema(read_presets())))
    return 0


def reference() -> str:
    """Return the reference page in Markdown."""
    sections = [_section(title, record) for title, record in _records("", FILE, set())]
    return "\n".join([_HEAD, *sections])


def _records(path: str, record: Record, seen: set[type]) -> Iterator[tuple[str, Record]]:
    """Yield a record and the records within, each once, with the keys that lead to it."""
    if record.of in seen:
        return
    seen.add(record.of)
    yield path, record
    for key, option in record.options.items():
        for inner in records_within(option.type):
            yield from _records(f"{path}.{key}".lstrip("."), inner, seen)


def _section(path: str, record: Record) -> str:
    """Return the heading and the table of one record."""
    rows = [
        f"| `{key}` | {option.doc}{_aliases(option)} | {_cell(option.type.expected)} | {_default(option)} |"
        for key, option in record.options.items()
    ]
    title = f"## `{path}`" if path else "## The file"
    return "\n".join(
        [title, "", "| key | what it is | takes | if absent |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _aliases(option: Option) -> str:
    return f" (also `{'`, `'.join(option.aliases)}`)" if option.aliases else ""


def _default(option: Option) -> str:
    """Return the default of a key, for the column of defaults."""
    value = option.default
    if option.required:
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
