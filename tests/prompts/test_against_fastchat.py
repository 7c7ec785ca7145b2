"""The named prompts against FastChat's conversation templates: an oracle written by others.

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

# Where we differ from FastChat on purpose, or must not meet one of its quirks. Everywhere:
# - an empty text would open an answer there, so all texts have something in them;
# - it puts separators by position, so user and assistant alternate, beginning and ending with the user;
# - Llama 2's own code strips texts and FastChat does not, so texts come stripped.


def _as_it_is(_: Any) -> None: ...


def _system_turn_only_if_said(conversation: Any) -> None:
    # The template prints its marks around nothing; the Zephyr tokenizer's own template does not.
    if not conversation.system_message:
        conversation.system_template = ""


def _blank_line_after_system(conversation: Any) -> None:
    # Mistral's documents and mistral-common have a blank line where FastChat has one line end.
    conversation.system_template = "[INST] {system_message}\n\n"


def _line_end_after_header(text: str) -> str:
    # Stanford's train.py writes the instruction on a line of its own, FastChat behind a space.
    return text.replace("### Instruction: ", "### Instruction:\n").replace(
        "### Response: ", "### Response:\n"
    )


ORACLES: dict[str, tuple[str, Callable[[Any], None], Callable[[str], str]]] = {
    "llama2": ("llama-2", _as_it_is, str),
    "mistral": ("mistral", _blank_line_after_system, str),
    "vicuna": ("vicuna_v1.1", _as_it_is, str),
    "alpaca": ("alpaca", _as_it_is, _line_end_after_header),
    "zephyr": ("zephyr", _system_turn_only_if_said, str),
}

texts = st.text(max_size=40).map(str.strip).filter(bool)
systems = st.none() | texts
turns = st.integers(0, 3).flatmap(
    lambda rounds: st.lists(texts, min_size=2 * rounds + 1, max_size=2 * rounds + 1)
)


def ours(name: str, system: str | None, spoken: list[str]) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(spoken)
    ]
    return PROMPTS[name].render({"messages": messages})


def theirs(
    conversation: Any,
    system: str | None,
    spoken: list[str],
    prepare: Callable[[Any], None] = _as_it_is,
) -> str:
    if system:
        conversation.set_system_message(system)
    prepare(conversation)
    conversation.messages = []  # one made by hand has a tuple
    for number, text in enumerate([*spoken, None]):
        conversation.append_message(conversation.roles[number % 2], text)
    return str(conversation.get_prompt())


@pytest.mark.parametrize("name", ORACLES)
@given(system=systems, spoken=turns)
def test_as_fastchat_writes_it(name: str, system: str | None, spoken: list[str]) -> None:
    template, prepare, mend = ORACLES[name]
    conversation = fastchat.get_conv_template(template)
    assert ours(name, system, spoken) == mend(theirs(conversation, system, spoken, prepare))


@given(system=systems, spoken=turns)
def test_chatml_as_fastchat_writes_it(system: str | None, spoken: list[str]) -> None:
    # Qwen's brings its own system text, Yi's no marks for one.
    conversation = fastchat.get_conv_template("qwen-7b-chat" if system else "Yi-34b-chat")
    assert ours("chatml", system, spoken) == theirs(conversation, system, spoken)


@given(spoken=turns)
def test_human_assistant_as_fastchat_writes_it(spoken: list[str]) -> None:
    # Without a system text: FastChat has it ahead of the first turn, as Claude 2.1 came to allow.
    conversation = fastchat.get_conv_template("claude")
    assert ours("human-assistant", None, spoken) == theirs(conversation, None, spoken)


@given(system=texts, spoken=turns)
def test_plain_in_the_style_of_fastchat(system: str, spoken: list[str]) -> None:
    # No model's template, but the commonest of FastChat's styles with our names of the roles.
    conversation = fastchat.Conversation(
        name="plain",
        system_template="{system_message}\n",
        roles=("User", "Assistant"),
        sep_style=fastchat.SeparatorStyle.ADD_COLON_SINGLE,
        sep="\n",
    )
    assert ours("plain", system, spoken) == theirs(conversation, system, spoken)
