"""Each target on changed seeds, and on the data that a fuzzer found faults with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

CASES = sorted((Path(__file__).parent / "cases").glob("*/*"))

CHANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 8), st.binary(max_size=3)), max_size=4)


def changed(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Return a seed after changes: at a position, some bytes are replaced by other ones."""
    for position, length, replacement in changes:
        at = position % (len(seed) + 1)
        seed = seed[:at] + replacement + seed[at + length :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_pass(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_changed_seeds_pass(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS[name]) | st.binary(max_size=60))
    TARGETS[name](changed(seed, data.draw(CHANGES)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_data_that_found_a_fault_passes(case: Path) -> None:
    TARGETS[case.parent.name](case.read_bytes())
