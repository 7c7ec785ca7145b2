"""The line that describes where figures were measured: machine, interpreters, versions of the proxies."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

__all__ = ["machine"]

# Prints an interpreter's version, its build and its speed. `sysconfig` need not describe the running program:
# Debian's describes the shared library, while python3 is linked without it. So objects are timed as well.
_PROBE = """
import platform, sysconfig, time
options = sysconfig.get_config_var("CONFIG_ARGS") or ""
if "--enable-shared" in options and "libpython" not in open("/proc/self/maps").read():
    build = "unknown build"
else:
    build = "optimized build" if "--enable-optimizations" in options else "plain build"

class Item:
    def __init__(self, value):
        self.value = value

    def text(self):
        return str(self.value)

def items():
    for value in range(200_000):
        yield Item(value)

def calls():
    return sum(len(item.text()) for item in items())

times = []
for _ in range(3):
    began = time.process_time()
    calls()
    times.append(time.process_time() - began)
print(f"Python {platform.python_version()}, {build}, {min(times) * 1e9 / 200_000:.0f} ns an object")
"""


def machine(others: list[str]) -> str:
    """Return the line; `others` are paths of further interpreters."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson"))
    pythons = [f"{_output([sys.executable, '-c', _PROBE])} ({packages})"]
    pythons += [f"{python}: {_output([python, '-c', _PROBE])}" for python in others]
    nginx = _output(["nginx", "-v"]).removeprefix("nginx version: ")
    haproxy = _output(["haproxy", "-v"]).splitlines()[0].split(" - ")[0]
    machine = f"{os.cpu_count()} × {_processor()}; Linux {platform.release()}"
    return "; ".join([machine, *pythons, nginx, haproxy, *_peers()])


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return next(models, "unknown processor")


def _peers() -> list[str]:
    """Return the versions of the installed other gateways."""
    peers = Path(__file__).parent / "peers"
    installed = peers.glob(".venv/lib/python*/site-packages/litellm-[0-9]*.dist-info")
    versions = [path.name.removesuffix(".dist-info").replace("litellm-", "LiteLLM ") for path in installed]
    portkey = peers / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
    if portkey.exists():
        versions.append(f"Portkey gateway {json.loads(portkey.read_text())['version']}")
    return versions


def _output(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip()
