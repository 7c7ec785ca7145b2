"""Reloads of a changed routes file: a valid file replaces the table, a faulty file does not."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bridge.file_stamp import FileStamp, file_stamp
from bridge.loader import load_routes
from tests.bridge_process import run_process
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge, serve_table, wait_until
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GOOD = http_response(completion("hello"))
OLD = "routes: [{name: old, models: m, upstream: '${UPSTREAM}'}]"
NEW = "routes: [{name: new, models: [m, n], upstream: '${UPSTREAM}'}]"

FAULTY = {
    "an unknown key": "routes: [{models: m, upstrem: http://x}]",
    "invalid YAML": "routes: [{",
    "empty": "",
    "not UTF-8": "routes: [{models: m\xff, upstream: http://x}]",
    "no routes": "routes: []",
    "an undefined variable": "routes: [{models: m, upstream: '${NO_SUCH_VARIABLE_HERE}'}]",
    "excessive nesting": "routes: " + "[" * 20_000,
    "an invalid path": "routes: [{models: m, upstream: http://x, response: '$.[['}]",
    "an invalid pattern": "routes: [{models: m, upstream: http://x, skip: {$.a: {matches: '('}}}]",
}


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[tuple[RunningBridge, Path]]:
    file = folder / "routes.yaml"
    file.write_text(OLD)
    async with (
        run_upstream(responder(GOOD)) as server,
        run_bridge(OLD, {"UPSTREAM": server.url}, file=str(file)) as bridge,
    ):
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "old"
        yield bridge, file


async def test_a_changed_file_is_reloaded(tmp_path: Path) -> None:
    async with watching(tmp_path) as (bridge, file):
        file.write_text(NEW)
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "new"
        assert (await bridge.request({**HELLO, "model": "n"})).status == 200
        models = (await bridge.request(method="GET", path="/v1/models")).json["data"]
        assert [model["id"] for model in models] == ["m", "n"]
        assert await bridge.count("bridge_reloads_total") == 1


async def test_a_file_changed_during_start_is_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(OLD)
    stamp = file_stamp(str(file))
    file.write_text(NEW)
    async with (
        run_upstream(responder(GOOD)) as server,
        run_bridge(OLD, {"UPSTREAM": server.url}, file=str(file), seen=stamp) as bridge,
    ):
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "new"


async def test_a_file_replaced_by_renaming_is_reloaded(tmp_path: Path) -> None:
    async with watching(tmp_path) as (bridge, file):
        beside = tmp_path / "routes.yaml.tmp"
        beside.write_text(NEW)
        beside.rename(file)
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "new"


@pytest.mark.parametrize("fault", FAULTY)
async def test_a_faulty_file_is_rejected_and_the_next_valid_file_loaded(fault: str, tmp_path: Path) -> None:
    async with watching(tmp_path) as (bridge, file):
        file.write_bytes(FAULTY[fault].encode("latin-1"))
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="rejected")
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "old"
        assert (await bridge.get_admin("/readyz")).status == 200
        file.write_text(NEW)
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "new"


async def test_a_deleted_file_is_rejected(tmp_path: Path) -> None:
    async with watching(tmp_path) as (bridge, file):
        file.unlink()
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="rejected")
        assert (await bridge.request(HELLO)).headers["x-bridge-route"] == "old"


async def test_keys_are_reloaded(tmp_path: Path) -> None:
    async with watching(tmp_path) as (bridge, file):
        file.write_text("server: {keys: [a-key]}\n" + NEW)
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert (await bridge.request(HELLO)).status == 401
        assert (await bridge.request(HELLO, headers={"Authorization": "Bearer a-key"})).status == 200


async def test_a_request_in_flight_keeps_its_table(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(OLD)

    async def behave(peer: Connection) -> None:
        await peer.request()
        file.write_text("routes: [{name: other, models: other, upstream: http://127.0.0.1:1}]")
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        await peer.send(GOOD)

    async with (
        run_upstream(behave) as server,
        run_bridge(OLD, {"UPSTREAM": server.url}, file=str(file)) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert response.completion().choice.text == "hello"
        assert response.headers["x-bridge-route"] == "old"
        assert (await bridge.request(HELLO)).status == 404


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sighup_reloads_every_worker(workers: str, tmp_path: Path) -> None:
    """A response shows the table of one worker, so several consecutive responses are compared."""
    flags = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", workers)
    old = "routes: [{models: m, upstream: http://127.0.0.1:1}]"
    async with run_process(tmp_path, old, *flags) as bridge:
        await bridge.ready()
        (tmp_path / "routes.yaml").write_text(old.replace("m,", "[m, n],"))
        bridge.process.send_signal(signal.SIGHUP)

        async def models() -> list[str]:
            response = await bridge.request(method="GET", path="/v1/models")
            return [model["id"] for model in response.json["data"]]

        async def reloaded() -> bool:
            reloads = await bridge.count("bridge_reloads_total", result="ok")
            return reloads >= int(workers) and [await models() for _ in range(8)] == [["m", "n"]] * 8

        await wait_until(reloaded)
        assert await bridge.end() == 0


async def test_warnings_and_settings_of_the_next_start_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def events() -> list[tuple[str, object]]:
        return [(record.message, getattr(record, "members", {})) for record in caplog.records]

    with caplog.at_level("WARNING", "bridge"):
        async with watching(tmp_path) as (bridge, file):
            caplog.clear()
            file.write_text(
                "server: {listen: '127.0.0.1:1'}\n" + NEW.replace("[m, n]", "[m, m]").replace(
                    "'${UPSTREAM}'", "{url: '${UPSTREAM}', tls: {verify: false}}")
            )  # fmt: skip
            await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
            assert ("setting takes effect at the next start", {"setting": "server.listen"}) in events()
            warnings = [str(members) for event, members in events() if event == "warning in the routes file"]
            assert len(warnings) >= 2
            assert any("`m` never matches" in warning for warning in warnings)
            assert any("certificate is not verified" in warning for warning in warnings)
            assert not any("models: [m" in warning for warning in warnings), "no line of the file"


@pytest.mark.parametrize("rotate", ["write", "rename", "link"])
async def test_a_rotated_key_file_is_read_again(tmp_path: Path, rotate: str) -> None:
    keys: list[str] = []

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            keys.append(request.headers["authorization"])
            await peer.send(GOOD)

    file, key = tmp_path / "routes.yaml", tmp_path / "key"
    for number in (1, 2):
        (tmp_path / f"key-{number}").write_text(f"key-number-{number}\n")
    if rotate == "link":
        key.symlink_to("key-1")
    else:
        key.write_text("key-number-1\n")
    stamps: dict[str, FileStamp] = {}
    async with run_upstream(behave) as server:
        file.write_text(f"routes: [{{models: m, upstream: {server.url}, auth: {{bearer: '${{file:key}}'}}}}]")
        table = load_routes(str(file), stamps=stamps)
        async with serve_table(table, file=str(file), watch=True, files=stamps) as bridge:
            await bridge.request(HELLO)
            match rotate:
                case "write":
                    key.write_text("key-number-2\n")
                case "rename":
                    (tmp_path / "key-2").rename(key)
                case _:
                    (tmp_path / "new").symlink_to("key-2")
                    (tmp_path / "new").rename(key)
            await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
            await bridge.request(HELLO)
    assert keys == ["Bearer key-number-1", "Bearer key-number-2"]


async def test_a_key_file_that_comes_back_is_read_again(tmp_path: Path) -> None:
    file, key = tmp_path / "routes.yaml", tmp_path / "key"
    key.write_text("a-key\n")
    file.write_text("routes: [{models: m, upstream: 'http://127.0.0.1:1', auth: {bearer: '${file:key}'}}]")
    stamps: dict[str, FileStamp] = {}
    table = load_routes(str(file), stamps=stamps)
    async with serve_table(table, file=str(file), watch=True, files=stamps) as bridge:
        key.unlink()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="rejected")
        key.write_text("another-key\n")
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")


async def test_the_log_of_a_rejected_file_contains_no_key(tmp_path: Path) -> None:
    key = "sk-a-literal-key"
    with captured_log() as log:
        async with watching(tmp_path) as (bridge, file):
            file.write_text(f"routes: [{{models: m, upstream: 'http://h', auth: {{bearer: {key}, bad: 1}}}}]")
            bridge.reload.set()
            await bridge.wait_for_count(1, "bridge_reloads_total", result="rejected")
        (line,) = log.of("reload rejected, the last good table is kept")
        assert key not in log.text
    assert "routes[0].auth.bad: unknown key" in line["problems"]
