"""The command line called in this process: output and exit code."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from bridge.cli import main

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KEY", "ROUTES", "Result", "Run", "run"]

KEY = "sk-very-secret-0123456789"
ROUTES = """\
routes:
  - name: own
    models: [m, "glob-*"]
    model: sent-{{ model }}
    upstream: "http://127.0.0.1:1/api?key=${KEY}"
    headers: {X-Api-Version: "2", X-Custom: "Custom ${KEY}"}
    auth: {bearer: "${KEY}"}
    request: {body: {model: $.model, say: "{{ last }}", t: $.temperature, secret: "${KEY}"}}
    response: {text: $.text, usage: {completion_tokens: $.count}}
    stream: $.delta
    samples:
      - request: {messages: [{role: user, content: hi}]}
        sends: {model: sent-m, say: hi, secret: "${KEY}"}
        receives: {text: hello}
        answers: hello
      - request: {messages: [{role: user, content: hi}], stream: true}
        receives: "data: {\\"delta\\": \\"hel\\"}\\n\\ndata: {\\"delta\\": \\"lo\\"}\\n\\n"
        answers: hello
  - name: two
    models: other
    upstream: http://127.0.0.1:2
    serves: chat
    stream: false
"""


class Result(NamedTuple):
    code: int
    out: str
    errors: str


class Run(Protocol):
    """A call with a routes file of this text, and with this standard input."""

    def __call__(self, *arguments: str, text: str | None = ROUTES, data: bytes = b"") -> Result: ...


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that calls the command in a folder of its own with a `routes.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", KEY)
    for name in ("BRIDGE_LISTEN", "BRIDGE_ADMIN", "BRIDGE_WORKERS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, text: str | None = ROUTES, data: bytes = b"") -> Result:
        if text is not None:
            (tmp_path / "routes.yaml").write_text(text)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        try:
            code = main(arguments)
        except SystemExit as raised:
            code = raised.code if isinstance(raised.code, int) else 1
        return Result(code, *capsys.readouterr())

    return run
