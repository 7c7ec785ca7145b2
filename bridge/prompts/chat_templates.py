"""Prompts written in Jinja: the file's own, and the chat templates that come with models.

    prompt: {template: "{% for m in messages %}…"}     ─▶ template_prompt(source)
    prompt: {file: tokenizer_config.json}              ─▶ tokenizer_prompt(config)

A template has the members of the request document that it names, and the variables of transformers'
`apply_chat_template`: `add_generation_prompt`, the special tokens and `strftime_now`. These variables take
precedence over members that a client sends under the same names. `strftime_now` formats the document's `now`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.core.strings import Interpolated
from bridge.prompts.prompt import Prompt, messages_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.prompts.prompt import Document

__all__ = ["template_prompt", "tokenizer_prompt"]

_NO_TOKENS = {"bos_token": "", "eos_token": ""}

# `prompt` in a template is a variable of the template: the document's `prompt` is the template's result.
_NOT_IN_DOCUMENT = frozenset({"add_generation_prompt", "prompt", "strftime_now"})


def template_prompt(source: str) -> Prompt:
    """Return the prompt of a Jinja template. Raises ValueError about invalid Jinja."""
    return _prompt(source, given=_NO_TOKENS, defaults={}, stop=())


def tokenizer_prompt(config: Mapping[str, Any]) -> Prompt:
    """Return the prompt of a parsed `tokenizer_config.json`, which stops at the model's EOS token.

    Raises ValueError about a missing or invalid chat template.
    """
    tokens = _NO_TOKENS | _special_tokens(config)
    # Templates check `tools is none`, which is false for an undefined name.
    defaults = {"tools": None, "documents": None}
    stop = (tokens["eos_token"],) if tokens["eos_token"] else ()
    return _prompt(_chat_template(config), given=tokens, defaults=defaults, stop=stop)


def _prompt(
    source: str,
    *,
    given: Mapping[str, str],
    defaults: Mapping[str, Any],
    stop: tuple[str, ...],
) -> Prompt:
    # Importing Jinja takes time and memory, which most files do not need.
    from bridge.core.jinja import JinjaTemplate

    template = JinjaTemplate(_without_last_line_end(source))
    reads = template.variables - given.keys() - _NOT_IN_DOCUMENT

    def render(document: Document) -> str:
        named = {name: document[name] for name in reads if name in document}
        if "messages" in reads:
            named["messages"] = _with_contents(document)
        clock = partial(_strftime_now, document)
        return template({**defaults, **named, **given, "add_generation_prompt": True, "strftime_now": clock})

    clocked = {"now"} if "strftime_now" in template.variables else set()
    return Prompt(render, stop, reads | clocked, is_template=True)


def _without_last_line_end(source: str) -> str:
    """Remove the line end of files and YAML blocks, which Jinja keeps because of `keep_trailing_newline`."""
    if not isinstance(source, Interpolated):
        return source.removesuffix("\n")
    if not source.template.endswith("\n"):
        return source
    shorter = Interpolated([source.removesuffix("\n")], [])
    shorter.template, shorter.values = source.template.removesuffix("\n"), source.values
    return shorter


def _with_contents(document: Document) -> list[Mapping[str, Any]]:
    """Return the messages with "" in place of a missing content, to which templates add strings.

    Messages with tool calls are unchanged, since DeepSeek's template recognizes them by a content of null.
    """
    return [
        message
        if message.get("content") is not None or message.get("tool_calls")
        else {**message, "content": ""}
        for message in messages_of(document)
    ]


def _strftime_now(document: Document, form: str) -> str:
    return datetime.fromtimestamp(document["now"], tz=UTC).strftime(form)


def _chat_template(config: Mapping[str, Any]) -> str:
    match config.get("chat_template"):
        case str(text):
            return text
        case list(templates):
            return _default_template(templates)
        case _:
            raise ValueError(
                "no chat_template: expected a string or a list of {name, template}"
                " (newer models keep theirs in chat_template.jinja)"
            )


def _default_template(templates: list[Any]) -> str:
    for template in templates:
        match template:
            case {"name": "default", "template": str(text)}:
                return text
    names = [str(item["name"]) for item in templates if isinstance(item, dict) and "name" in item]
    raise ValueError(
        f"no chat_template named default: expected one among {', '.join(names) or 'the templates listed'}"
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
