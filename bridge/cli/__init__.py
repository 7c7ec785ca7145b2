"""The command `format-bridge`: serve, check, explain, try, routes, presets, completion, schema, reference."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.core.errors import ConfigError
from bridge.core.strings import count_of
from bridge.openai.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NAME = "format-bridge"

_ABOUT = """\
A translating reverse proxy: OpenAI's API before any model server, by rules in YAML.

  format-bridge serve routes.yaml     serve OpenAI's API by the routes of a file
  format-bridge serve --demo          serve, with small model servers to try the bridge on
  format-bridge check routes.yaml     report every problem of a file at once, then run its samples
  format-bridge explain routes.yaml --model llama request.json
                                      show the request that would be sent upstream
  format-bridge try routes.yaml --model llama "Hello!"
                                      send a request, and show everything that is sent and received
  format-bridge presets [NAME]        list the shipped routes for known servers, or print one
"""

_SETTINGS = """\
Flags have precedence over the variables BRIDGE_LISTEN, BRIDGE_ADMIN and BRIDGE_WORKERS, which have
precedence over `server` in the file. SIGTERM stops the bridge after the responses in progress, SIGHUP
reloads the file.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code: 1 for an invalid file or setting. Misuse exits with 2."""
    arguments = _parse(argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        print(error)
        print(f"{arguments.file}: {count_of(len(error.problems), 'problem')}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return 1


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed arguments, with the last one of `explain FILE --model M BODY` and `try … TEXT`."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    # argparse does not accept a positional argument after an option if it is not the first one.
    is_last = len(rest) == 1 and (rest[0] == "-" or not rest[0].startswith("-"))
    last = next((name for name in ("request", "text") if getattr(arguments, name, "") is None), None)
    if is_last and last is not None:
        setattr(arguments, last, rest[0])
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME, description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{_NAME} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    command = commands.add_parser(
        "serve",
        help="serve OpenAI's API",
        epilog=_SETTINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_serve_arguments(command)

    command = commands.add_parser("check", help="report every problem of files, and run their samples")
    _add_check_arguments(command)

    command = commands.add_parser("explain", help="show what a request and its response become")
    _add_explain_arguments(command)

    command = commands.add_parser("try", help="send a request to the upstream, and show every step")
    _add_try_arguments(command)

    command = commands.add_parser("routes", help="list the routes of a file")
    command.add_argument("file", help="the routes file")

    command = commands.add_parser("presets", help="list the shipped routes for known servers, or print one")
    command.add_argument("name", nargs="?", help="the preset to print")
    command.add_argument("--route", action="store_true", help="print a whole routes file, to be changed")
    command.add_argument("--markdown", action="store_true", help="print the list as a table in Markdown")

    command = commands.add_parser("completion", help="print a script that completes the command in a shell")
    command.add_argument("shell", choices=("bash", "zsh", "fish"))

    commands.add_parser("schema", help="print the JSON Schema of routes files, for editors")
    commands.add_parser("reference", help="print the reference of routes files, in Markdown")
    return parser


def _add_serve_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", nargs="?", help="the routes file (default: routes.yaml)")
    add("--listen", metavar="HOST:PORT,…", help="the addresses of OpenAI's API; port 0: any free port")
    add("--admin", metavar="HOST:PORT,…|off", help="the addresses of /metrics, /healthz and /readyz")
    add("--demo", action="store_true", help="start small model servers to try the bridge on")
    add("--workers", type=_positive, metavar="N", help="processes that share the address")


def _add_check_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", nargs="+", help="the routes files; - for standard input")
    add("--strict", action="store_true", help="fail for a warning too")
    add("--no-env", action="store_true", help="check without environment variables and the files of secrets")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the result as JSON")
    form.add_argument("--sarif", action="store_true", help="print the result as SARIF, for code hosts")


def _add_explain_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", help="the routes file")
    add("request", nargs="?", help="a file with the client's body; - for standard input")
    add("--model", required=True, help="the model that the client requests")
    add("--endpoint", choices=list(ENDPOINTS), default="chat", help="the endpoint that the client calls")
    add("--stream", action="store_true", help="the client requests a stream")
    add("--receives", metavar="FILE", help="a file with the upstream's response")
    add("--status", type=_status, default=200, metavar="N", help="the HTTP status of that response")
    add("--curl", action="store_true", help="print the upstream requests as commands of curl, secrets masked")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number of at least 1")
    return int(text)


def _add_try_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", help="the routes file")
    add("text", nargs="?", help="the user's message, or the prompt or input of another endpoint")
    add("--model", required=True, help="the model that the client requests")
    add("--endpoint", choices=list(ENDPOINTS), default="chat", help="the endpoint that the client calls")
    add("--stream", action="store_true", help="the client requests a stream")
    add("--key", help="the client's key, for a route with `auth: client`")


def _status(text: str) -> int:
    if not text.isdecimal() or not 100 <= int(text) <= 599:
        raise argparse.ArgumentTypeError(f"`{text}` is not an HTTP status, from 100 to 599")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    # Each command is imported only here, so that it starts without the modules of the others.
    match arguments.command:
        case "serve":
            run = _serve
        case "check":
            from bridge.cli.check import check as run
        case "explain":
            from bridge.cli.explain import explain as run
        case "try":
            from bridge.cli.try_request import try_request as run
        case "routes":
            from bridge.cli.explain import list_routes as run
        case "presets":
            from bridge.cli.presets import print_presets as run
        case "completion":
            run = _print_completion
        case "schema":
            from bridge.cli.reference import print_schema as run
        case _:
            from bridge.cli.reference import print_reference as run
    return run(arguments)


def _print_completion(arguments: argparse.Namespace) -> int:
    from bridge.cli.completion import completion

    print(completion(arguments.shell, _parser()), end="")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    gc.disable()  # until all is loaded: nearly all of these objects stay, and collections would take 30 ms
    try:
        from bridge.cli.serve import serve

        return serve(arguments)
    finally:
        gc.enable()
