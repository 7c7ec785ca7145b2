"""The conversations of embeddings in `cases/`, by plain calls; then again with their bytes cut everywhere."""

from __future__ import annotations

import json
import struct
from base64 import b64decode

import pytest

from tests.case_files import EMBEDDING_NAMES, Embeddings, Failure, read_case
from tests.case_player import play, sent_requests
from tests.test_cases import cuts, hold_failure, hold_request

assert EMBEDDING_NAMES
every_conversation = pytest.mark.parametrize(
    "of", [pytest.param(name, id="-".join(name)) for name in EMBEDDING_NAMES]
)


@every_conversation
def test_the_server_gets_the_requests(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    for request in sent_requests(conversation):
        hold_request(request, conversation.sends)


@every_conversation
def test_the_client_gets_the_vectors(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    exchange = conversation.exchange()
    outcome = play(exchange, conversation, [conversation.data])
    if isinstance(conversation.answers, Failure):
        hold_failure(exchange, outcome, conversation, conversation.answers)
        return
    assert isinstance(conversation.answers, Embeddings)
    assert exchange.error is None, exchange.error
    told = json.loads(outcome.out)
    assert (told["object"], told["model"]) == ("list", conversation.request["model"])
    assert [item["index"] for item in told["data"]] == list(range(len(told["data"])))
    assert {item["object"] for item in told["data"]} == {"embedding"}
    sent = [item["embedding"] for item in told["data"]]
    if conversation.request.get("encoding_format") == "base64":
        sent = [[one for (one,) in struct.iter_unpack("<f", b64decode(text, validate=True))] for text in sent]
    assert sent == conversation.answers.vectors
    assert told.get("usage") == conversation.answers.usage


@every_conversation
def test_cuts_change_nothing(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    whole = play(conversation.exchange(), conversation, [conversation.data])
    for pieces in cuts(conversation.data, conversation.name):
        assert play(conversation.exchange(), conversation, pieces) == whole
