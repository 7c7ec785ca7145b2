"""The named prompts: chats in the markers of one model family each.

    PromptFormat.user                Delimiters("<|im_start|>user\\n", "<|im_end|>\\n")
    PromptFormat.generation_prompt   "<|im_start|>assistant\\n"

Each text is written between the delimiters of its role, in the order of the messages. The prompt ends where
the model's next message begins. Families differ in their delimiters and in the place of the system text.

Formats do not begin with a BOS token (`<s>`, `<|begin_of_text|>`, `<bos>`): the tokenizers of completion
endpoints add the token, and a second one makes a model's output worse. EOS tokens (`</s>`) between messages
are written, since tokenizers do not add them.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, assert_never

from bridge.core.messages import visible_text
from bridge.prompts.prompt import MESSAGES, Document, Prompt, PromptMessage, Role, messages_of, read_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["PROMPTS"]

_BLANK_LINE = "\n\n"


class SystemPlacement(Enum):
    """The place of the system text."""

    TURNS = auto()  # each system message stays in its place
    HEAD = auto()  # one text before all other messages
    FIRST_USER = auto()  # one text in the first message of the user


class Delimiters(NamedTuple):
    """The strings before and after a text."""

    before: str
    after: str

    def enclose(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"


class PromptFormat(NamedTuple):
    """The format of one model family."""

    system: Delimiters
    user: Delimiters
    assistant: Delimiters
    generation_prompt: str  # empty: the end of the user's message begins the assistant's
    stop: tuple[str, ...]
    system_placement: SystemPlacement = SystemPlacement.TURNS
    default_system: str = ""  # the system text of a request without one
    merge_separator: str | None = None  # joins neighbors of the same role, if roles must alternate
    clean: Callable[[str], str] = str  # applied to each text


def _prompt(style: PromptFormat) -> Prompt:
    return Prompt(lambda document: _write(style, read_messages(document, style.clean)), style.stop, MESSAGES)


def _write(style: PromptFormat, messages: list[PromptMessage]) -> str:
    messages = _place_system(style, messages)
    if style.merge_separator is not None:
        messages = _merge_same_role(messages, style.merge_separator)
    text = "".join(_delimiters(style, role).enclose(text) for role, text in messages)
    if not style.generation_prompt and messages and messages[-1].role == "assistant":
        # Only a user's message could begin a new one of the assistant's, so the model continues the last one.
        text = text.removesuffix(style.assistant.after)
    return text + style.generation_prompt


def _delimiters(style: PromptFormat, role: Role) -> Delimiters:
    match role:
        case "system":
            return style.system
        case "user":
            return style.user
        case "assistant":
            return style.assistant
        case _:
            assert_never(role)


def _place_system(style: PromptFormat, messages: list[PromptMessage]) -> list[PromptMessage]:
    if style.system_placement is SystemPlacement.TURNS:
        return messages
    system = _join_texts((message.text for message in messages if message.role == "system"), _BLANK_LINE)
    system = system or style.default_system
    turns = [message for message in messages if message.role != "system"]
    if not system:
        return turns
    match style.system_placement:
        case SystemPlacement.HEAD:
            return [PromptMessage("system", system), *turns]
        case SystemPlacement.FIRST_USER:
            return _prepend_to_user(style.system.enclose(system), system, turns)
        case _:
            assert_never(style.system_placement)


def _prepend_to_user(prefix: str, system: str, turns: list[PromptMessage]) -> list[PromptMessage]:
    """Prepend the system text to the user's first message; without one, the system text is the message."""
    for number, (role, text) in enumerate(turns):
        if role == "user":
            return [*turns[:number], PromptMessage("user", prefix + text), *turns[number + 1 :]]
    return [PromptMessage("user", system), *turns]


def _merge_same_role(messages: list[PromptMessage], separator: str) -> list[PromptMessage]:
    runs = groupby(messages, key=lambda message: message.role)
    return [
        PromptMessage(role, _join_texts((message.text for message in run), separator)) for role, run in runs
    ]


def _join_texts(texts: Iterable[str], separator: str) -> str:
    return separator.join(text for text in texts if text)


def _plain(style: PromptFormat, document: Document) -> str:
    """Return the text of a single user message as it is, since the text is to be completed."""
    messages = read_messages(document, style.clean)
    match [message for message in messages if message != PromptMessage("system", "")]:
        case [PromptMessage("user", text)]:
            return text
        case _:
            return _write(style, messages)


def _last(document: Document) -> str:
    messages = (message for message in reversed(messages_of(document)) if message.get("role") == "user")
    return visible_text(next(messages, {}))


def _join(document: Document) -> str:
    """Return the texts joined by spaces, as LiteLLM's `custom/` sends them."""
    return " ".join([visible_text(message) for message in messages_of(document)])


_PLAIN = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("User: ", "\n"),
    assistant=Delimiters("Assistant: ", "\n"),
    generation_prompt="Assistant:",  # no space, which tokenizers join to the next word
    stop=("\nUser:",),
    system_placement=SystemPlacement.HEAD,
)

# openai-python 0.28, chatml.md. The format of Qwen, Yi, Hermes, Dolphin, OpenOrca and many more.
_CHATML = PromptFormat(
    system=Delimiters("<|im_start|>system\n", "<|im_end|>\n"),
    user=Delimiters("<|im_start|>user\n", "<|im_end|>\n"),
    assistant=Delimiters("<|im_start|>assistant\n", "<|im_end|>\n"),
    generation_prompt="<|im_start|>assistant\n",
    stop=("<|im_end|>",),
)

# facebookresearch/llama, llama/generation.py: texts are stripped, a pair of messages is between <s> and </s>.
# The <s> of later pairs is written, since a tokenizer only adds the first one.
_LLAMA2 = PromptFormat(
    system=Delimiters("<<SYS>>\n", "\n<</SYS>>\n\n"),
    user=Delimiters("[INST] ", " [/INST]"),
    assistant=Delimiters(" ", " </s><s>"),
    generation_prompt="",
    stop=("</s>", "[INST]"),
    system_placement=SystemPlacement.FIRST_USER,
    merge_separator=_BLANK_LINE,
    clean=str.strip,
)

# meta-llama/llama3, llama/tokenizer.py, ChatFormat: texts are stripped.
_LLAMA3 = PromptFormat(
    system=Delimiters("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    user=Delimiters("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    assistant=Delimiters("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    generation_prompt="<|start_header_id|>assistant<|end_header_id|>\n\n",
    stop=("<|eot_id|>",),
    clean=str.strip,
)

# docs.mistral.ai, "Demystifying Mistral's Instruct Tokenization", and mistral-common: the V1 form of
# 7B-Instruct and Mixtral. Later tokenizers leave out single spaces: use their tokenizer_config.json.
# mistral-common merges neighbors of the same role in the same way.
_MISTRAL = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("[INST] ", " [/INST]"),
    assistant=Delimiters(" ", "</s>"),
    generation_prompt="",
    stop=("</s>", "[INST]"),
    system_placement=SystemPlacement.FIRST_USER,
    merge_separator=_BLANK_LINE,
)

# lm-sys/FastChat, docs/vicuna_weights_version.md: v1.1 and later, trained with this preamble.
# The line end in the stop string keeps "POSTGRES_USER: …" in an output from stopping the model.
_VICUNA = PromptFormat(
    system=Delimiters("", " "),
    user=Delimiters("USER: ", " "),
    assistant=Delimiters("ASSISTANT: ", "</s>"),
    generation_prompt="ASSISTANT:",
    stop=("</s>", "\nUSER:"),
    system_placement=SystemPlacement.HEAD,
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
)

# tatsu-lab/stanford_alpaca, train.py: the form without an input, trained with this preamble. The form has one
# pair of messages; earlier responses end as in FastChat.
_ALPACA = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("### Instruction:\n", _BLANK_LINE),
    assistant=Delimiters("### Response:\n", "</s>"),
    generation_prompt="### Response:",
    stop=("</s>", "### Instruction:"),
    system_placement=SystemPlacement.HEAD,
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
)

# Anthropic's Text Completions, /v1/complete: a prompt has to begin with a human turn, and a space after the
# last colon makes the output worse.
_HUMAN_ASSISTANT = PromptFormat(
    system=Delimiters("", " "),
    user=Delimiters("\n\nHuman: ", ""),
    assistant=Delimiters("\n\nAssistant: ", ""),
    generation_prompt="\n\nAssistant:",
    stop=("\n\nHuman:",),
    system_placement=SystemPlacement.FIRST_USER,
)

# The model card of HuggingFaceH4/zephyr-7b-beta; TinyLlama-Chat likewise.
_ZEPHYR = PromptFormat(
    system=Delimiters("<|system|>\n", "</s>\n"),
    user=Delimiters("<|user|>\n", "</s>\n"),
    assistant=Delimiters("<|assistant|>\n", "</s>\n"),
    generation_prompt="<|assistant|>\n",
    stop=("</s>", "<|user|>"),
)

# ai.google.dev/gemma/docs/core/prompt-structure: no system role; the tokenizer_config.json of Gemma 3 puts
# the system text before the first user message, and strips texts. Roles have to alternate.
_GEMMA = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("<start_of_turn>user\n", "<end_of_turn>\n"),
    assistant=Delimiters("<start_of_turn>model\n", "<end_of_turn>\n"),
    generation_prompt="<start_of_turn>model\n",
    stop=("<end_of_turn>",),
    system_placement=SystemPlacement.FIRST_USER,
    merge_separator=_BLANK_LINE,
    clean=str.strip,
)

PROMPTS: Mapping[str, Prompt] = {
    "plain": Prompt(partial(_plain, _PLAIN), (), MESSAGES, cut=_PLAIN.stop),
    "chatml": _prompt(_CHATML),
    "llama2": _prompt(_LLAMA2),
    "llama3": _prompt(_LLAMA3),
    "mistral": _prompt(_MISTRAL),
    "vicuna": _prompt(_VICUNA),
    "alpaca": _prompt(_ALPACA),
    "human-assistant": _prompt(_HUMAN_ASSISTANT),
    "zephyr": _prompt(_ZEPHYR),
    "gemma": _prompt(_GEMMA),
    "last": Prompt(_last, (), MESSAGES, parts=frozenset({"last"})),
    "join": Prompt(_join, (), MESSAGES),
}
