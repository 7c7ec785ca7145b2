"""llmapi-server: conversations as sessions, failures under status 200, and no streaming.

    /v1/chat/start {"bot_type":"mock"}                      ─▶ {"code":0,"msg":"Success","session":"3ada2906"}
    /v1/chat/ask   {"session":"3ada2906","content":"hello"} ─▶ {"code":0,…,"reply":"…","timestamp":1795.8}
    /v1/chat/end   {"session":"3ada2906"}                   ─▶ {"code":0,"msg":"Success"}

A session lasts until it is ended; it does not expire. Every reply is a string, also an embedding and an
image. The original gets these from other services; here they are constants. Where the original waits for its
whole timeout before code −6, this server responds at once.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bridge.demo.responses import json
from bridge.demo.validation import PostRoute, application

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

__all__ = ["LLMAPI"]


@dataclass(slots=True)
class _Session:
    bot: Callable[[str, int], str]
    replies: int = 0


class LLMAPI:
    """The server and its sessions. After each start has been ended, `open_sessions` is 0."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}

    @property
    def open_sessions(self) -> int:
        return len(self._sessions)

    def application(self) -> web.Application:
        return application(
            PostRoute("/v1/chat/start", {"bot_type": str}, self._start),
            PostRoute("/v1/chat/ask", {"session": str, "content": str}, self._ask),
            PostRoute("/v1/chat/end", {"session": str}, self._end),
        )

    async def _start(self, _: web.Request, body: Any) -> web.Response:
        bot = _BOTS.get(body["bot_type"])
        if bot is None:
            return _coded(-5)
        session = secrets.token_hex(4)
        self._sessions[session] = _Session(bot)
        return _coded(0, session=session)

    async def _ask(self, _: web.Request, body: Any) -> web.Response:
        session, content = self._sessions.get(body["session"]), body["content"]
        if session is None:
            return _coded(-4)
        if "sensitive word" in content:  # the filter comes before the bot
            return _coded(0, reply="输入中包含敏感内容", timestamp=time.time())
        if "please fail" in content:
            return _coded(-6)
        reply = session.bot(content, session.replies)
        session.replies += 1
        return _coded(0, reply=reply, timestamp=time.time())

    async def _end(self, _: web.Request, body: Any) -> web.Response:
        return _coded(-4 if self._sessions.pop(body["session"], None) is None else 0)


def _coded(code: int, **members: object) -> web.Response:
    return json({"code": code, "msg": _MESSAGES[code], **members})


def _chatgpt(content: str, replies: int) -> str:
    # The system message, two messages for each earlier turn, and the last message.
    return f"{2 + 2 * replies} messages; last={content}"


def _completion(content: str, _: int) -> str:
    return f"\n\ncompletion of {content}"


# A bot makes a reply of the content and the number of earlier replies in the session.
_BOTS: Final[Mapping[str, Callable[[str, int], str]]] = {
    "mock": lambda content, _: f"Mock reply for your prompt:{content}",
    "chatgpt": _chatgpt,
    "gpt3": _completion,
    "gpt-embedding": lambda *_: "[0.002306425478309393, -0.009327292442321777, -0.0028842221945524216]",
    "dall-e": lambda *_: (
        "https://oaidalleapiprodscus.blob.core.windows.net/private/img-abc.png?st=2023&se=2023&sig=xx%3D"
    ),
    "welm": _completion,
}

_MESSAGES: Final[Mapping[int, str]] = {
    0: "Success",
    -4: "Session invalid",
    -5: "Bot type invalid",
    -6: "Reply timeout",
}
