"""Embeddings and images through the official Python client, which asks for base64 unless it is told."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from openai import BadRequestError, InternalServerError, NotFoundError, OpenAI

from tests.clients.bridge_process import running
from tests.clients.expected import IMAGE, VECTOR
from tests.clients.replay_server import whole as answer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.bridge_process import Bridge
    from tests.clients.replay_server import Upstream

FILE = Path(__file__).with_name("vectors.yaml")
PNG = b64encode(b"\x89PNG\r\n\x1a\n").decode()


def replied(status: int, doc: object) -> bytes:
    """An answer; that the server closes behind it is said: calls come one upon another."""
    return answer_of(status, doc, connection="close")


def narrowed(numbers: list[float]) -> list[float]:
    """The numbers as 32-bit floats, which is what base64 carries."""
    return list(struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers)))


@pytest.fixture(scope="module")
def bridge(upstream: Upstream) -> Iterator[Bridge]:
    with running(FILE, variables={"UPSTREAM": upstream.url}) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def client(bridge: Bridge) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def shipped(demo: Bridge) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_shipped_route_embeds(shipped: OpenAI) -> None:
    answer = shipped.embeddings.create(model="gpt-embedding", input=["one", "two"])
    assert [item.embedding for item in answer.data] == [narrowed(VECTOR)] * 2
    assert [item.index for item in answer.data] == [0, 1]
    assert (answer.object, answer.model) == ("list", "gpt-embedding")
    exact = shipped.embeddings.create(model="gpt-embedding", input="one", encoding_format="float")
    assert exact.data[0].embedding == VECTOR


def test_the_shipped_route_makes_images(shipped: OpenAI) -> None:
    answer = shipped.images.generate(model="dall-e", prompt="a cat", n=2)
    assert [image.url for image in answer.data or ()] == [IMAGE, IMAGE]
    assert type(answer.created) is int
    with pytest.raises(InternalServerError, match="b64_json") as failed:
        shipped.images.generate(model="dall-e", prompt="a cat", response_format="b64_json")
    assert (failed.value.status_code, failed.value.code) == (502, "upstream_garbled")


def test_without_v1_too(demo: Bridge) -> None:
    body = json.dumps({"model": "gpt-embedding", "input": "one"}).encode()
    assert demo.send("POST", "/embeddings", body).doc["data"][0]["embedding"] == VECTOR


@pytest.mark.parametrize("numbers", [[0.5, -0.25], [0.1, 1e-30]])
@pytest.mark.parametrize("packed", [False, True])
def test_the_format_is_the_clients(
    client: OpenAI, upstream: Upstream, numbers: list[float], packed: bool
) -> None:
    sent = b64encode(struct.pack("<2f", *numbers)).decode() if packed else numbers
    said = {
        "object": "list",
        "model": "speaks",
        "data": [{"object": "embedding", "index": 0, "embedding": sent}],
    }
    upstream.answer("/made/speaks", replied(200, {**said, "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
    asked = client.embeddings.create(model="speaks", input="hi")
    assert asked.data[0].embedding == narrowed(numbers)
    assert asked.usage.total_tokens == 2
    assert upstream.latest("/made/speaks").doc["encoding_format"] == "base64"
    exact = client.embeddings.create(model="speaks", input="hi", encoding_format="float")
    assert exact.data[0].embedding == (narrowed(numbers) if packed else numbers)


def test_a_server_of_bare_vectors(client: OpenAI, upstream: Upstream) -> None:
    upstream.answer("/made/bare", replied(200, {"vectors": [[0.5], [0.25]], "count": 6}))
    answer = client.embeddings.create(model="bare", input=["deep teal", "pale green"])
    assert [item.embedding for item in answer.data] == [[0.5], [0.25]]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (6, 6)
    assert upstream.latest("/made/bare").doc == {"texts": ["deep teal", "pale green"]}


def test_without_counts_the_vectors_are_there_all_the_same(client: OpenAI, upstream: Upstream) -> None:
    upstream.answer("/made/bare", replied(200, {"vectors": [0.5]}))
    answer = client.embeddings.create(model="bare", input="hi")
    assert answer.data[0].embedding == [0.5]
    assert answer.model_dump()["usage"] is None  # as the client has it: no error, and no made-up zeros


def test_inputs_are_split_and_counts_estimated(client: OpenAI, upstream: Upstream) -> None:
    before = len(upstream.asked["/made/split"])
    both = {"data": [{"embedding": [0.5]}, {"embedding": [0.25]}]}
    upstream.answer("/made/split", replied(200, both))
    answer = client.embeddings.create(model="split", input=["four"] * 20)
    assert [item.embedding for item in answer.data] == [[0.5], [0.25]] * 10
    assert [item.index for item in answer.data] == list(range(20))
    assert answer.usage.model_dump() == {"prompt_tokens": 20, "total_tokens": 20, "estimated": True}
    calls = upstream.asked["/made/split"][before:]
    assert [call.doc["input"] for call in calls] == [["four", "four"]] * 10


def test_one_call_of_several_that_fails_fails_all(client: OpenAI, upstream: Upstream) -> None:
    upstream.answer("/made/split", replied(404, {"error": {"message": "no such model"}}))
    with pytest.raises(NotFoundError, match="no such model"):
        client.embeddings.create(model="split", input=["four"] * 20)


def test_dimensions_are_refused_where_nobody_hears_of_them(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="dimensions") as refused:
        client.embeddings.create(model="bare", input="hi", dimensions=5)
    assert refused.value.param == "dimensions"


def test_tokens_are_refused_where_texts_are_wanted(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="texts, not tokens"):
        client.embeddings.create(model="bare", input=[[1, 2], [3]])


def test_embeddings_are_not_for_chats(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="does not serve chat/completions"):
        client.chat.completions.create(model="bare", messages=[{"role": "user", "content": "hi"}])


def test_images_as_bytes_or_as_a_url(client: OpenAI, upstream: Upstream) -> None:
    upstream.answer("/made/bare", replied(200, {"pictures": [PNG]}))
    as_bytes = client.images.generate(model="bare", prompt="a cat", response_format="b64_json")
    assert [image.b64_json for image in as_bytes.data or ()] == [PNG]
    as_url = client.images.generate(model="bare", prompt="a cat", response_format="url")
    assert [image.url for image in as_url.data or ()] == [f"data:image/png;base64,{PNG}"]
    assert upstream.latest("/made/bare").doc == {"prompt": "a cat"}


def test_images_that_openai_speaks_of_go_on(client: OpenAI, upstream: Upstream) -> None:
    usage = {"input_tokens": 5, "output_tokens": 10, "total_tokens": 15}
    details = {"input_tokens_details": {"text_tokens": 5, "image_tokens": 0}}
    said = {
        "created": 5,
        "data": [{"b64_json": PNG, "revised_prompt": "a teal sea"}],
        "usage": usage | details,
    }
    upstream.answer("/made/speaks", replied(200, said))
    answer = client.images.generate(model="speaks", prompt="a cat", n=1, size="1024x1024", quality="low")
    (image,) = answer.data or []
    assert (answer.created, image.b64_json, image.revised_prompt) == (5, PNG, "a teal sea")
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.text_tokens == 5
    sent = upstream.latest("/made/speaks").doc
    assert sent == {"model": "speaks", "prompt": "a cat", "n": 1, "size": "1024x1024", "quality": "low"}


def test_an_images_stream_is_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="stream"):
        client.images.generate(model="speaks", prompt="a cat", stream=True)
