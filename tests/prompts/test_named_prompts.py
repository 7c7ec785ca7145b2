"""Named prompts compared with the published formats of their model families."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.prompts import PROMPTS

NAMES = (
    "plain",
    "chatml",
    "llama2",
    "llama3",
    "mistral",
    "vicuna",
    "alpaca",
    "human-assistant",
    "zephyr",
    "gemma",
    "last",
    "join",
)

WITH_SYSTEM = [
    {"role": "system", "content": "Answer in one short line."},
    {"role": "user", "content": "Name a colour of the sea."},
]
QUESTION = [{"role": "user", "content": "Hi."}]
DIALOGUE = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "U2"},
]
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


def render(name: str, messages: list[Any]) -> str:
    return PROMPTS[name].render({"model": "m", "messages": messages})


def messages_of(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


def test_every_documented_prompt_is_registered() -> None:
    assert tuple(PROMPTS) == NAMES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "Answer in one short line.\n\nUser: Name a colour of the sea.\nAssistant:"),
        (
            "chatml",
            (
                "<|im_start|>system\nAnswer in one short line.<|im_end|>\n"
                "<|im_start|>user\nName a colour of the sea.<|im_end|>\n"
                "<|im_start|>assistant\n"
            ),
        ),
        (
            "llama2",
            "[INST] <<SYS>>\nAnswer in one short line.\n<</SYS>>\n\nName a colour of the sea. [/INST]",
        ),
        (
            "llama3",
            (
                "<|start_header_id|>system<|end_header_id|>\n\nAnswer in one short line.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nName a colour of the sea.<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        ("mistral", "[INST] Answer in one short line.\n\nName a colour of the sea. [/INST]"),
        ("vicuna", "Answer in one short line. USER: Name a colour of the sea. ASSISTANT:"),
        (
            "alpaca",
            "Answer in one short line.\n\n### Instruction:\nName a colour of the sea.\n\n### Response:",
        ),
        ("human-assistant", "\n\nHuman: Answer in one short line. Name a colour of the sea.\n\nAssistant:"),
        (
            "zephyr",
            (
                "<|system|>\nAnswer in one short line.</s>\n"
                "<|user|>\nName a colour of the sea.</s>\n"
                "<|assistant|>\n"
            ),
        ),
        (
            "gemma",
            (
                "<start_of_turn>user\nAnswer in one short line.\n\nName a colour of the sea.<end_of_turn>\n"
                "<start_of_turn>model\n"
            ),
        ),
        ("last", "Name a colour of the sea."),
        ("join", "Answer in one short line. Name a colour of the sea."),
    ],
)
def test_a_system_text_and_a_question_are_formatted(name: str, expected: str) -> None:
    assert render(name, WITH_SYSTEM) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "Hi."),
        ("chatml", "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"),
        ("llama2", "[INST] Hi. [/INST]"),
        (
            "llama3",
            (
                "<|start_header_id|>user<|end_header_id|>\n\nHi.<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        ("mistral", "[INST] Hi. [/INST]"),
        ("vicuna", f"{VICUNA} USER: Hi. ASSISTANT:"),
        ("alpaca", f"{ALPACA}\n\n### Instruction:\nHi.\n\n### Response:"),
        ("human-assistant", "\n\nHuman: Hi.\n\nAssistant:"),
        ("zephyr", "<|user|>\nHi.</s>\n<|assistant|>\n"),
        ("gemma", "<start_of_turn>user\nHi.<end_of_turn>\n<start_of_turn>model\n"),
        ("last", "Hi."),
        ("join", "Hi."),
    ],
)
def test_a_single_question_is_formatted(name: str, expected: str) -> None:
    assert render(name, QUESTION) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "S\n\nUser: U1\nAssistant: A1\nUser: U2\nAssistant:"),
        (
            "chatml",
            (
                "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
                "<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n"
                "<|im_start|>assistant\n"
            ),
        ),
        ("llama2", "[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST] A1 </s><s>[INST] U2 [/INST]"),
        (
            "llama3",
            (
                "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nU1<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nU2<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        ("mistral", "[INST] S\n\nU1 [/INST] A1</s>[INST] U2 [/INST]"),
        ("vicuna", "S USER: U1 ASSISTANT: A1</s>USER: U2 ASSISTANT:"),
        (
            "alpaca",
            "S\n\n### Instruction:\nU1\n\n### Response:\nA1</s>### Instruction:\nU2\n\n### Response:",
        ),
        ("human-assistant", "\n\nHuman: S U1\n\nAssistant: A1\n\nHuman: U2\n\nAssistant:"),
        (
            "zephyr",
            "<|system|>\nS</s>\n<|user|>\nU1</s>\n<|assistant|>\nA1</s>\n<|user|>\nU2</s>\n<|assistant|>\n",
        ),
        (
            "gemma",
            (
                "<start_of_turn>user\nS\n\nU1<end_of_turn>\n<start_of_turn>model\nA1<end_of_turn>\n"
                "<start_of_turn>user\nU2<end_of_turn>\n<start_of_turn>model\n"
            ),
        ),
        ("last", "U2"),
        ("join", "S U1 A1 U2"),
    ],
)
def test_several_turns_are_formatted(name: str, expected: str) -> None:
    assert render(name, DIALOGUE) == expected


@pytest.mark.parametrize(
    ("name", "stop"),
    [
        ("plain", ()),
        ("chatml", ("<|im_end|>",)),
        ("llama2", ("</s>", "[INST]")),
        ("llama3", ("<|eot_id|>",)),
        ("mistral", ("</s>", "[INST]")),
        ("vicuna", ("</s>", "\nUSER:")),
        ("alpaca", ("</s>", "### Instruction:")),
        ("human-assistant", ("\n\nHuman:",)),
        ("zephyr", ("</s>", "<|user|>")),
        ("gemma", ("<end_of_turn>",)),
        ("last", ()),
        ("join", ()),
    ],
)
def test_prompts_have_stop_strings(name: str, stop: tuple[str, ...]) -> None:
    assert PROMPTS[name].stop == stop


@pytest.mark.parametrize("name", NAMES)
def test_prompts_read_only_the_messages(name: str) -> None:
    assert PROMPTS[name].variables == {"messages"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "User: Go\nAssistant: Well\nAssistant:"),
        (
            "chatml",
            "<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\nWell<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("llama2", "[INST] Go [/INST] Well"),
        ("mistral", "[INST] Go [/INST] Well"),
        ("human-assistant", "\n\nHuman: Go\n\nAssistant: Well\n\nAssistant:"),
    ],
)
def test_a_last_assistant_message_is_followed_or_continued(name: str, expected: str) -> None:
    assert render(name, messages_of(("user", "Go"), ("assistant", "Well"))) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "User: a\nUser: b\nAssistant:"),
        ("llama2", "[INST] a\n\nb [/INST]"),
        ("mistral", "[INST] a\n\nb [/INST]"),
        ("gemma", "<start_of_turn>user\na\n\nb<end_of_turn>\n<start_of_turn>model\n"),
        ("zephyr", "<|user|>\na</s>\n<|user|>\nb</s>\n<|assistant|>\n"),
    ],
)
def test_consecutive_messages_of_a_role_are_joined_if_roles_alternate(name: str, expected: str) -> None:
    assert render(name, messages_of(("user", "a"), ("user", "b"))) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "one\n\ntwo\n\nUser: Q\nAssistant:"),
        (
            "chatml",
            (
                "<|im_start|>system\none<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
                "<|im_start|>system\ntwo<|im_end|>\n<|im_start|>assistant\n"
            ),
        ),
        ("llama2", "[INST] <<SYS>>\none\n\ntwo\n<</SYS>>\n\nQ [/INST]"),
        ("human-assistant", "\n\nHuman: one\n\ntwo Q\n\nAssistant:"),
    ],
)
def test_system_and_developer_messages_are_joined(name: str, expected: str) -> None:
    assert render(name, messages_of(("system", "one"), ("user", "Q"), ("developer", "two"))) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "S\n\nAssistant:"),
        ("llama2", "[INST] S [/INST]"),
        ("human-assistant", "\n\nHuman: S\n\nAssistant:"),
        ("gemma", "<start_of_turn>user\nS<end_of_turn>\n<start_of_turn>model\n"),
        ("last", ""),
    ],
)
def test_a_system_text_alone_is_formatted(name: str, expected: str) -> None:
    assert render(name, messages_of(("system", "S"))) == expected


@pytest.mark.parametrize("role", ["tool", "function", "narrator"])
def test_other_roles_are_formatted_as_the_user(role: str) -> None:
    messages = messages_of(("user", "How warm?"), ("assistant", ""), (role, "21 °C"))
    assert render("plain", messages) == "User: How warm?\nAssistant: \nUser: 21 °C\nAssistant:"
    assert render("last", messages) == "How warm?"


def test_plain_omits_an_empty_system_text() -> None:
    assert render("plain", messages_of(("system", ""), ("user", "Hi."))) == "Hi."


def test_parts_other_than_text_are_omitted() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"type": "text", "text": "this?"}]
    assert render("last", [{"role": "user", "content": parts}]) == "What is\nthis?"


@pytest.mark.parametrize("name", ["llama2", "llama3", "gemma"])
def test_texts_are_stripped_as_in_the_model_family(name: str) -> None:
    assert render(name, messages_of(("user", " \nHi.\n"))) == render(name, QUESTION)


@pytest.mark.parametrize("messages", [[], None])
@pytest.mark.parametrize("name", NAMES)
def test_missing_messages_are_formatted_as_an_empty_list(name: str, messages: list[Any]) -> None:
    assert render(name, messages) == PROMPTS[name].render({})


odd_messages = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.one_of(st.sampled_from(["system", "user", "assistant", "tool"]), st.none(), st.text()),
            "content": st.one_of(
                st.text(), st.none(), st.integers(), st.lists(st.dictionaries(st.text(), st.text()))
            ),
        },
    ),
    max_size=5,
)


@pytest.mark.parametrize("name", NAMES)
@given(messages=odd_messages)
def test_any_messages_are_formatted(name: str, messages: list[Any]) -> None:
    assert isinstance(render(name, messages), str)


words = st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=12)
conversations = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
        words.map("«{}»".format),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "last"])
@given(messages=conversations)
def test_contents_are_kept_in_order(name: str, messages: list[dict[str, str]]) -> None:
    prompt = render(name, messages)
    system_first = name not in {"chatml", "llama3", "zephyr", "join"}
    system = [message["content"] for message in messages if message["role"] in {"system", "developer"}]
    turns = [message["content"] for message in messages if message["role"] not in {"system", "developer"}]
    if system_first:
        assert in_order(system, prompt)
        assert in_order(turns, prompt)
    else:
        assert in_order([message["content"] for message in messages], prompt)


def in_order(texts: list[str], prompt: str) -> bool:
    position = 0
    for text in texts:
        index = prompt.find(text, position)
        if index < 0:
            return False
        position = index + len(text)
    return True


def test_plain_has_a_stop_string_that_is_only_emulated() -> None:
    assert PROMPTS["plain"].cut == ("\nUser:",)
