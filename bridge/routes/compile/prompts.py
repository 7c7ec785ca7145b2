"""Compilation of prompts: a named format, a template of the file, or a model's own chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.config.problems import NameRead
from bridge.core import json
from bridge.prompts import PROMPTS, template_prompt, tokenizer_prompt

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.prompts import Prompt
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.spec.requests import PromptSpec

__all__ = ["compile_prompt"]

# Beside a template, the files that name its tokens; the later ones win.
_TOKEN_FILES = ("special_tokens_map.json", "tokenizer_config.json")
_TEMPLATE_FILE = "chat_template.jinja"


def compile_prompt(
    spec: str | PromptSpec, node: Node, environment: LoadEnvironment, problems: Problems
) -> Prompt:
    """Return the prompt format of a node; any format if a problem was added."""
    if isinstance(spec, str):
        return PROMPTS[spec]
    if (spec.template is None) is (spec.file is None):
        problems.add(node.location, node.path, "not a valid prompt", expected="either `template` or `file`")
        return PROMPTS["plain"]
    variables = spec.variables or {}
    try:
        if spec.template is not None:
            prompt = template_prompt(spec.template, variables)
            at = node.find(("template",))
            problems.names_read += [
                NameRead(at.location, at.path, name, in_template=True)
                for name in sorted(prompt.variables - variables.keys())
            ]
            return prompt
        return tokenizer_prompt(_config(str(spec.file), environment), variables)
    except (OSError, ValueError) as error:
        problems.add(node.location, node.path, f"{getattr(error, 'strerror', None) or error}")
        return PROMPTS["plain"]


def _config(file: str, environment: LoadEnvironment) -> dict[str, Any]:
    """Return the configuration of a tokenizer: a file, with what newer models keep in the files beside it."""
    text = environment.read_file(file)
    folder = file[: file.rfind("/") + 1]
    if not file.endswith(".json"):
        beside = [_json_beside(folder + name, environment) for name in _TOKEN_FILES]
        return {**beside[0], **beside[1], "chat_template": text}
    config = json.loads(text)
    config = config if isinstance(config, dict) else {}
    if "chat_template" in config:
        return config
    template = _beside(folder + _TEMPLATE_FILE, environment)
    return config if template is None else {**config, "chat_template": template}


def _json_beside(file: str, environment: LoadEnvironment) -> dict[str, Any]:
    text = _beside(file, environment)
    value = {} if text is None else json.loads(text)
    return value if isinstance(value, dict) else {}


def _beside(file: str, environment: LoadEnvironment) -> str | None:
    """Return the text of a file that may be missing."""
    try:
        return environment.read_file(file)
    except OSError:
        return None
