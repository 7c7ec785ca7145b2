"""Scalars of YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3.2); PyYAML resolves YAML 1.1's."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

__all__ = ["MERGE_TAG", "TAGS", "Scalar", "ScalarLoader", "scalar_value"]

Scalar = str | int | float | bool | None

_TAG = "tag:yaml.org,2002:"
MERGE_TAG = _TAG + "merge"


class ScalarLoader(yaml.SafeLoader):
    """PyYAML's loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _name, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
]:
    ScalarLoader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def scalar_value(tag: str, text: str) -> Scalar:
    """Return the value of a scalar by its tag. Raises ValueError if the text does not fit the tag."""
    value: Scalar = _READERS.get(tag, str)(text)
    return value


def _int(text: str) -> int:
    if text.startswith("0o"):
        return int(text.replace("0o", ""), 8)
    return int(text, 16 if text.startswith("0x") else 10)


def _float(text: str) -> float:
    named = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    value = named.get(text.lower())
    return float(text) if value is None else value


_READERS: dict[str, Any] = {
    _TAG + "str": str,
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": _int,
    _TAG + "float": _float,
}
TAGS = {*_READERS, _TAG + "seq", _TAG + "map"}
