"""Numbers with units: durations in seconds, sizes in bytes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.config.value_types import ValueType
from bridge.core.rate_bucket import Rate

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node

__all__ = ["DURATION", "PERCENT", "POSITIVE_DURATION", "RATE", "SIZE"]


@dataclass(frozen=True)
class Quantity(ValueType):
    """A number with a unit."""

    units: tuple[tuple[str, float], ...]  # names and factors; the unit of factor 1 is that of the value
    integral: bool  # the value is an integer
    expected: str = "an amount"
    positive: bool = False  # 0 is not accepted

    def accepts(self, node: Node) -> bool:
        value = self._value(node)
        return value is not None and (value > 0 or not self.positive)

    def read(self, node: Node, problems: Problems) -> float | int | None:
        return self._value(node)

    def _value(self, node: Node) -> float | int | None:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float | str):
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*|%)", str(node.value))
        factor = dict(self.units).get(match[2]) if match else None
        if match is None or factor is None:
            return None
        amount = float(match[1]) * factor
        if amount == math.inf:
            return None
        return int(amount) if self.integral else amount

    def schema(self) -> dict[str, Any]:
        names = "|".join(name for name, _ in self.units if name)
        return {"type": ["string", "number"], "pattern": rf"^\d+(\.\d+)?\s*({names})?$", "minimum": 0}


class RateText(ValueType):
    """An amount in a second, a minute or an hour."""

    expected = "a rate, such as 10/s, 60/m or 100k/h"

    def accepts(self, node: Node) -> bool:
        return self._value(node) is not None

    def read(self, node: Node, problems: Problems) -> Rate | None:
        return self._value(node)

    def _value(self, node: Node) -> Rate | None:
        match = re.fullmatch(_RATE, node.value) if isinstance(node.value, str) else None
        if match is None:
            return None
        amount = int(float(match["number"]) * _FACTORS[match["factor"]])
        return Rate(amount, _UNIT_SECONDS[match["unit"]]) if amount else None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\d+(\.\d+)?[kM]?\s*/\s*[smh]$"}


# Up to nine digits: a float holds what is left of such an amount to the last digit.
_RATE = r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?)(?P<factor>[kM]?)\s*/\s*(?P<unit>[smh])"
_FACTORS = {"": 1, "k": 10**3, "M": 10**6}
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
RATE = RateText()
_SECONDS = (("", 1), ("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600))
DURATION = Quantity(_SECONDS, integral=False, expected="a duration, such as 5s, 500ms or 2m")
POSITIVE_DURATION = Quantity(
    _SECONDS, integral=False, expected="a duration above 0, such as 5s, 500ms or 2m", positive=True
)
PERCENT = Quantity((("%", 0.01),), integral=False, expected="a percentage, such as 20%")
SIZE = Quantity(
    (
        ("", 1), ("B", 1), ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30),
        ("kB", 1e3), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9),
    ),
    integral=True,
    expected="a size, such as 65536 or 32MiB",
)  # fmt: skip
