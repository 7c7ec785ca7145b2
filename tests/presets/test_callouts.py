"""Callouts of presets: cancelled predictions and continued conversations."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI

from tests.case_files import read_case
from tests.presets.preset_bridge import load_with_presets
from tests.raw_upstream import http_response, run_upstream
from tests.running_bridge import serve_table

if TYPE_CHECKING:
    from tests.raw_upstream import Connection

HI: Any = [{"role": "user", "content": "hi"}]
REPLICATE = """
routes:
  - preset: replicate
    models: meta/llama
    upstream: %s
    auth: {bearer: a-key}
    poll: {every: 1ms}
"""
DIFY = """
routes:
  - preset: dify
    models: app
    upstream: %s
    auth: {bearer: a-key}
    session: {keep: conversation, id: $.conversation_id}
    request: {body: {conversation_id: {$path: $.session, default: ""}}}
"""


async def test_an_abandoned_prediction_of_replicate_is_canceled() -> None:
    processing = read_case("replicate_poll", "stream").calls[1].receives

    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            here = f"http://{request.headers['host']}"
            await peer.send(
                http_response(json.loads(json.dumps(processing).replace("http://upstream", here)))
            )

    async with (
        asyncio.timeout(30),
        run_upstream(behave) as server,
        serve_table(load_with_presets(REPLICATE % server.url)) as bridge,
        AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0) as client,
    ):
        async with await client.chat.completions.create(
            model="meta/llama", messages=HI, stream=True
        ) as stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    assert chunk.choices[0].delta.content == "Deep teal"
                    break
        await server.wait_until(
            lambda server: server.requests[-1].method == "POST" and len(server.requests) > 1
        )
    first, *polls, last = server.requests
    assert (first.path, first.method) == ("/v1/models/meta/llama/predictions", "POST")
    assert {(request.path, request.method) for request in polls} == {("/v1/predictions/p1", "GET")}
    assert (last.path, last.data) == ("/v1/predictions/p1/cancel", b"")
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer a-key"}


async def test_a_conversation_of_dify_is_continued() -> None:
    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            conversation = request.body["conversation_id"] or f"c{len(server.requests)}"
            await peer.send(
                http_response({"event": "message", "answer": TEXT, "conversation_id": conversation})
            )

    async with (
        asyncio.timeout(30),
        run_upstream(behave) as server,
        serve_table(load_with_presets(DIFY % server.url)) as bridge,
        AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0) as client,
    ):
        messages = [{"role": "system", "content": "Be brief."}, *HI]
        for text in ("And red?", "And blue?"):
            completion = await client.chat.completions.create(model="app", messages=messages)
            assert completion.choices[0].message.content == TEXT
            messages = [*messages, {"role": "assistant", "content": TEXT}, {"role": "user", "content": text}]
        await client.chat.completions.create(model="app", messages=messages)
        await client.chat.completions.create(model="app", messages=HI)
    queries = [(request.body["conversation_id"], request.body["query"]) for request in server.requests]
    assert queries == [
        ("", "Be brief.\n\nUser: hi\nAssistant:"),
        ("c1", "And red?"),
        ("c1", "And blue?"),
        ("", "hi"),
    ]


TEXT = "Deep teal, mostly."
