"""Recorded cases through the bridge over sockets, read by the official Python client."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from itertools import cycle
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import openai
import pytest
from openai import OpenAI

from tests.background_loop import in_background
from tests.case_files import (
    Case,
    Embeddings,
    ExpectedRequest,
    Failure,
    Success,
    case_names,
    read_case,
)
from tests.presets.preset_bridge import PresetBridge, run_preset_bridge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from tests.raw_upstream import Request

KEY = "sk-of-the-client"
CLASSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}

every_case = pytest.mark.parametrize("name", [pytest.param(name, id="-".join(name)) for name in case_names()])


@pytest.fixture(scope="module")
def preset_bridge() -> Iterator[PresetBridge]:
    with in_background(run_preset_bridge()) as preset_bridge:
        yield preset_bridge


@pytest.fixture(scope="module")
def client(preset_bridge: PresetBridge) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{preset_bridge.url}/v1", api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


class Received:
    """The first choice as the client read it, from a completion or from chunks."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.reasoning = ""
        self.finish_reason: str | None = None
        self.usage: CompletionUsage | None = None
        self.calls: dict[int, tuple[str, str]] = {}

    def add(self, choice: Any, message: Any) -> None:
        """Add a message or a delta of a choice."""
        text = message.content if hasattr(message, "content") else message.text
        self.chunks += [text] if text else []
        self.reasoning += getattr(message, "reasoning_content", None) or ""
        for number, call in enumerate(getattr(message, "tool_calls", None) or ()):
            index = getattr(call, "index", number)
            name, arguments = self.calls.get(index, ("", ""))
            received = call.function
            self.calls[index] = (name + (received.name or ""), arguments + (received.arguments or ""))
        self.finish_reason = choice.finish_reason or self.finish_reason

    @property
    def text(self) -> str:
        return "".join(self.chunks)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return [{"name": name, "arguments": json.loads(message)} for name, message in self.calls.values()]


@every_case
def test_the_client_reads_the_recorded_response(
    client: OpenAI, preset_bridge: PresetBridge, name: tuple[str, str]
) -> None:
    case = read_case(*name)
    received = Received()
    before = len(preset_bridge.requests_of(case))
    match case.answers:
        case Failure() as expected:
            assert_failure(client, case, expected, received)
        case Embeddings() as expected:
            assert_vectors(client, case, expected)
        case Success() as expected:
            read_response(client, case, received)
            assert_success(case, expected, received)
    requests = preset_bridge.requests_of(case)[before:]
    sends = [*(call.sends for call in case.calls), case.sends]
    assert len(requests) == len(sends) * len(case.exchange().calls)
    for request, sent in zip(requests, cycle(sends), strict=False):
        assert_request(request, sent, signed=case.exchange().route.request.non_streaming.auth is not None)


def assert_request(request: Request, sends: ExpectedRequest, *, signed: bool) -> None:
    """Assert that a request is the expected one; signatures in its query are tested elsewhere."""
    index, actual = urlsplit(sends.url), urlsplit(request.path)
    assert actual.path == index.path
    if signed:
        assert parse_qs(actual.query).items() >= parse_qs(index.query).items()
    else:
        assert actual.query == index.query
    assert request.method == sends.method
    if request.data or "upgrade" not in request.headers:  # otherwise the handshake was refused
        assert (request.body if request.data else None) == sends.body
    for name, value in sends.headers.items():
        assert request.headers.get(name.lower()) == value, f"the header {name}"
    assert KEY not in str(request.headers), "the client's key is not sent upstream"


def assert_vectors(client: OpenAI, case: Case, expected: Embeddings) -> None:
    """Request vectors, and decode base64 vectors that the client does not decode."""
    vectors = client.embeddings.create(**client_request(case))
    vectors_read: list[Any] = [item.embedding for item in vectors.data]
    if case.request.get("encoding_format") == "base64":
        vectors_read = [
            [number for (number,) in struct.iter_unpack("<f", b64decode(text))] for text in vectors_read
        ]
    assert vectors_read == expected.vectors
    received = vectors.model_dump(exclude={"data"})
    # A response without counts has zeros.
    assert received["usage"] == (expected.usage or {"prompt_tokens": 0, "total_tokens": 0})


def client_request(case: Case) -> dict[str, Any]:
    """Return the client's request, with a model that names the case."""
    return {**case.request, "model": f"{case.folder}/{case.name}"}


def read_response(client: OpenAI, case: Case, received: Received) -> None:
    """Send the request of a case, and read the response."""
    requests = client_request(case)
    create: Any = {
        "chat": client.chat.completions.create,
        "completions": client.completions.create,
        "embeddings": client.embeddings.create,
    }[case.endpoint]
    if not case.is_stream:
        completion: ChatCompletion = create(**requests)
        assert type(completion.created) is int
        choice = completion.choices[0]
        received.add(choice, getattr(choice, "message", choice))
        received.usage = completion.usage
        return
    with create(**requests) as stream:
        read_chunks(stream, received)


def read_chunks(stream: Iterable[ChatCompletionChunk], received: Received) -> None:
    ids = set()
    for part in stream:
        ids.add((part.id, part.created, part.model))
        received.usage = part.usage or received.usage
        for choice in part.choices:
            if choice.index == 0:
                received.add(choice, getattr(choice, "delta", choice))
    assert len(ids) == 1


def assert_success(case: Case, expected: Success, received: Received) -> None:
    assert received.text == expected.text
    assert received.finish_reason == expected.finish_reason
    assert received.reasoning == expected.reasoning
    assert received.tool_calls == expected.tool_calls
    rule = case.exchange().route.response.streaming
    if case.is_stream and expected.chunks is not None and (rule is None or rule.framing.name != "text"):
        assert received.chunks == expected.chunks
    usage = received.usage.model_dump(exclude_none=True) if received.usage else None
    if expected.usage is None and usage is not None:  # a completion without counts has zeros
        assert not any(usage.values())
        usage = None
    assert (usage and {name: usage[name] for name in expected.usage or usage}) == expected.usage


def assert_failure(client: OpenAI, case: Case, expected: Failure, received: Received) -> None:
    with pytest.raises(openai.APIError) as raised:
        read_response(client, case, received)
    error = raised.value
    if isinstance(error, openai.APIStatusError):
        default = openai.InternalServerError if expected.status >= 500 else openai.APIStatusError
        assert type(error) is CLASSES.get(expected.status, default)
        assert error.status_code == expected.status
        assert (
            error.response.headers.get("retry-after") == expected.retry_after or expected.retry_after is None
        )
    else:
        assert (type(error), expected.status) == (openai.APIError, 200)
    assert received.text == expected.text
    assert isinstance(error.body, dict)
    assert {name: error.body[name] for name in expected.error} == expected.error
    assert error.body["message"] in error.message
    assert expected.says in error.message
