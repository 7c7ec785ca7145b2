"""A file that changes while the bridge runs: all or nothing, the last good table is kept."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bridge.file_stamp import file_stamp
from tests.raw_client import HELLO, Running, bridge, until
from tests.raw_upstream import Peer, answering, upstream, whole
from tests.server.processes import served
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GOOD = whole(completion("hello"))
OLD = "routes: [{name: old, models: m, upstream: '${UPSTREAM}'}]"
NEW = "routes: [{name: new, models: [m, n], upstream: '${UPSTREAM}'}]"

BROKEN = {
    "a word that is none": "routes: [{models: m, upstrem: http://x}]",
    "no YAML": "routes: [{",
    "empty": "",
    "not UTF-8": "routes: [{models: m\xff, upstream: http://x}]",
    "no routes": "routes: []",
    "a variable that is none": "routes: [{models: m, upstream: '${NO_SUCH_VARIABLE_HERE}'}]",
    "nested without end": "routes: " + "[" * 20_000,
    "a path that is none": "routes: [{models: m, upstream: http://x, response: '$.[['}]",
    "a pattern that is none": "routes: [{models: m, upstream: http://x, skip: {$.a: {matches: '('}}}]",
}


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[tuple[Running, Path]]:
    file = folder / "routes.yaml"
    file.write_text(OLD)
    async with (
        upstream(answering(GOOD)) as server,
        bridge(OLD, {"UPSTREAM": server.url}, file=str(file)) as running,
    ):
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "old"
        yield running, file


async def test_a_change_is_taken(tmp_path: Path) -> None:
    async with watching(tmp_path) as (running, file):
        file.write_text(NEW)
        await running.until_counted(1, "bridge_reloads_total", result="ok")
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "new"
        assert (await running.ask({**HELLO, "model": "n"})).status == 200
        models = (await running.ask(method="GET", path="/v1/models")).json["data"]
        assert [model["id"] for model in models] == ["m", "n"]
        assert await running.count("bridge_reloads_total") == 1


async def test_a_change_while_the_bridge_starts_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(OLD)
    seen = file_stamp(str(file))
    file.write_text(NEW)
    async with (
        upstream(answering(GOOD)) as server,
        bridge(OLD, {"UPSTREAM": server.url}, file=str(file), seen=seen) as running,
    ):
        await running.until_counted(1, "bridge_reloads_total", result="ok")
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "new"


async def test_a_file_may_be_replaced_as_editors_do(tmp_path: Path) -> None:
    async with watching(tmp_path) as (running, file):
        beside = tmp_path / "routes.yaml.tmp"
        beside.write_text(NEW)
        beside.rename(file)
        await running.until_counted(1, "bridge_reloads_total", result="ok")
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "new"


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_file_is_rejected_and_the_next_is_taken(fault: str, tmp_path: Path) -> None:
    async with watching(tmp_path) as (running, file):
        file.write_bytes(BROKEN[fault].encode("latin-1"))
        running.reload.set()
        await running.until_counted(1, "bridge_reloads_total", result="rejected")
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "old"
        assert (await running.see("/readyz")).status == 200
        file.write_text(NEW)
        running.reload.set()
        await running.until_counted(1, "bridge_reloads_total", result="ok")
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "new"


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path) as (running, file):
        file.unlink()
        running.reload.set()
        await running.until_counted(1, "bridge_reloads_total", result="rejected")
        assert (await running.ask(HELLO)).headers["x-bridge-route"] == "old"


async def test_keys_are_taken_too(tmp_path: Path) -> None:
    async with watching(tmp_path) as (running, file):
        file.write_text("server: {keys: [a-key]}\n" + NEW)
        running.reload.set()
        await running.until_counted(1, "bridge_reloads_total", result="ok")
        assert (await running.ask(HELLO)).status == 401
        assert (await running.ask(HELLO, headers={"Authorization": "Bearer a-key"})).status == 200


async def test_what_is_in_flight_ends_on_the_table_it_began_with(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(OLD)

    async def behave(peer: Peer) -> None:
        await peer.request()
        file.write_text("routes: [{name: other, models: other, upstream: http://127.0.0.1:1}]")
        running.reload.set()
        await running.until_counted(1, "bridge_reloads_total", result="ok")
        await peer.send(GOOD)

    async with (
        upstream(behave) as server,
        bridge(OLD, {"UPSTREAM": server.url}, file=str(file)) as running,
    ):
        answer = await running.ask(HELLO)
        assert answer.completion().said.text == "hello"
        assert answer.headers["x-bridge-route"] == "old"
        assert (await running.ask(HELLO)).status == 404


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_signal_reloads_at_once(workers: str, tmp_path: Path) -> None:
    """An answer tells of one worker, so that several in a row have to."""
    flags = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", workers)
    old = "routes: [{models: m, upstream: http://127.0.0.1:1}]"
    async with served(tmp_path, old, *flags) as running:
        await running.ready()
        (tmp_path / "routes.yaml").write_text(old.replace("m,", "[m, n],"))
        running.process.send_signal(signal.SIGHUP)

        async def models() -> list[str]:
            answer = await running.ask(method="GET", path="/v1/models")
            return [model["id"] for model in answer.json["data"]]

        async def taken() -> bool:
            reloads = await running.count("bridge_reloads_total", result="ok")
            return reloads >= int(workers) and [await models() for _ in range(8)] == [["m", "n"]] * 8

        await until(taken)
        assert await running.end() == 0
