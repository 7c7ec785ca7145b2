"""What the clients are tried against. Each is started once for all the tests of a process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.bridge_process import ROOT, Bridge, running
from tests.clients.replay_server import Upstream, in_background

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def demo() -> Iterator[Bridge]:
    """The first run: the shipped routes before the embedded servers."""
    with running(ROOT / "routes.yaml", "--demo") as bridge:
        yield bridge


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The server of recorded bytes."""
    with in_background(Upstream().serving()) as server:
        yield server


@pytest.fixture(scope="session")
def recorded(upstream: Upstream) -> Iterator[Bridge]:
    """The routes of recorded.yaml before it."""
    file = Path(__file__).with_name("recorded.yaml")
    with running(file, variables={"UPSTREAM": upstream.url}) as bridge:
        yield bridge


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Bridge]:
    """A bridge that wants a key: sk-right, or other."""
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
