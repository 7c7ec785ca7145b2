"""The command `format-bridge` as a process of its own, as those run it who serve with it.

async with served(folder, ROUTES, "--workers", "2") as process:
    process.front, process.admin           what it announced; admin None where it has none
    process.end(signal)                    its exit code, when it is over
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.running_bridge import RunningBridge, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["CHECKOUT", "Served", "call", "served"]

CHECKOUT = Path(__file__).parents[2]
_PATIENCE = 60.0  # seconds, far more than any test needs


@dataclass
class Served(RunningBridge):
    """A bridge that is a process. `announced`: its lines, `errors` what it wrote to stderr until its end."""

    process: Process
    announced: list[str]
    errors: list[bytes] = field(default_factory=list)

    @property
    def workers(self) -> list[int]:
        """The processes below it."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def ready(self) -> None:
        """Wait until every worker hears its signals: the parent says where it listens before that."""

        async def hearing() -> bool:
            return all(_hears(pid, signal.SIGHUP) for pid in self.workers)

        await wait_until(hearing)

    async def refuses(self) -> bool:
        """Whether the front takes no new connections."""
        try:
            _, writer = await asyncio.open_connection(*self.front)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end: the exit code."""
        self.process.send_signal(number)
        return await self.process.wait()

    async def log(self) -> str:
        """Everything on stderr; the process is over."""
        assert self.process.stderr is not None
        self.errors.append(await self.process.stderr.read())
        return b"".join(self.errors).decode()


@asynccontextmanager
async def served(
    folder: Path, text: str | None, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Served]:
    """Serve a file of this text, on free ports unless arguments or variables say where."""
    if text is not None:
        (folder / "routes.yaml").write_text(text)
    async with asyncio.timeout(_PATIENCE):
        process = await _start(folder, ("serve", *arguments), environment or {})
        try:
            assert process.stdout is not None
            lines = [(await process.stdout.readline()).decode().strip()]
            if "off" not in [*arguments, *(environment or {}).values()]:
                lines.append((await process.stdout.readline()).decode().strip())
            front, *admin = map(_address, lines)
            yield Served(front, admin[0] if admin else ("", 0), asyncio.Event(), process, lines)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
            await process.communicate()


async def call(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, data: bytes = b""
) -> tuple[int, str, str]:
    """Run the command to its end: exit code, stdout, stderr."""
    async with asyncio.timeout(_PATIENCE):
        process = await _start(folder, arguments, environment or {})
        out, errors = await process.communicate(data)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def _start(folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> Process:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "PROMETHEUS"))
    }
    given: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "cwd": folder}
    given["env"] = {**kept, **environment, "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(sys.executable, CHECKOUT / "bridge.py", *arguments, **given)


def _hears(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def _address(line: str) -> tuple[str, int]:
    """`front listening on http://127.0.0.1:8080`"""
    host, _, port = line.rpartition("http://")[2].rpartition(":")
    assert port, f"no address is announced: {line!r}"
    return host.strip("[]"), int(port)
