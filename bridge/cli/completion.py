"""`format-bridge completion SHELL`: a script that completes commands, options, presets and files.

The script is made of the declared arguments, so it needs no list of its own:

    eval "$(format-bridge completion bash)"                     in ~/.bashrc; zsh: in ~/.zshrc
    format-bridge completion fish > ~/.config/fish/completions/format-bridge.fish
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridge.loader import read_presets

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["completion"]

_BASH = """\
_format_bridge() {
  local word="${COMP_WORDS[COMP_CWORD]}" words
  case "${COMP_WORDS[1]}" in
%s
    *) words="%s" ;;
  esac
  [ "$COMP_CWORD" = 1 ] && words="%s"
  COMPREPLY=($(compgen -W "$words" -- "$word") $(compgen -f -- "$word"))
}
complete -o filenames -F _format_bridge format-bridge
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def completion(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script of a shell for a parser with commands."""
    commands = _commands(parser)
    words = {
        name: [*_options(command), *(read_presets() if name == "presets" else ())]
        for name, command in commands.items()
    }
    if shell == "fish":
        return _fish(words)
    names = " ".join(commands)
    cases = "\n".join(f'    {name}) words="{" ".join(listed)}" ;;' for name, listed in words.items())
    script = _BASH % (cases, names, names)
    return _ZSH + script if shell == "zsh" else script


def _fish(words: Mapping[str, list[str]]) -> str:
    lines = [f"complete -c format-bridge -n __fish_use_subcommand -a '{' '.join(words)}'"]
    for name, listed in words.items():
        condition = f"-n '__fish_seen_subcommand_from {name}'"
        for word in listed:
            option = f"-l {word.removeprefix('--')}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c format-bridge {condition} {option}")
    return "\n".join([*lines, ""])


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands by name."""
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _options(command: argparse.ArgumentParser) -> list[str]:
    return [
        name
        for action in command._actions  # noqa: SLF001
        for name in action.option_strings
        if name.startswith("--")
    ]
