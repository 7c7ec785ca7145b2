"""Launcher of a checkout: `python bridge.py …` is the installed command `bridge …`."""

from bridge.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
