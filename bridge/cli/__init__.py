"""The command `format-bridge`: serve, check, explain, routes, presets, schema, reference."""

from __future__ import annotations

import argparse
import gc
import sys
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.core.errors import ConfigError
from bridge.openai.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NAME = "format-bridge"

_ABOUT = """\
An OpenAI front before any model server, by rules in YAML.

  format-bridge serve routes.yaml     answer OpenAI's clients by the routes of a file
  format-bridge serve --demo          the same, with small model servers to try it on
  format-bridge check routes.yaml     every fault of the file at once, then its samples
  format-bridge explain routes.yaml --model llama request.json
                                      the request that would go upstream, and what comes of an answer
  format-bridge presets [NAME]        the shipped routes for known servers, or one of them
"""

_SETTINGS = """\
Flags win over the variables BRIDGE_LISTEN, BRIDGE_ADMIN and BRIDGE_WORKERS, these over `server` in the
file. SIGTERM ends it once the answers in flight are over, SIGHUP reads the file again at once.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. 0: all is well, 1: the file or an address is not, 2: a wrong call."""
    called = _parse(arguments)
    try:
        return _run(called)
    except ConfigError as error:
        print(error)
        count = len(error.problems)
        print(f"{called.file}: {count} {'problem' if count == 1 else 'problems'}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a call: argparse does not find the last argument of `explain FILE --model M BODY` itself."""
    parser = _parser()
    called, rest = parser.parse_known_args(arguments)
    late = len(rest) == 1 and (rest[0] == "-" or not rest[0].startswith("-"))
    if late and getattr(called, "request", "") is None:
        called.request = rest[0]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return called


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME, description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{_NAME} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    command = commands.add_parser(
        "serve", help="answer clients", epilog=_SETTINGS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("file", nargs="?", help="the file of routes (default: routes.yaml)")
    command.add_argument("--listen", metavar="HOST:PORT", help="the OpenAI front; port 0 takes a free one")
    command.add_argument("--admin", metavar="HOST:PORT|off", help="/metrics, /healthz and /readyz")
    command.add_argument("--demo", action="store_true", help="run the embedded model servers too")
    command.add_argument("--workers", type=_positive, metavar="N", help="processes that share the front")

    command = commands.add_parser("check", help="find every fault of a file, and run its samples")
    command.add_argument("file", help="the file of routes")

    command = commands.add_parser("explain", help="show what a request becomes, and what its answer")
    command.add_argument("file", help="the file of routes")
    command.add_argument("request", nargs="?", help="a client's body in a file, - for standard input")
    command.add_argument("--model", required=True, help="the model that the client asks for")
    command.add_argument("--endpoint", choices=list(ENDPOINTS), default="chat", help="what the client calls")
    command.add_argument("--receives", metavar="FILE", help="what the server answers, a file")

    command = commands.add_parser("routes", help="list the routes of a file")
    command.add_argument("file", help="the file of routes")

    command = commands.add_parser("presets", help="list the shipped routes for known servers, or print one")
    command.add_argument("name", nargs="?", help="the preset to print")
    command.add_argument("--markdown", action="store_true", help="list them as a table in Markdown")

    command = commands.add_parser("schema", help="print the JSON Schema of such files, for editors")

    command = commands.add_parser("reference", help="print every key of such files, in Markdown")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is no whole number of at least 1")
    return int(text)


def _run(called: argparse.Namespace) -> int:
    # Each command is imported here only: it starts without what the others need.
    match called.command:
        case "serve":
            run = _serve
        case "check":
            from bridge.cli.check import check as run
        case "explain":
            from bridge.cli.explain import explain as run
        case "routes":
            from bridge.cli.explain import list_routes as run
        case "presets":
            from bridge.cli.presets import print_presets as run
        case "schema":
            from bridge.cli.reference import print_schema as run
        case _:
            from bridge.cli.reference import print_reference as run
    return run(called)


def _serve(called: argparse.Namespace) -> int:
    gc.disable()  # until all is loaded: nearly all of that stays, and looking through it takes 30 ms
    try:
        # Imported here for the sake of the others, and since the library that keeps metrics decides at its
        # import whether they are those of one process or of several.
        from bridge.cli.serve import serve

        return serve(called)
    finally:
        gc.enable()
