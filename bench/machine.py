"""What the figures were taken on, in a line: the machine, the interpreters, the versions of the others."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

__all__ = ["machine"]

# Asks an interpreter for its version, how it was built, and how fast it is. What `sysconfig` says need not be
# of the program that runs: Debian's describes its shared library, while its python3 is linked without it. So
# the making and asking of small objects is timed besides.
_ASKED = """
import platform, sysconfig, time
told = sysconfig.get_config_var("CONFIG_ARGS") or ""
if "--enable-shared" in told and "libpython" not in open("/proc/self/maps").read():
    build = "not known how built"
else:
    build = "optimized build" if "--enable-optimizations" in told else "plain build"

class One:
    def __init__(self, value):
        self.value = value

    def text(self):
        return str(self.value)

def ones():
    for value in range(200_000):
        yield One(value)

def calls():
    return sum(len(one.text()) for one in ones())

taken = []
for _ in range(3):
    begun = time.process_time()
    calls()
    taken.append(time.process_time() - begun)
print(f"Python {platform.python_version()}, {build}, {min(taken) * 1e9 / 200_000:.0f} ns an object")
"""


def machine(others: list[str]) -> str:
    """The line. `others` are interpreters beside this one."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson"))
    pythons = [f"{_told([sys.executable, '-c', _ASKED])} ({packages})"]
    pythons += [f"{python}: {_told([python, '-c', _ASKED])}" for python in others]
    nginx = _told(["nginx", "-v"]).removeprefix("nginx version: ")
    haproxy = _told(["haproxy", "-v"]).splitlines()[0].split(" - ")[0]
    machine = f"{os.cpu_count()} × {_processor()}; Linux {platform.release()}"
    return "; ".join([machine, *pythons, nginx, haproxy, *_peers()])


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return next(models, "unknown processor")


def _peers() -> list[str]:
    """The versions of other gateways, if there are any."""
    peers = Path(__file__).parent / "peers"
    found = peers.glob(".venv/lib/python*/site-packages/litellm-[0-9]*.dist-info")
    told = [path.name.removesuffix(".dist-info").replace("litellm-", "LiteLLM ") for path in found]
    portkey = peers / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
    if portkey.exists():
        told.append(f"Portkey gateway {json.loads(portkey.read_text())['version']}")
    return told


def _told(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip()
