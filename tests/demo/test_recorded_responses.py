"""Recorded requests sent to the demo servers: the responses equal the recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.json import loads
from bridge.demo import LLMAPI, AutoDev, OpenAIMock
from tests.demo.replay import assert_matches_recording, replay
from tests.recordings import NAMES

if TYPE_CHECKING:
    from tests.conftest import ServeApp

AUTODEV = [f"autodev_chatglm_{name}" for name in ("1msg", "empty", "stream", "wrong_key")]
WITH_PING = "autodev_chatglm_ping"
OPENAI_MOCK = [f"tds_{name}" for name in ("content_null", "content_parts", "nonstream", "stream", "v1_path")]

# Each conversation is one session: an `ask` or `end` refers to the session that was started last.
LLMAPI_SESSIONS = {
    "mock": [
        "llmapi_start_ok",
        "llmapi_ask_ok",
        "llmapi2023_ask_ok",
        "llmapi_ask_utf8",
        "llmapi_ask_empty_content",
        "llmapi_ask_sensitive",
        "llmapi_ask_missing_content",
        "llmapi_ask_bad_session",
        "llmapi_end_missing",
        "llmapi_end_ok",
        "llmapi_end_again",
    ],
    "chatgpt": ["llmapi_b_chatgpt_start", "llmapi_b_chatgpt_ask0", "llmapi_b_chatgpt_ask1"],
    "dall-e": ["llmapi_b_dall-e_start", "llmapi_b_dall-e_ask0"],
    "fail": ["llmapi_b_fail_start", "llmapi_b_fail_ask"],
    "gpt-embedding": ["llmapi_b_gpt-embedding_start", "llmapi_b_gpt-embedding_ask0"],
    "gpt3": ["llmapi_b_gpt3_start", "llmapi_b_gpt3_ask0"],
    "welm": ["llmapi_b_welm_start", "llmapi_b_welm_ask0"],
    "another mock": ["llmapi_b_mock_start", "llmapi_end_ok"],
    "bad bot": ["llmapi_start_bad_bot"],
}

# Recordings without a demo server, and the reason.
NOT_SERVED = {
    "autodev_proxy_empty": "AutoDev's proxy is another server",
    "autodev_proxy_stream": "AutoDev's proxy is another server",
    "llmapi2023_ask_missing_content": "the 422 of an older FastAPI; the demo server imitates the newer one",
}


@pytest.mark.parametrize("name", AUTODEV)
async def test_autodev_responds_as_recorded(serve_app: ServeApp, name: str) -> None:
    url = await serve_app(AutoDev(pause=0).application())
    assert_matches_recording(await replay(url, name), name)


async def test_autodev_sends_comments_while_idle(serve_app: ServeApp) -> None:
    # As recorded: the delay before each word is long enough for one comment.
    url = await serve_app(AutoDev(pause=0.0015, ping=0.001).application())
    assert_matches_recording(await replay(url, WITH_PING), WITH_PING)


@pytest.mark.parametrize("name", OPENAI_MOCK)
async def test_the_openai_mock_responds_as_recorded(serve_app: ServeApp, name: str) -> None:
    url = await serve_app(OpenAIMock(pause=0).application())
    assert_matches_recording(await replay(url, name), name)


@pytest.mark.parametrize("names", LLMAPI_SESSIONS.values(), ids=LLMAPI_SESSIONS)
async def test_llmapi_responds_as_recorded(serve_app: ServeApp, names: list[str]) -> None:
    session = None
    url = await serve_app(LLMAPI().application())
    for name in names:
        response = await replay(url, name, session=session)
        assert_matches_recording(response, name)
        session = loads(response.body).get("session", session)


def test_every_recording_is_replayed_or_excluded() -> None:
    replayed = {*AUTODEV, WITH_PING, *OPENAI_MOCK}.union(*LLMAPI_SESSIONS.values())
    assert sorted(replayed | NOT_SERVED.keys()) == NAMES
