"""The named prompts: a conversation written in one model family's markers.

    Style.user       Marks("<|im_start|>user\\n", "<|im_end|>\\n")    around what the user said
    Style.opening    "<|im_start|>assistant\\n"                       where the model takes over

Every text is written once, whole and in its order, between the marks of its role; the answer is open at
the end. The families differ in their marks, and in where they keep the system text (`Standing`).

No style begins with its BOS token (`<s>`, `<|begin_of_text|>`, `<bos>`): the tokenizers behind completion
endpoints put it there themselves, and a model given two of them answers worse. An EOS token (`</s>`) is
written, since nobody else marks the end of an answer inside a prompt.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, assert_never

from bridge.core.messages import visible_text
from bridge.prompts.prompt import MESSAGES, Document, Prompt, PromptMessage, Role, messages_of, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["PROMPTS"]

_BLANK_LINE = "\n\n"


class SystemPlacement(Enum):
    """Where a family keeps what the operator says."""

    TURNS = auto()  # each system message is a turn of its own, where it was said
    HEAD = auto()  # one text ahead of all turns
    FIRST_USER = auto()  # one text inside the first turn of the user


class Delimiters(NamedTuple):
    """What stands before and after a text."""

    before: str
    after: str

    def around(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"


class PromptFormat(NamedTuple):
    """How one family writes a conversation. Empty `opening`: the end of the user's turn opens the answer."""

    system: Delimiters
    user: Delimiters
    assistant: Delimiters
    generation_prompt: str
    stop: tuple[str, ...]
    standing: SystemPlacement = SystemPlacement.TURNS
    default_system: str = ""  # the system text of a client that sent none
    merge_separator: str | None = (
        None  # makes one turn of neighbours of one role, where roles have to alternate
    )
    clean: Callable[[str], str] = str


def _styled(style: PromptFormat) -> Prompt:
    return Prompt(lambda document: _write(style, read(document, style.clean)), style.stop, MESSAGES)


def _write(style: PromptFormat, said: list[PromptMessage]) -> str:
    said = _settle_system(style, said)
    if style.merge_separator is not None:
        said = _join_neighbours(said, style.merge_separator)
    text = "".join(_marks(style, role).around(text) for role, text in said)
    if not style.generation_prompt and said and said[-1].role == "assistant":
        # Only a user's turn could open another answer. The last one is left open, to be gone on with.
        text = text.removesuffix(style.assistant.after)
    return text + style.generation_prompt


def _marks(style: PromptFormat, role: Role) -> Delimiters:
    match role:
        case "system":
            return style.system
        case "user":
            return style.user
        case "assistant":
            return style.assistant
        case _:
            assert_never(role)


def _settle_system(style: PromptFormat, said: list[PromptMessage]) -> list[PromptMessage]:
    if style.standing is SystemPlacement.TURNS:
        return said
    system = _joined((one.text for one in said if one.role == "system"), _BLANK_LINE) or style.default_system
    turns = [one for one in said if one.role != "system"]
    if not system:
        return turns
    match style.standing:
        case SystemPlacement.HEAD:
            return [PromptMessage("system", system), *turns]
        case SystemPlacement.FIRST_USER:
            return _tell_first_user(style.system, system, turns)
        case _:
            assert_never(style.standing)


def _tell_first_user(marks: Delimiters, system: str, turns: list[PromptMessage]) -> list[PromptMessage]:
    for number, (role, text) in enumerate(turns):
        if role == "user":
            return [*turns[:number], PromptMessage("user", marks.around(system) + text), *turns[number + 1 :]]
    return [PromptMessage("user", system), *turns]  # nobody asked: what the operator says is the question


def _join_neighbours(said: list[PromptMessage], joint: str) -> list[PromptMessage]:
    runs = groupby(said, key=lambda one: one.role)
    return [PromptMessage(role, _joined((one.text for one in run), joint)) for role, run in runs]


def _joined(texts: Iterable[str], joint: str) -> str:
    return joint.join(text for text in texts if text)


def _plain(style: PromptFormat, document: Document) -> str:
    """A lone user message needs no marks: it is the text to complete."""
    said = read(document, style.clean)
    match [one for one in said if one != PromptMessage("system", "")]:
        case [PromptMessage("user", text)]:
            return text
        case _:
            return _write(style, said)


def _last(document: Document) -> str:
    asked = (message for message in reversed(messages_of(document)) if message.get("role") == "user")
    return visible_text(next(asked, {}))


def _join(document: Document) -> str:
    """What LiteLLM's `custom/` sends."""
    return " ".join([visible_text(message) for message in messages_of(document)])


_PLAIN = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("User: ", "\n"),
    assistant=Delimiters("Assistant: ", "\n"),
    generation_prompt="Assistant:",  # no space: tokenizers join it to the word that comes
    stop=("\nUser:",),
    standing=SystemPlacement.HEAD,
)

# openai-python 0.28, chatml.md. Spoken by Qwen, Yi, Hermes, Dolphin, OpenOrca and many more.
_CHATML = PromptFormat(
    system=Delimiters("<|im_start|>system\n", "<|im_end|>\n"),
    user=Delimiters("<|im_start|>user\n", "<|im_end|>\n"),
    assistant=Delimiters("<|im_start|>assistant\n", "<|im_end|>\n"),
    generation_prompt="<|im_start|>assistant\n",
    stop=("<|im_end|>",),
)

# facebookresearch/llama, llama/generation.py: texts are stripped, an exchange stands between <s> and </s>.
# The <s> of the later exchanges is written: a tokenizer adds the first one only.
_LLAMA2 = PromptFormat(
    system=Delimiters("<<SYS>>\n", "\n<</SYS>>\n\n"),
    user=Delimiters("[INST] ", " [/INST]"),
    assistant=Delimiters(" ", " </s><s>"),
    generation_prompt="",
    stop=("</s>", "[INST]"),
    standing=SystemPlacement.FIRST_USER,
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
# Neighbours of one role are joined as mistral-common does it.
_MISTRAL = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("[INST] ", " [/INST]"),
    assistant=Delimiters(" ", "</s>"),
    generation_prompt="",
    stop=("</s>", "[INST]"),
    standing=SystemPlacement.FIRST_USER,
    merge_separator=_BLANK_LINE,
)

# lm-sys/FastChat, docs/vicuna_weights_version.md: v1.1 and later, trained with this preamble.
# The line end in the stop string spares answers with a "POSTGRES_USER: …" in them.
_VICUNA = PromptFormat(
    system=Delimiters("", " "),
    user=Delimiters("USER: ", " "),
    assistant=Delimiters("ASSISTANT: ", "</s>"),
    generation_prompt="ASSISTANT:",
    stop=("</s>", "\nUSER:"),
    standing=SystemPlacement.HEAD,
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
)

# tatsu-lab/stanford_alpaca, train.py: the form without an input, trained with this preamble. It knows one
# exchange; the answers of earlier ones end as FastChat ends them.
_ALPACA = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("### Instruction:\n", _BLANK_LINE),
    assistant=Delimiters("### Response:\n", "</s>"),
    generation_prompt="### Response:",
    stop=("</s>", "### Instruction:"),
    standing=SystemPlacement.HEAD,
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
)

# Anthropic's Text Completions, /v1/complete: a prompt has to begin with a turn of the human, and a space
# behind the last colon spoils answers.
_HUMAN_ASSISTANT = PromptFormat(
    system=Delimiters("", " "),
    user=Delimiters("\n\nHuman: ", ""),
    assistant=Delimiters("\n\nAssistant: ", ""),
    generation_prompt="\n\nAssistant:",
    stop=("\n\nHuman:",),
    standing=SystemPlacement.FIRST_USER,
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
# its text ahead of the first question, and strips texts. Roles have to alternate.
_GEMMA = PromptFormat(
    system=Delimiters("", _BLANK_LINE),
    user=Delimiters("<start_of_turn>user\n", "<end_of_turn>\n"),
    assistant=Delimiters("<start_of_turn>model\n", "<end_of_turn>\n"),
    generation_prompt="<start_of_turn>model\n",
    stop=("<end_of_turn>",),
    standing=SystemPlacement.FIRST_USER,
    merge_separator=_BLANK_LINE,
    clean=str.strip,
)

PROMPTS: Mapping[str, Prompt] = {
    "plain": Prompt(partial(_plain, _PLAIN), (), MESSAGES, cut=_PLAIN.stop),
    "chatml": _styled(_CHATML),
    "llama2": _styled(_LLAMA2),
    "llama3": _styled(_LLAMA3),
    "mistral": _styled(_MISTRAL),
    "vicuna": _styled(_VICUNA),
    "alpaca": _styled(_ALPACA),
    "human-assistant": _styled(_HUMAN_ASSISTANT),
    "zephyr": _styled(_ZEPHYR),
    "gemma": _styled(_GEMMA),
    "last": Prompt(_last, (), MESSAGES),
    "join": Prompt(_join, (), MESSAGES),
}
