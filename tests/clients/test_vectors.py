"""Embeddings and images through the official Python client, which requests base64 by default."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import BadRequestError, InternalServerError, NotFoundError, OpenAI

from tests.bridge_process import running
from tests.clients.expected import IMAGE, VECTOR
from tests.raw_upstream import http_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bridge_process import BridgeProcess
    from tests.clients.recorded_upstream import RecordedUpstream

FILE = Path(__file__).with_name("vectors.yaml")
PNG = b64encode(b"\x89PNG\r\n\x1a\n").decode()


def closing_response(status: int, doc: dict[str, Any]) -> bytes:
    """Return a response that announces the end of the connection, since calls follow immediately."""
    return http_response(doc, status, connection="close")


def as_float32(numbers: list[float]) -> list[float]:
    """Return the numbers as 32-bit floats, the precision of base64."""
    return list(struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers)))


@pytest.fixture(scope="module")
def bridge(upstream: RecordedUpstream) -> Iterator[BridgeProcess]:
    with running(FILE, variables={"UPSTREAM": upstream.url}) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def client(bridge: BridgeProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def shipped(demo: BridgeProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_embeddings_of_the_shipped_route(shipped: OpenAI) -> None:
    response = shipped.embeddings.create(model="gpt-embedding", input=["one", "two"])
    assert [item.embedding for item in response.data] == [as_float32(VECTOR)] * 2
    assert [item.index for item in response.data] == [0, 1]
    assert (response.object, response.model) == ("list", "gpt-embedding")
    exact = shipped.embeddings.create(model="gpt-embedding", input="one", encoding_format="float")
    assert exact.data[0].embedding == VECTOR


def test_images_of_the_shipped_route(shipped: OpenAI) -> None:
    response = shipped.images.generate(model="dall-e", prompt="a cat", n=2)
    assert [image.url for image in response.data or ()] == [IMAGE, IMAGE]
    assert type(response.created) is int
    with pytest.raises(InternalServerError, match="b64_json") as raised:
        shipped.images.generate(model="dall-e", prompt="a cat", response_format="b64_json")
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_garbled")


def test_embeddings_without_v1_in_the_path(demo: BridgeProcess) -> None:
    body = json.dumps({"model": "gpt-embedding", "input": "one"}).encode()
    assert demo.send("POST", "/embeddings", body).json["data"][0]["embedding"] == VECTOR


@pytest.mark.parametrize("numbers", [[0.5, -0.25], [0.1, 1e-30]])
@pytest.mark.parametrize("packed", [False, True])
def test_the_format_is_the_one_that_the_client_requests(
    client: OpenAI, upstream: RecordedUpstream, numbers: list[float], packed: bool
) -> None:
    sent = b64encode(struct.pack("<2f", *numbers)).decode() if packed else numbers
    sent_body = {
        "object": "list",
        "model": "speaks",
        "data": [{"object": "embedding", "index": 0, "embedding": sent}],
    }
    upstream.set_response(
        "/made/speaks", closing_response(200, {**sent_body, "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    )
    by_default = client.embeddings.create(model="speaks", input="hi")
    assert by_default.data[0].embedding == as_float32(numbers)
    assert by_default.usage.total_tokens == 2
    assert upstream.latest_request("/made/speaks").body["encoding_format"] == "base64"
    exact = client.embeddings.create(model="speaks", input="hi", encoding_format="float")
    assert exact.data[0].embedding == (as_float32(numbers) if packed else numbers)


def test_bare_vectors_are_converted(client: OpenAI, upstream: RecordedUpstream) -> None:
    upstream.set_response("/made/bare", closing_response(200, {"vectors": [[0.5], [0.25]], "count": 6}))
    response = client.embeddings.create(model="bare", input=["deep teal", "pale green"])
    assert [item.embedding for item in response.data] == [[0.5], [0.25]]
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (6, 6)
    assert upstream.latest_request("/made/bare").body == {"texts": ["deep teal", "pale green"]}


def test_missing_usage_is_zero(client: OpenAI, upstream: RecordedUpstream) -> None:
    upstream.set_response("/made/bare", closing_response(200, {"vectors": [0.5]}))
    response = client.embeddings.create(model="bare", input="hi")
    assert response.data[0].embedding == [0.5]
    assert response.model_dump()["usage"] == {"prompt_tokens": 0, "total_tokens": 0}  # clients read it


def test_inputs_are_split_and_counts_estimated(client: OpenAI, upstream: RecordedUpstream) -> None:
    before = len(upstream.requests_for("/made/split"))
    vectors = {"data": [{"embedding": [0.5]}, {"embedding": [0.25]}]}
    upstream.set_response("/made/split", closing_response(200, vectors))
    response = client.embeddings.create(model="split", input=["four"] * 20)
    assert [item.embedding for item in response.data] == [[0.5], [0.25]] * 10
    assert [item.index for item in response.data] == list(range(20))
    assert response.usage.model_dump() == {"prompt_tokens": 20, "total_tokens": 20, "estimated": True}
    calls = upstream.requests_for("/made/split")[before:]
    assert [call.body["input"] for call in calls] == [["four", "four"]] * 10


def test_a_failed_call_fails_the_request(client: OpenAI, upstream: RecordedUpstream) -> None:
    upstream.set_response("/made/split", closing_response(404, {"error": {"message": "no such model"}}))
    with pytest.raises(NotFoundError, match="no such model"):
        client.embeddings.create(model="split", input=["four"] * 20)


def test_unsupported_dimensions_are_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="dimensions") as raised:
        client.embeddings.create(model="bare", input="hi", dimensions=5)
    assert raised.value.param == "dimensions"


def test_tokens_are_refused_if_texts_are_required(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="texts, not tokens"):
        client.embeddings.create(model="bare", input=[[1, 2], [3]])


def test_a_route_of_embeddings_does_not_serve_chats(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="does not serve chat/completions"):
        client.chat.completions.create(model="bare", messages=[{"role": "user", "content": "hi"}])


def test_images_are_returned_as_base64_or_url(client: OpenAI, upstream: RecordedUpstream) -> None:
    upstream.set_response("/made/bare", closing_response(200, {"pictures": [PNG]}))
    as_base64 = client.images.generate(model="bare", prompt="a cat", response_format="b64_json")
    assert [image.b64_json for image in as_base64.data or ()] == [PNG]
    as_url = client.images.generate(model="bare", prompt="a cat", response_format="url")
    assert [image.url for image in as_url.data or ()] == [f"data:image/png;base64,{PNG}"]
    assert upstream.latest_request("/made/bare").body == {"prompt": "a cat"}


def test_images_of_an_openai_upstream_are_forwarded(client: OpenAI, upstream: RecordedUpstream) -> None:
    usage = {"input_tokens": 5, "output_tokens": 10, "total_tokens": 15}
    details = {"input_tokens_details": {"text_tokens": 5, "image_tokens": 0}}
    sent_body = {
        "created": 5,
        "data": [{"b64_json": PNG, "revised_prompt": "a teal sea"}],
        "usage": usage | details,
    }
    upstream.set_response("/made/speaks", closing_response(200, sent_body))
    response = client.images.generate(model="speaks", prompt="a cat", n=1, size="1024x1024", quality="low")
    (image,) = response.data or []
    assert (response.created, image.b64_json, image.revised_prompt) == (5, PNG, "a teal sea")
    assert response.usage is not None
    assert response.usage.input_tokens_details.text_tokens == 5
    sent = upstream.latest_request("/made/speaks").body
    assert sent == {"model": "speaks", "prompt": "a cat", "n": 1, "size": "1024x1024", "quality": "low"}


def test_streamed_images_are_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="stream"):
        client.images.generate(model="speaks", prompt="a cat", stream=True)
