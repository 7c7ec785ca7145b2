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

from bridge.prompts.prompt import MESSAGES, Document, Prompt, Role, Said, messages_of, read, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["PROMPTS"]

_BLANK_LINE = "\n\n"


class Standing(Enum):
    """Where a family keeps what the operator says."""

    TURNS = auto()  # each system message is a turn of its own, where it was said
    HEAD = auto()  # one text ahead of all turns
    FIRST_USER = auto()  # one text inside the first turn of the user


class Marks(NamedTuple):
    """What stands before and after a text."""

    before: str
    after: str

    def around(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"


class Style(NamedTuple):
    """How one family writes a conversation. Empty `opening`: the end of the user's turn opens the answer."""

    system: Marks
    user: Marks
    assistant: Marks
    opening: str
    stop: tuple[str, ...]
    standing: Standing = Standing.TURNS
    preamble: str = ""  # the system text of a client that sent none
    joint: str | None = None  # makes one turn of neighbours of one role, where roles have to alternate
    tidy: Callable[[str], str] = str


def _styled(style: Style) -> Prompt:
    return Prompt(lambda document: _write(style, read(document, style.tidy)), style.stop, MESSAGES)


def _write(style: Style, said: list[Said]) -> str:
    said = _settle_system(style, said)
    if style.joint is not None:
        said = _join_neighbours(said, style.joint)
    text = "".join(_marks(style, role).around(text) for role, text in said)
    if not style.opening and said and said[-1].role == "assistant":
        # Only a user's turn could open another answer. The last one is left open, to be gone on with.
        text = text.removesuffix(style.assistant.after)
    return text + style.opening


def _marks(style: Style, role: Role) -> Marks:
    match role:
        case "system":
            return style.system
        case "user":
            return style.user
        case "assistant":
            return style.assistant
        case _:
            assert_never(role)


def _settle_system(style: Style, said: list[Said]) -> list[Said]:
    if style.standing is Standing.TURNS:
        return said
    system = _joined((one.text for one in said if one.role == "system"), _BLANK_LINE) or style.preamble
    turns = [one for one in said if one.role != "system"]
    if not system:
        return turns
    match style.standing:
        case Standing.HEAD:
            return [Said("system", system), *turns]
        case Standing.FIRST_USER:
            return _tell_first_user(style.system, system, turns)
        case _:
            assert_never(style.standing)


def _tell_first_user(marks: Marks, system: str, turns: list[Said]) -> list[Said]:
    for number, (role, text) in enumerate(turns):
        if role == "user":
            return [*turns[:number], Said("user", marks.around(system) + text), *turns[number + 1 :]]
    return [Said("user", system), *turns]  # nobody asked: what the operator says is the question


def _join_neighbours(said: list[Said], joint: str) -> list[Said]:
    runs = groupby(said, key=lambda one: one.role)
    return [Said(role, _joined((one.text for one in run), joint)) for role, run in runs]


def _joined(texts: Iterable[str], joint: str) -> str:
    return joint.join(text for text in texts if text)


def _plain(style: Style, document: Document) -> str:
    """A lone user message needs no marks: it is the text to complete."""
    said = read(document, style.tidy)
    match [one for one in said if one != Said("system", "")]:
        case [Said("user", text)]:
            return text
        case _:
            return _write(style, said)


def _last(document: Document) -> str:
    asked = (message for message in reversed(messages_of(document)) if message.get("role") == "user")
    return text_of(next(asked, {}))


def _join(document: Document) -> str:
    """What LiteLLM's `custom/` sends."""
    return " ".join([text_of(message) for message in messages_of(document)])


_PLAIN = Style(
    system=Marks("", _BLANK_LINE),
    user=Marks("User: ", "\n"),
    assistant=Marks("Assistant: ", "\n"),
    opening="Assistant:",  # no space: tokenizers join it to the word that comes
    stop=("\nUser:",),
    standing=Standing.HEAD,
)

# openai-python 0.28, chatml.md. Spoken by Qwen, Yi, Hermes, Dolphin, OpenOrca and many more.
_CHATML = Style(
    system=Marks("<|im_start|>system\n", "<|im_end|>\n"),
    user=Marks("<|im_start|>user\n", "<|im_end|>\n"),
    assistant=Marks("<|im_start|>assistant\n", "<|im_end|>\n"),
    opening="<|im_start|>assistant\n",
    stop=("<|im_end|>",),
)

# facebookresearch/llama, llama/generation.py: texts are stripped, an exchange stands between <s> and </s>.
# The <s> of the later exchanges is written: a tokenizer adds the first one only.
_LLAMA2 = Style(
    system=Marks("<<SYS>>\n", "\n<</SYS>>\n\n"),
    user=Marks("[INST] ", " [/INST]"),
    assistant=Marks(" ", " </s><s>"),
    opening="",
    stop=("</s>", "[INST]"),
    standing=Standing.FIRST_USER,
    joint=_BLANK_LINE,
    tidy=str.strip,
)

# meta-llama/llama3, llama/tokenizer.py, ChatFormat: texts are stripped.
_LLAMA3 = Style(
    system=Marks("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    user=Marks("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    assistant=Marks("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    opening="<|start_header_id|>assistant<|end_header_id|>\n\n",
    stop=("<|eot_id|>",),
    tidy=str.strip,
)

# docs.mistral.ai, "Demystifying Mistral's Instruct Tokenization", and mistral-common: the V1 form of
# 7B-Instruct and Mixtral. Later tokenizers leave out single spaces: use their tokenizer_config.json.
# Neighbours of one role are joined as mistral-common does it.
_MISTRAL = Style(
    system=Marks("", _BLANK_LINE),
    user=Marks("[INST] ", " [/INST]"),
    assistant=Marks(" ", "</s>"),
    opening="",
    stop=("</s>", "[INST]"),
    standing=Standing.FIRST_USER,
    joint=_BLANK_LINE,
)

# lm-sys/FastChat, docs/vicuna_weights_version.md: v1.1 and later, trained with this preamble.
# The line end in the stop string spares answers with a "POSTGRES_USER: …" in them.
_VICUNA = Style(
    system=Marks("", " "),
    user=Marks("USER: ", " "),
    assistant=Marks("ASSISTANT: ", "</s>"),
    opening="ASSISTANT:",
    stop=("</s>", "\nUSER:"),
    standing=Standing.HEAD,
    preamble=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
)

# tatsu-lab/stanford_alpaca, train.py: the form without an input, trained with this preamble. It knows one
# exchange; the answers of earlier ones end as FastChat ends them.
_ALPACA = Style(
    system=Marks("", _BLANK_LINE),
    user=Marks("### Instruction:\n", _BLANK_LINE),
    assistant=Marks("### Response:\n", "</s>"),
    opening="### Response:",
    stop=("</s>", "### Instruction:"),
    standing=Standing.HEAD,
    preamble=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
)

# Anthropic's Text Completions, /v1/complete: a prompt has to begin with a turn of the human, and a space
# behind the last colon spoils answers.
_HUMAN_ASSISTANT = Style(
    system=Marks("", " "),
    user=Marks("\n\nHuman: ", ""),
    assistant=Marks("\n\nAssistant: ", ""),
    opening="\n\nAssistant:",
    stop=("\n\nHuman:",),
    standing=Standing.FIRST_USER,
)

# The model card of HuggingFaceH4/zephyr-7b-beta; TinyLlama-Chat likewise.
_ZEPHYR = Style(
    system=Marks("<|system|>\n", "</s>\n"),
    user=Marks("<|user|>\n", "</s>\n"),
    assistant=Marks("<|assistant|>\n", "</s>\n"),
    opening="<|assistant|>\n",
    stop=("</s>", "<|user|>"),
)

# ai.google.dev/gemma/docs/core/prompt-structure: no system role; the tokenizer_config.json of Gemma 3 puts
# its text ahead of the first question, and strips texts. Roles have to alternate.
_GEMMA = Style(
    system=Marks("", _BLANK_LINE),
    user=Marks("<start_of_turn>user\n", "<end_of_turn>\n"),
    assistant=Marks("<start_of_turn>model\n", "<end_of_turn>\n"),
    opening="<start_of_turn>model\n",
    stop=("<end_of_turn>",),
    standing=Standing.FIRST_USER,
    joint=_BLANK_LINE,
    tidy=str.strip,
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
