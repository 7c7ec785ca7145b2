"""Every conversation through the whole bridge: sockets on both sides, the official Python client in front."""

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

from tests.case_files import (
    EMBEDDING_NAMES,
    NAMES,
    Case,
    Embeddings,
    ExpectedRequest,
    Failure,
    Success,
    read_case,
)
from tests.clients.replay_server import in_background
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

every_conversation = pytest.mark.parametrize(
    "of", [pytest.param(name, id="-".join(name)) for name in NAMES + EMBEDDING_NAMES]
)


@pytest.fixture(scope="module")
def stands() -> Iterator[PresetBridge]:
    with in_background(run_preset_bridge()) as stands:
        yield stands


@pytest.fixture(scope="module")
def client(stands: PresetBridge) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{stands.url}/v1", api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


class Told:
    """What a client has been told of the first choice, whole or in chunks."""

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.reasoning = ""
        self.finish_reason: str | None = None
        self.usage: CompletionUsage | None = None
        self.calls: dict[int, tuple[str, str]] = {}

    def say(self, choice: Any, said: Any) -> None:
        """Take what one choice of an answer says."""
        text = said.content if hasattr(said, "content") else said.text
        self.chunks += [text] if text else []
        self.reasoning += getattr(said, "reasoning_content", None) or ""
        for number, call in enumerate(getattr(said, "tool_calls", None) or ()):
            at = getattr(call, "index", number)
            name, arguments = self.calls.get(at, ("", ""))
            told = call.function
            self.calls[at] = (name + (told.name or ""), arguments + (told.arguments or ""))
        self.finish_reason = choice.finish_reason or self.finish_reason

    @property
    def text(self) -> str:
        return "".join(self.chunks)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return [{"name": name, "arguments": json.loads(said)} for name, said in self.calls.values()]


@every_conversation
def test_the_client_reads_the_answer(client: OpenAI, stands: PresetBridge, of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    told = Told()
    before = len(stands.requests_of(conversation))
    match conversation.answers:
        case Failure() as wanted:
            hold_failure(client, conversation, wanted, told)
        case Embeddings() as wanted:
            hold_vectors(client, conversation, wanted)
        case Success() as wanted:
            listen(client, conversation, told)
            hold_success(conversation, wanted, told)
    asked = stands.requests_of(conversation)[before:]
    sends = [*(call.sends for call in conversation.calls), conversation.sends]
    assert len(asked) == len(sends) * len(conversation.exchange().calls)
    for request, sent in zip(asked, cycle(sends), strict=False):
        hold_request(
            request, sent, signed=conversation.exchange().route.request.non_streaming.auth is not None
        )


def hold_request(request: Request, sends: ExpectedRequest, *, signed: bool) -> None:
    """Hold one request as it came; what signs it in its query is another test's matter."""
    at, came = urlsplit(sends.url), urlsplit(request.path)
    assert came.path == at.path
    if signed:
        assert parse_qs(came.query).items() >= parse_qs(at.query).items()
    else:
        assert came.query == at.query
    assert request.method == sends.method
    if request.data or "upgrade" not in request.headers:  # else the handshake was refused
        assert (request.body if request.data else None) == sends.body
    for name, value in sends.headers.items():
        assert request.headers.get(name.lower()) == value, f"the header {name}"
    assert KEY not in str(request.headers), "the client's key is none of the server's business"


def hold_vectors(client: OpenAI, conversation: Case, wanted: Embeddings) -> None:
    """Ask for vectors; base64 of them is read here where the client was told to leave it."""
    vectors = client.embeddings.create(**asked_of(conversation))
    found: list[Any] = [item.embedding for item in vectors.data]
    if conversation.request.get("encoding_format") == "base64":
        found = [[one for (one,) in struct.iter_unpack("<f", b64decode(text))] for text in found]
    assert found == wanted.vectors
    told = vectors.model_dump(exclude={"data"})
    assert told.get("usage") == wanted.usage


def asked_of(conversation: Case) -> dict[str, Any]:
    """The client's request, whose model names the conversation."""
    return {**conversation.request, "model": f"{conversation.case}/{conversation.name}"}


def listen(client: OpenAI, conversation: Case, told: Told) -> None:
    """Ask, and hear the answer out."""
    asked = asked_of(conversation)
    create: Any = {
        "chat": client.chat.completions.create,
        "completions": client.completions.create,
        "embeddings": client.embeddings.create,
    }[conversation.endpoint]
    if not conversation.is_stream:
        whole: ChatCompletion = create(**asked)
        assert type(whole.created) is int
        choice = whole.choices[0]
        told.say(choice, getattr(choice, "message", choice))
        told.usage = whole.usage
        return
    with create(**asked) as stream:
        hear(stream, told)


def hear(stream: Iterable[ChatCompletionChunk], told: Told) -> None:
    ids = set()
    for part in stream:
        ids.add((part.id, part.created, part.model))
        told.usage = part.usage or told.usage
        for choice in part.choices:
            if choice.index == 0:
                told.say(choice, getattr(choice, "delta", choice))
    assert len(ids) == 1


def hold_success(conversation: Case, wanted: Success, told: Told) -> None:
    assert told.text == wanted.text
    assert told.finish_reason == wanted.finish_reason
    assert told.reasoning == wanted.reasoning
    assert told.tool_calls == wanted.tool_calls
    rule = conversation.exchange().route.response.streaming
    if conversation.is_stream and wanted.chunks is not None and (rule is None or rule.framing.name != "text"):
        assert told.chunks == wanted.chunks
    usage = told.usage.model_dump() if told.usage else None
    assert (usage and {name: usage[name] for name in wanted.usage or usage}) == wanted.usage


def hold_failure(client: OpenAI, conversation: Case, wanted: Failure, told: Told) -> None:
    with pytest.raises(openai.APIError) as caught:
        listen(client, conversation, told)
    error = caught.value
    if isinstance(error, openai.APIStatusError):
        default = openai.InternalServerError if wanted.status >= 500 else openai.APIStatusError
        assert type(error) is CLASSES.get(wanted.status, default)
        assert error.status_code == wanted.status
        assert error.response.headers.get("retry-after") == wanted.retry_after or wanted.retry_after is None
    else:
        assert (type(error), wanted.status) == (openai.APIError, 200)
    assert told.text == wanted.text
    assert isinstance(error.body, dict)
    assert {name: error.body[name] for name in wanted.error} == wanted.error
    assert error.body["message"] in error.message
    assert wanted.says in error.message
