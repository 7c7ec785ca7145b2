"""Messages in each tool format, compared with the references of the APIs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import request, request_body
from tests.tool_formats.tool_requests import PICK, PNG, REMOTE, TALK, call, result, sent_body, sent_messages


def test_messages_for_ollama() -> None:
    assert sent_messages("ollama", *TALK) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Pick\ntwo."},
        {
            "role": "assistant",
            "content": "I will.",
            "tool_calls": [
                {"function": {"name": "pick", "arguments": {"n": 1}}},
                {"function": {"name": "stir", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "red", "tool_name": "pick"},
        {"role": "tool", "content": '{"ok":true}', "tool_name": "stir"},
        {"role": "user", "content": "And?"},
    ]


def test_messages_for_anthropic() -> None:
    assert sent_body("anthropic", messages=TALK)["system"] == "Be brief."
    assert sent_messages("anthropic", *TALK) == [
        {"role": "user", "content": "Pick\ntwo."},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will."},
                {"type": "tool_use", "id": "c1", "name": "pick", "input": {"n": 1}},
                {"type": "tool_use", "id": "c2", "name": "stir", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "red"},
                {"type": "tool_result", "tool_use_id": "c2", "content": '{"ok":true}'},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


def test_messages_for_gemini() -> None:
    assert sent_body("gemini", messages=TALK)["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert sent_messages("gemini", *TALK) == [
        {"role": "user", "parts": [{"text": "Pick\ntwo."}]},
        {
            "role": "model",
            "parts": [
                {"text": "I will."},
                {"functionCall": {"name": "pick", "args": {"n": 1}}},
                {"functionCall": {"name": "stir", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "pick", "response": {"result": "red"}}},
                {"functionResponse": {"name": "stir", "response": {"ok": True}}},
                {"text": "And?"},
            ],
        },
    ]


def test_messages_for_bedrock() -> None:
    assert sent_body("bedrock", messages=TALK)["system"] == [{"text": "Be brief."}]
    assert sent_messages("bedrock", *TALK) == [
        {"role": "user", "content": [{"text": "Pick\ntwo."}]},
        {
            "role": "assistant",
            "content": [
                {"text": "I will."},
                {"toolUse": {"toolUseId": "c1", "name": "pick", "input": {"n": 1}}},
                {"toolUse": {"toolUseId": "c2", "name": "stir", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "red"}]}},
                {"toolResult": {"toolUseId": "c2", "content": [{"text": '{"ok":true}'}]}},
                {"text": "And?"},
            ],
        },
    ]


def test_messages_for_cohere() -> None:
    def document(known: str, data: Any) -> Any:
        return result(known, [{"type": "document", "document": {"data": data}}])

    assert sent_messages("cohere", *TALK) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Pick\ntwo."},
        {
            "role": "assistant",
            "tool_plan": "I will.",
            "tool_calls": [call("c1"), call("c2", "stir", "{}")],
        },
        document("c1", {"result": "red"}),
        document("c2", {"ok": True}),
        {"role": "user", "content": "And?"},
    ]


def test_raw_is_the_body_of_the_client() -> None:
    rules = "tools: gemini\nrequest: {body: {ours: $.messages, theirs: $.raw}}\nresponse: $.t"
    body = request(messages=TALK, tools=[PICK])
    assert request_body(rules, body)["theirs"] == body


def test_the_prompt_is_made_of_the_clients_messages() -> None:
    rules = "tools: gemini\nrequest: {body: {p: $.prompt, m: $.messages, l: $.last}}\nresponse: $.t"
    body = request_body(rules, request())
    assert (body["p"], body["l"]) == ("hi", "hi")
    assert body["m"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_consecutive_messages_of_a_role_are_joined_if_roles_alternate() -> None:
    first, second = {"role": "user", "content": "one"}, {"role": "user", "content": "two"}
    between = {"role": "system", "content": "Be brief."}
    assert sent_messages("anthropic", first, between, second) == [
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    ]
    assert sent_messages("bedrock", first, between, second) == [
        {"role": "user", "content": [{"text": "one"}, {"text": "two"}]}
    ]
    assert sent_messages("gemini", first, between, second) == [
        {"role": "user", "parts": [{"text": "one"}, {"text": "two"}]}
    ]
    assert sent_messages("ollama", first, second) == [first, second]


def test_a_message_without_content_is_converted() -> None:
    without_content = {"role": "assistant", "content": None, "tool_calls": [call("c1")]}
    assert sent_messages("anthropic", without_content)[0]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "pick", "input": {"n": 1}}
    ]
    assert [*sent_messages("gemini", without_content)[0]["parts"][0]] == ["functionCall"]
    assert sent_messages("ollama", without_content)[0]["content"] == ""
    assert "tool_plan" not in sent_messages("cohere", without_content)[0]
    empty = {"role": "user", "content": ""}
    assert sent_messages("anthropic", empty) == []
    assert sent_messages("gemini", empty) == [{"role": "user", "parts": [{"text": ""}]}]
    assert sent_messages("bedrock", empty) == []


LOOK = {"role": "user", "content": [{"type": "text", "text": "what?"}, PNG]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ollama", {"role": "user", "content": "what?", "images": ["aGk="]}),
        ("anthropic", {"role": "user", "content": [
            {"type": "text", "text": "what?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        ]}),
        ("gemini", {"role": "user", "parts": [
            {"text": "what?"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        ]}),
        ("bedrock", {"role": "user", "content": [
            {"text": "what?"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}},
        ]}),
        ("cohere", {"role": "user", "content": [
            {"type": "text", "text": "what?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ]}),
    ],
)  # fmt: skip
def test_embedded_images_are_converted(name: str, message: Any) -> None:
    assert sent_messages(name, LOOK) == [message]


def test_image_urls_are_sent_to_upstreams_that_fetch_images() -> None:
    look = {"role": "user", "content": [REMOTE]}
    source = {"type": "url", "url": "https://example.org/a.png"}
    assert sent_messages("anthropic", look)[0]["content"] == [{"type": "image", "source": source}]
    assert sent_messages("cohere", look)[0]["content"] == [
        {"type": "image_url", "image_url": REMOTE["image_url"]}
    ]


def test_images_in_tool_results_are_converted() -> None:
    talk = [{"role": "assistant", "tool_calls": [call("c1")]}, result("c1", [PNG])]
    [block] = sent_messages("anthropic", *talk)[1]["content"]
    assert block["content"][0]["source"]["data"] == "aGk="
    [block] = sent_messages("bedrock", *talk)[1]["content"]
    assert block["toolResult"]["content"] == [{"image": {"format": "png", "source": {"bytes": "aGk="}}}]
    assert sent_messages("ollama", *talk)[1]["images"] == ["aGk="]


def test_a_thought_signature_is_sent_back_to_gemini() -> None:
    signed = {**call("c1"), "extra_content": {"google": {"thought_signature": "sig=="}}}
    [message] = sent_messages("gemini", {"role": "assistant", "tool_calls": [signed]})
    assert message["parts"] == [
        {"functionCall": {"name": "pick", "args": {"n": 1}}, "thoughtSignature": "sig=="}
    ]
