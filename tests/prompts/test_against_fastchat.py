"""Named prompts compared with FastChat's conversation templates, an independent implementation.

    uv pip install --no-deps fschat==0.2.36

Without its dependencies: `fastchat.conversation` needs the standard library only, the rest of the package
needs a machine for models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastchat.conversation as fastchat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.prompts import PROMPTS

if TYPE_CHECKING:
    from collections.abc import Callable

# Deliberate differences from FastChat, and quirks of FastChat that the tests avoid. In all prompts:
# - FastChat treats an empty text as the start of a response, so no text is empty;
# - FastChat places separators by position, so user and assistant alternate, from a user to a user;
# - Llama 2's own code strips texts and FastChat does not, so the texts are stripped.


def _unchanged(_: Any) -> None: ...


def _omit_empty_system_turn(conversation: Any) -> None:
    # The template prints markers around an empty text, unlike the template of the Zephyr tokenizer.
    if not conversation.system_message:
        conversation.system_template = ""


def _blank_line_after_system(conversation: Any) -> None:
    # Mistral's documents and mistral-common have a blank line, FastChat a single line break.
    conversation.system_template = "[INST] {system_message}\n\n"


def _line_end_after_header(text: str) -> str:
    # Stanford's train.py writes the instruction on its own line, FastChat after a space.
    return text.replace("### Instruction: ", "### Instruction:\n").replace(
        "### Response: ", "### Response:\n"
    )


ORACLES: dict[str, tuple[str, Callable[[Any], None], Callable[[str], str]]] = {
    "llama2": ("llama-2", _unchanged, str),
    "mistral": ("mistral", _blank_line_after_system, str),
    "vicuna": ("vicuna_v1.1", _unchanged, str),
    "alpaca": ("alpaca", _unchanged, _line_end_after_header),
    "zephyr": ("zephyr", _omit_empty_system_turn, str),
}

texts = st.text(max_size=40).map(str.strip).filter(bool)
systems = st.none() | texts
turns = st.integers(0, 3).flatmap(
    lambda rounds: st.lists(texts, min_size=2 * rounds + 1, max_size=2 * rounds + 1)
)


def bridge_prompt(name: str, system: str | None, dialogue: list[str]) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(dialogue)
    ]
    return PROMPTS[name].render({"messages": messages})


def fastchat_prompt(
    conversation: Any,
    system: str | None,
    dialogue: list[str],
    prepare: Callable[[Any], None] = _unchanged,
) -> str:
    if system:
        conversation.set_system_message(system)
    prepare(conversation)
    conversation.messages = []  # a manually built conversation has a tuple
    for number, text in enumerate([*dialogue, None]):
        conversation.append_message(conversation.roles[number % 2], text)
    return str(conversation.get_prompt())


@pytest.mark.parametrize("name", ORACLES)
@given(system=systems, dialogue=turns)
def test_a_prompt_equals_fastchats(name: str, system: str | None, dialogue: list[str]) -> None:
    template, prepare, adjust = ORACLES[name]
    conversation = fastchat.get_conv_template(template)
    assert bridge_prompt(name, system, dialogue) == adjust(
        fastchat_prompt(conversation, system, dialogue, prepare)
    )


@given(system=systems, dialogue=turns)
def test_chatml_equals_fastchats(system: str | None, dialogue: list[str]) -> None:
    # Qwen's template adds its own system text; Yi's has no markers for a system text.
    conversation = fastchat.get_conv_template("qwen-7b-chat" if system else "Yi-34b-chat")
    assert bridge_prompt("chatml", system, dialogue) == fastchat_prompt(conversation, system, dialogue)


@given(dialogue=turns)
def test_human_assistant_equals_fastchats(dialogue: list[str]) -> None:
    # Without a system text: FastChat writes the text before the first turn, as Claude 2.1 allows.
    conversation = fastchat.get_conv_template("claude")
    assert bridge_prompt("human-assistant", None, dialogue) == fastchat_prompt(conversation, None, dialogue)


@given(system=texts, dialogue=turns)
def test_plain_equals_a_style_of_fastchat(system: str, dialogue: list[str]) -> None:
    # Not the template of a model: the most common style of FastChat with the roles of `plain`.
    conversation = fastchat.Conversation(
        name="plain",
        system_template="{system_message}\n",
        roles=("User", "Assistant"),
        sep_style=fastchat.SeparatorStyle.ADD_COLON_SINGLE,
        sep="\n",
    )
    assert bridge_prompt("plain", system, dialogue) == fastchat_prompt(conversation, system, dialogue)
