"""A log whose reader stands still: no request waits for the reader, and lines that are lost are counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import contextmanager
from fcntl import F_SETPIPE_SZ, fcntl
from typing import TYPE_CHECKING, Any

import pytest

from bridge.telemetry.line_writer import LineWriter
from tests.bridge_process import ROOT
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, wait_until
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIPE_SIZE = 4096  # bytes; the smallest pipe of Linux
MAX_LINES = 10_000


@contextmanager
def small_pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe that is full after a few lines: the ends for reading and for writing."""
    reader, writer = os.pipe()
    fcntl(writer, F_SETPIPE_SZ, PIPE_SIZE)
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            os.close(end)


def report(number: int) -> bytes:
    return b"dropped %d\n" % number


async def read_lines(reader: int, last: bytes) -> list[bytes]:
    """Read lines up to the last one."""
    read = b""
    while not read.endswith(last):
        read += await asyncio.to_thread(os.read, reader, 65536)
    return read.splitlines(keepends=True)


async def test_lines_wait_for_a_reader_in_their_order() -> None:
    lines = [b"%d%s\n" % (number, b"x" * (number % 300)) for number in range(2000)]
    with small_pipe() as (reader, writer):
        log = LineWriter(writer, report)
        for line in lines:
            log.put(line)
        assert await read_lines(reader, lines[-1]) == lines


async def test_lines_beyond_the_bound_are_dropped_counted_and_reported() -> None:
    counted: list[int] = []
    with small_pipe() as (reader, writer):
        log = LineWriter(writer, report)
        log.on_drop = counted.append
        full = b"x" * (PIPE_SIZE - 1) + b"\n"
        log.put(full)
        log.put(full)  # waits in the thread for the reader

        async def waits() -> bool:
            return log.queued == 0

        await wait_until(waits)
        for number in range(MAX_LINES + 7):
            log.put(b"%d\n" % number)
        assert sum(counted) == 7
        lines = await read_lines(reader, b"%d\n" % (MAX_LINES - 1))
        assert lines.count(b"dropped 7\n") == 1
        assert lines[:3] == [full, full, b"dropped 7\n"]
        assert [line for line in lines[3:] if line[:1].isdigit()] == [b"%d\n" % n for n in range(MAX_LINES)]
        log.put(b"end\n")
        assert await read_lines(reader, b"end\n") == [b"end\n"], "a loss is reported once"


async def test_a_reader_that_is_gone_costs_lines_and_nothing_else() -> None:
    lost = threading.Event()
    reader, writer = os.pipe()
    os.close(reader)
    log = LineWriter(writer, report)
    log.on_drop = lambda _: lost.set()
    log.put(b"line\n")
    assert await asyncio.to_thread(lost.wait, 10)
    os.close(writer)


async def test_lines_of_several_processes_do_not_mix() -> None:
    lines = {bytes([letter]) * 700 + b"\n" for letter in b"abcdef"}
    with small_pipe() as (reader, writer):
        logs = [LineWriter(writer, report) for _ in range(3)]
        for line in sorted(lines) * 50:
            for log in logs:
                log.put(line)
        read = b""
        while len(read) < 3 * 50 * sum(map(len, lines)):
            read += await asyncio.to_thread(os.read, reader, 65536)
        assert set(read.splitlines(keepends=True)) == lines


def test_the_errors_of_libraries_are_lines_of_the_log() -> None:
    import logging

    with captured_log() as log:
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("asyncio").exception("Task exception was never retrieved")
        (line,) = log.all
    assert line["event"] == "Task exception was never retrieved"
    assert line["level"] == "error"
    assert line["exception"].endswith("ValueError: why")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("reads", [True, False], ids=["reads_late", "never_reads"])
async def test_a_process_whose_log_is_not_read_serves_and_ends(
    tmp_path: Path, *, reads: bool, workers: int
) -> None:
    number = 3 * PIPE_SIZE // 200
    async with run_upstream(responder(http_response(completion("hello")))) as server, asyncio.timeout(60):
        (tmp_path / "routes.yaml").write_text(f"routes: [{{models: m, upstream: {server.url}}}]")
        with small_pipe() as (reader, writer):
            process = await start(tmp_path, writer, workers)
            bridge = await announced(process)
            for index in range(number):
                response = await bridge.request(HELLO, headers={"X-Request-Id": f"id-{index}"})
                assert response.completion().choice.text == "hello"
            assert (await bridge.get_admin("/healthz")).status == 200
            process.send_signal(signal.SIGTERM)
            if reads:
                lines = await read_log(reader, "draining", workers)
                ids = [line["id"] for line in lines if line["event"] == "request"]
                # With several workers, the lines of each are in order.
                assert (ids if workers == 1 else sorted(ids)) == expected_ids(number, in_order=workers == 1)
            assert await process.wait() == 0


def expected_ids(number: int, *, in_order: bool) -> list[str]:
    ids = [f"id-{index}" for index in range(number)]
    return ids if in_order else sorted(ids)


async def start(folder: Path, stderr: int, workers: int) -> asyncio.subprocess.Process:
    """Start a bridge on free ports."""
    flags = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", str(workers))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        ROOT / "bridge.py",
        "serve",
        *flags,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


async def announced(process: asyncio.subprocess.Process) -> RunningBridge:
    """Return the bridge of a process, with the addresses that the process prints."""
    assert process.stdout is not None
    ports = [int((await process.stdout.readline()).rpartition(b":")[2]) for _ in range(2)]
    front, admin = (("127.0.0.1", port) for port in ports)
    return RunningBridge(front, admin, asyncio.Event())


async def read_log(reader: int, last: str, times: int) -> list[dict[str, Any]]:
    """Read lines of the log up to the event `last`, which each worker logs."""
    read = b""
    lines: list[dict[str, Any]] = []
    while sum(line["event"] == last for line in lines) < times:
        read += await asyncio.to_thread(os.read, reader, 65536)
        lines = [json.loads(line) for line in read.splitlines(keepends=True) if line.endswith(b"\n")]
    return lines
