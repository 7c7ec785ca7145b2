"""Prompts written in Jinja: the file's own, and the chat templates that come with models.

    prompt: {template: "{% for m in messages %}…"}     ─▶ template_prompt(source)
    prompt: {file: tokenizer_config.json}              ─▶ tokenizer_prompt(config)

A template has the members of the request document that it names, and the variables of transformers'
`apply_chat_template`: `add_generation_prompt`, the special tokens and `strftime_now`. These variables take
precedence over members that a client sends under the same names. `strftime_now` formats the document's `now`.
Further variables come from the file, or from the client's `chat_template_kwargs`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.prompts.prompt import Prompt, messages_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.prompts.prompt import Document

__all__ = ["template_prompt", "tokenizer_prompt"]

_NO_TOKENS = {"bos_token": "", "eos_token": ""}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_CLIENT_VARIABLES = "chat_template_kwargs"

# `prompt` in a template is a variable of the template: the document's `prompt` is the template's result.
_NOT_IN_DOCUMENT = frozenset({"add_generation_prompt", "prompt", "strftime_now"})


def template_prompt(source: str, variables: Mapping[str, Any] = _NOTHING) -> Prompt:
    """Return the prompt of a Jinja template. Raises ValueError about invalid Jinja."""
    return _prompt([source], given=_NO_TOKENS, defaults=variables, stop=())


def tokenizer_prompt(config: Mapping[str, Any], variables: Mapping[str, Any] = _NOTHING) -> Prompt:
    """Return the prompt of a parsed `tokenizer_config.json`, which stops at the model's EOS token.

    Raises ValueError about a missing or invalid chat template.
    """
    tokens = _NO_TOKENS | _special_tokens(config)
    # Templates check `tools is none`, which is false for an undefined name.
    defaults = {"tools": None, "documents": None, **variables}
    stop = (tokens["eos_token"],) if tokens["eos_token"] else ()
    sources = [text.removesuffix("\n") for text in _chat_templates(config)]
    return _prompt(sources, given=tokens, defaults=defaults, stop=stop)


def _prompt(
    sources: list[str],
    *,
    given: Mapping[str, str],
    defaults: Mapping[str, Any],
    stop: tuple[str, ...],
) -> Prompt:
    """Return the prompt of a template, and of another one for requests with tools."""
    # Importing Jinja takes time and memory, which most files do not need.
    from bridge.core.jinja import JinjaTemplate

    templates = [JinjaTemplate(source) for source in sources]
    variables = frozenset[str]().union(*(template.variables for template in templates))
    reads = variables - given.keys() - _NOT_IN_DOCUMENT

    def render(document: Document) -> str:
        named = {name: document[name] for name in reads if name in document}
        if "messages" in reads:
            named["messages"] = _with_contents(document)
        clock = partial(_strftime_now, document)
        fixed = {**given, "add_generation_prompt": True, "strftime_now": clock}
        template = templates[-1 if document.get("tools") else 0]
        return template({**defaults, **_client_variables(document), **named, **fixed})

    clocked = {"now"} if "strftime_now" in variables else set()
    read = reads | clocked | {_CLIENT_VARIABLES}
    # The choice between two templates reads the tools.
    return Prompt(render, stop, read | ({"tools"} if len(templates) > 1 else set()), is_template=True)


def _client_variables(document: Document) -> Mapping[str, Any]:
    """Return the variables that a client sends, as to vLLM and SGLang."""
    sent = document.get(_CLIENT_VARIABLES)
    return {str(name): value for name, value in sent.items()} if isinstance(sent, dict) else {}


def _with_contents(document: Document) -> list[Mapping[str, Any]]:
    """Return the messages as templates expect them.

    A missing content is "", to which templates add strings. Messages with tool calls keep theirs, since
    DeepSeek's template recognizes them by a content of null; the arguments of their calls are objects.
    """
    return [_message(message) for message in messages_of(document)]


def _message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return {**message, "tool_calls": [_with_read_arguments(call) for call in calls]}
    return message if message.get("content") is not None else {**message, "content": ""}


def _with_read_arguments(call: Any) -> Any:
    """Return a call with its arguments as an object; arguments that are no object stay as they are."""
    match call:
        case {"function": {"arguments": str(text)} as function}:
            with suppress(ValueError):
                arguments = json.loads(text or "{}")
                if isinstance(arguments, dict):
                    return {**call, "function": {**function, "arguments": arguments}}
    return call


def _strftime_now(document: Document, form: str) -> str:
    return datetime.fromtimestamp(document["now"], tz=UTC).strftime(form)


def _chat_templates(config: Mapping[str, Any]) -> list[str]:
    """Return the template, and the one for requests with tools if there is another."""
    match config.get("chat_template"):
        case str(text):
            return [text]
        case list(templates):
            return _named_templates(templates)
        case _:
            raise ValueError(
                "no chat_template: expected a string or a list of {name, template}"
                " (newer models keep theirs in chat_template.jinja)"
            )


def _named_templates(templates: list[Any]) -> list[str]:
    named = {
        item["name"]: item["template"]
        for item in templates
        if isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and isinstance(item.get("template"), str)
    }
    if "default" in named:
        return [named[name] for name in ("default", "tool_use") if name in named]
    raise ValueError(
        f"no chat_template named default: expected one among {', '.join(named) or 'the templates listed'}"
    )


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens under the names that transformers uses in templates."""
    texts = {name: _token(value) for name, value in config.items() if name.endswith("_token")}
    return {name: text for name, text in texts.items() if text is not None}


def _token(value: object) -> str | None:
    match value:
        case str(text) | {"content": str(text)}:
            return text
        case _:
            return None  # null, or a boolean such as add_bos_token
