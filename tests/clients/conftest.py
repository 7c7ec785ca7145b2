"""Bridges and upstreams for the tests of clients, each started once per test process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.background_loop import in_background
from tests.bridge_process import ROOT, BridgeProcess, running
from tests.clients.recorded_upstream import RecordedUpstream, run_recorded_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def demo() -> Iterator[BridgeProcess]:
    """Yield a bridge with the shipped routes and the demo servers."""
    with running(ROOT / "routes.yaml", "--demo") as bridge:
        yield bridge


@pytest.fixture(scope="session")
def upstream() -> Iterator[RecordedUpstream]:
    """Yield an upstream of recorded bytes."""
    with in_background(run_recorded_upstream()) as server:
        yield server


@pytest.fixture(scope="session")
def recorded(upstream: RecordedUpstream) -> Iterator[BridgeProcess]:
    """Yield a bridge with the routes of recorded.yaml to the recorded upstream."""
    file = Path(__file__).with_name("recorded.yaml")
    with running(file, variables={"UPSTREAM": upstream.url}) as bridge:
        yield bridge


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory, upstream: RecordedUpstream) -> Iterator[BridgeProcess]:
    """Yield a bridge that requires one of the keys sk-right and other."""
    file = tmp_path_factory.mktemp("locked") / "routes.yaml"
    file.write_text(
        """
        server: {keys: ["${KEY}", other]}
        routes:
          - models: m
            upstream: "${UPSTREAM}/0/tds_nonstream"
        """
    )
    with running(file, variables={"KEY": "sk-right", "UPSTREAM": upstream.url}) as bridge:
        yield bridge
