"""The command line as a process.

async with run_process(folder, ROUTES, *FREE_PORTS, "--workers", "2") as bridge:
    bridge.url, bridge.announced           addresses as announced
    await bridge.end(signal)               the exit code

with running(file, "--demo") as bridge:    for clients that block
    bridge.ask("model", "hi")              a blocking request
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from tests.background_loop import in_background
from tests.raw_client import CHAT, Response
from tests.running_bridge import RunningBridge, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from contextlib import AbstractContextManager

__all__ = ["FREE_PORTS", "ROOT", "BridgeProcess", "call", "run_process", "running"]

ROOT = Path(__file__).parents[1]
FREE_PORTS = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")

_TIMEOUT = 60.0  # seconds
_USUAL_EVENTS = {"request", "refused", "draining"}


@dataclass
class BridgeProcess(RunningBridge):
    """A bridge in a process of its own."""

    process: Process
    announced: list[str]  # the lines with the addresses
    stderr: IO[bytes]

    @property
    def workers(self) -> list[int]:
        """The ids of the child processes."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def ready(self) -> None:
        """Wait until every worker handles SIGHUP, since the addresses are announced earlier."""

        async def handling() -> bool:
            return all(_handles(pid, signal.SIGHUP) for pid in self.workers)

        await wait_until(handling)

    async def refuses(self) -> bool:
        """Return whether the front refuses new connections."""
        try:
            _, writer = await asyncio.open_connection(*self.front)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return await self.process.wait()

    def log(self) -> str:
        """Return everything on stderr."""
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        """Send a request from a thread without an event loop."""
        return asyncio.run(self.request(body, method=method, path=path, headers=headers))

    def ask(self, model: str, text: str = "hi", **parameters: Any) -> Response:
        """Send a chat with one message from a thread without an event loop."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **parameters}
        return self.send("POST", CHAT, json.dumps(body).encode())


@asynccontextmanager
async def run_process(
    folder: Path,
    text: str | None,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    warns: Collection[str] = (),
    limit: float | None = _TIMEOUT,
) -> AsyncIterator[BridgeProcess]:
    """Run `serve` in a folder with a `routes.yaml` of this text, or with its own files.

    A process that still runs at the end of the block must exit with 0 after SIGTERM, without output, and with
    the usual events in its log and the events in `warns`. `limit` is the timeout of the block, in seconds.
    """
    if text is not None:
        (folder / "routes.yaml").write_text(text)
    with TemporaryFile() as stderr:
        async with asyncio.timeout(limit):
            # Warnings are shown, since `_end` refuses any line on stderr that is not a log line.
            variables = {"PYTHONWARNINGS": "default", **(environment or {})}
            process = await _start(folder, ("serve", *arguments), variables, stderr)
            try:
                yield await _announced(process, stderr, admin="off" not in arguments)
                if process.returncode is None:
                    await _end(process, stderr, warns)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.communicate()


def running(
    file: Path, *flags: str, variables: Mapping[str, str] | None = None, warns: Collection[str] = ()
) -> AbstractContextManager[BridgeProcess]:
    """Return a context manager that runs `serve FILE FLAGS` on free ports, for tests that block."""
    arguments = (file.name, *FREE_PORTS, *flags)
    return in_background(
        run_process(file.parent, None, *arguments, environment=variables, warns=warns, limit=None)
    )


async def call(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, data: bytes = b""
) -> tuple[int, str, str]:
    """Run a command, and return its exit code, stdout and stderr."""
    async with asyncio.timeout(_TIMEOUT):
        process = await _start(folder, arguments, environment or {}, PIPE)
        out, errors = await process.communicate(data)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def _start(
    folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str], stderr: IO[bytes] | int
) -> Process:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRIDGE_", "DEMO_", "PROMETHEUS"))
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        ROOT / "bridge.py",
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        cwd=folder,
        env={**inherited, **environment, "PYTHONUNBUFFERED": "1"},
    )


async def _announced(process: Process, stderr: IO[bytes], *, admin: bool) -> BridgeProcess:
    """Return a started process, with the addresses that the process prints."""
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().strip() for _ in range(1 + admin)]
    bridge = BridgeProcess(("", 0), ("", 0), asyncio.Event(), process, lines, stderr)
    assert all(lines), bridge.log()
    bridge.front, *others = map(_address, lines)
    bridge.admin = others[0] if others else ("", 0)
    return bridge


async def _end(process: Process, stderr: IO[bytes], warns: Collection[str]) -> None:
    process.terminate()
    async with asyncio.timeout(_TIMEOUT):
        out, _ = await process.communicate()
    stderr.seek(0)
    log = stderr.read().decode()
    assert (process.returncode, out) == (0, b""), log
    assert {_event(line, warns) for line in log.splitlines()} >= set(warns), log


def _event(line: str, warns: Collection[str]) -> str:
    """Return the event of a log line, after asserting that the event is expected."""
    assert line.startswith("{"), f"not a log line: {line}"
    record = json.loads(line)
    event: str = record["event"]
    if event == "warning in the routes file":
        return event  # test servers take requests at `/`, which a real server rarely does
    assert event in warns or event in _USUAL_EVENTS, line
    if event == "request" and "reason" in record:  # a failure is a warning, but for errors of the client
        return event
    assert record["level"] == ("warning" if event in warns else "info"), line
    return event


def _handles(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def _address(line: str) -> tuple[str, int]:
    """Return host and port of a line such as `front listening on http://127.0.0.1:8080`."""
    host, _, port = line.rpartition("http://")[2].rpartition(":")
    assert port, f"no address is announced: {line!r}"
    return host.strip("[]"), int(port)
