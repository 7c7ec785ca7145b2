"""Entry point of `python -m bridge …`, which is the command `format-bridge …`."""

from bridge.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
