"""A server of the format that LiteLLM's `custom/` provider requests: no streaming, no usage.

    {"model": "m", "params": {"prompt": ["hello"], "max_tokens": 10, "temperature": 0.2, "top_p": null, …}}
    ─▶ {"data": [{"prompt": "hello", "output": ["You said: hello"], "params": {…}}], "message": "ok"}

LiteLLM posts to its `api_base` with nothing appended, so every path is served. A failure has status 200, no
data and a `message`, which LiteLLM ignores.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from bridge.core.json import loads
from bridge.demo.responses import json

__all__ = ["LiteLLM"]


class LiteLLM:
    """The server, which echoes each prompt and the parameters of the request."""

    def application(self) -> web.Application:
        made = web.Application(client_max_size=0)  # 0: prompts of any length
        made.router.add_post("/{path:.*}", self._handle)
        return made

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            prompts, params = _read(await request.read())
        except ValueError as error:
            return _failed(str(error))
        if any("please fail" in prompt for prompt in prompts):
            return _failed("out of memory")
        outputs = [{"prompt": text, "output": [f"You said: {text}"], "params": params} for text in prompts]
        return json({"data": outputs, "message": "ok"})


def _read(data: bytes) -> tuple[list[str], dict[str, Any]]:
    match loads(data):
        case {"params": {"prompt": list(prompts)} as params} if _are_strings(prompts):
            return prompts, {name: value for name, value in params.items() if name != "prompt"}
        case _:
            raise ValueError("expected params.prompt to be a list of strings")


def _are_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _failed(reason: str) -> web.Response:
    return json({"data": [], "message": f"error: {reason}"})
