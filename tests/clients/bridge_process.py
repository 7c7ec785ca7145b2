"""The bridge as its users run it: the command in a process of its own, until SIGTERM.

    with running(file, "--demo") as bridge:
        bridge.url, bridge.server.admin           where its two ports are
        bridge.send("POST", "/v1/…", b"…")  one request, by no client's leave

Ready is when both addresses are printed. At the end it must leave with 0, and its stderr must hold nothing
but the log lines of requests and those that were expected.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Timer
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["ROOT", "Answer", "Bridge", "running"]

ROOT: Final = Path(__file__).parents[2]

_PATIENCE = 30.0  # seconds until a command that neither starts nor ends is killed
_EXPECTED: Final = {"request", "refused", "draining"}


class Answer(NamedTuple):
    """What came back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def doc(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of an envelope, all of whose members are there."""
        (error,) = self.doc.values()
        assert set(error) == {"message", "type", "param", "code"}
        return dict(error)


class Bridge(NamedTuple):
    """A running bridge: the URLs of its front and of its admin port."""

    url: str
    admin: str

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send one request as it is, on a connection of its own."""
        at = urlsplit(self.url)
        with closing(HTTPConnection(str(at.hostname), at.port, timeout=_PATIENCE)) as connection:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            given = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, given, response.read())

    def ask(self, model: str, text: str = "hi", **parameters: Any) -> Answer:
        """Ask one question of a model."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **parameters}
        return self.send("POST", "/v1/chat/completions", json.dumps(body).encode())


@contextmanager
def running(
    file: Path, *flags: str, variables: Mapping[str, str] | None = None, warns: Collection[str] = ()
) -> Iterator[Bridge]:
    """Run `python bridge.py serve FILE FLAGS` on free ports; `variables` are what the file reads.

    `warns`: what it must warn of in its log, each at least once.
    """
    command = [sys.executable, str(ROOT / "bridge.py"), "serve", str(file), *_PORTS, *flags]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, env=_environment(variables or {}), stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        with _watched(process):
            front, admin = (_address(process.stdout, name, errors) for name in ("front", "admin"))
        try:
            yield Bridge(front, admin)
        finally:
            process.send_signal(signal.SIGTERM)
            with _watched(process):
                rest = process.stdout.read()
                code = process.wait()
        assert (code, rest) == (0, b""), _read(errors)
        told = {_event(line, warns) for line in _read(errors).splitlines()}
        assert told >= set(warns)


@contextmanager
def _watched(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill what hangs, so that a test fails and no run of all tests stands still."""
    timer = Timer(_PATIENCE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would bend the settings; warnings are shown, so that they are found in stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "DEMO_"))}
    return {**kept, "PYTHONWARNINGS": "default", **variables}


def _address(out: IO[bytes], name: str, errors: IO[bytes]) -> str:
    line = out.readline().decode()
    words, _, url = line.strip().rpartition(" ")
    assert words == f"{name} listening on", f"{line}{out.read().decode()}\n{_read(errors)}"
    return url


def _read(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode()


def _event(line: str, warns: Collection[str]) -> str:
    assert line.startswith("{"), f"no log line: {line}"
    told = json.loads(line)
    event: str = told["event"]
    assert event in warns or event in _EXPECTED, line
    assert told["level"] == ("warning" if event in warns else "info"), line
    return event


_PORTS: Final = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
