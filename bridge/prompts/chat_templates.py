"""Prompts written in Jinja: the file's own, and the chat templates that come with models.

    prompt: {template: "{% for m in messages %}…"}     ─▶ template_prompt(source)
    prompt: {file: tokenizer_config.json}              ─▶ tokenizer_prompt(config)

A template sees the members of the request document that it names and, whatever the client sent under
these names, what transformers' `apply_chat_template` gives: `add_generation_prompt`, the special tokens
and `strftime_now`. The clock of the latter is the document's `now`, in seconds since 1970.
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

# A prompt cannot read itself: `prompt` in a template is a name of its own, set in some of its branches.
_NOT_OF_THE_DOCUMENT = frozenset({"add_generation_prompt", "prompt", "strftime_now"})


def template_prompt(source: str) -> Prompt:
    """The prompt of a Jinja template. Raises ValueError when it is no Jinja."""
    return _prompt(source, given=_NO_TOKENS, otherwise={}, stop=())


def tokenizer_prompt(config: Mapping[str, Any]) -> Prompt:
    """The prompt of a parsed `tokenizer_config.json`, which stops at the model's own end of text.

    Raises ValueError when there is no chat template in it, or one that is no Jinja.
    """
    tokens = _NO_TOKENS | _special_tokens(config)
    # Templates ask `tools is none`, which an undefined name is not.
    otherwise = {"tools": None, "documents": None}
    stop = (tokens["eos_token"],) if tokens["eos_token"] else ()
    return _prompt(_chat_template(config), given=tokens, otherwise=otherwise, stop=stop)


def _prompt(
    source: str,
    *,
    given: Mapping[str, str],
    otherwise: Mapping[str, Any],
    stop: tuple[str, ...],
) -> Prompt:
    from bridge.core.jinja import JinjaTemplate  # Jinja costs start and memory, which not every file needs

    template = JinjaTemplate(_without_last_line_end(source))
    reads = template.variables - given.keys() - _NOT_OF_THE_DOCUMENT

    def render(document: Document) -> str:
        named = {name: document[name] for name in reads if name in document}
        if "messages" in reads:
            named["messages"] = _with_contents(document)
        clock = partial(_strftime_now, document)
        return template({**otherwise, **named, **given, "add_generation_prompt": True, "strftime_now": clock})

    clocked = {"now"} if "strftime_now" in template.variables else set()
    return Prompt(render, stop, reads | clocked)


def _without_last_line_end(source: str) -> str:
    """Leave out what Jinja itself would, had it not been told to keep it: files and YAML blocks end so."""
    if not isinstance(source, Interpolated):
        return source.removesuffix("\n")
    if not source.template.endswith("\n"):
        return source
    shorter = Interpolated([source.removesuffix("\n")], [])
    shorter.template, shorter.values = source.template.removesuffix("\n"), source.values
    return shorter


def _with_contents(document: Document) -> list[Mapping[str, Any]]:
    """The messages, none without a content, for templates add strings to it.

    Those with tool calls stay as they came: DeepSeek's template tells them by a content that is null.
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
        case list(several):
            return _default_of(several)
        case _:
            raise ValueError(
                "no chat_template: expected a string or a list of {name, template}"
                " (newer models keep theirs in chat_template.jinja)"
            )


def _default_of(several: list[Any]) -> str:
    for one in several:
        match one:
            case {"name": "default", "template": str(text)}:
                return text
    names = [str(one["name"]) for one in several if isinstance(one, dict) and "name" in one]
    raise ValueError(
        f"no chat_template named default: expected one among {', '.join(names) or 'the templates listed'}"
    )


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """All of them, as transformers gives them to its templates."""
    texts = {name: _token(value) for name, value in config.items() if name.endswith("_token")}
    return {name: text for name, text in texts.items() if text is not None}


def _token(value: object) -> str | None:
    match value:
        case str(text) | {"content": str(text)}:
            return text
        case _:
            return None  # unset, or a switch such as add_bos_token
