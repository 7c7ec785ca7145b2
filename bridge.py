"""Launcher of a checkout: `python bridge.py …` runs the command `format-bridge …`."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

_ENVIRONMENT = Path(__file__).resolve().with_name(".venv")
_PACKAGES = ("aiohttp", "httptools", "jinja2", "jsonpath_ng", "jwt", "orjson", "redis", "yaml")


def main() -> int:
    """Run the command by this interpreter if it has the packages, and by the one of `.venv` otherwise."""
    if sys.version_info >= (3, 11) and all(find_spec(name) for name in _PACKAGES):
        from bridge.cli import main as run

        return run()
    python = _ENVIRONMENT / "bin" / "python"
    # The environment's own interpreter, if its packages are incomplete, would replace itself for ever.
    if python.exists() and Path(sys.prefix).resolve() != _ENVIRONMENT.resolve():
        os.execv(python, [str(python), *sys.argv])
    print("bridge.py: packages of the bridge are missing: run `make setup` first", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
