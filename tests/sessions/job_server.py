"""An upstream with asynchronous jobs: jobs are created, polled and cancelled.

POST /jobs {how}         ─▶  201, the job
GET  /jobs/N             ─▶  the next state of the job
POST /jobs/N/cancel
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

__all__ = ["ANSWER", "ROUTE", "JobServer"]

ANSWER = "All is well."
ROUTE = """
  - models: ${MODEL:-m}
    upstream: ${SERVER}
    path: /jobs
    auth: {bearer: a-key}
    request: {body: {how: $.last}}
    poll: {url: $.urls.get, every: 5ms, until: {$.status: [succeeded, failed]}, timeout: "${TIMEOUT:-20s}"}
    cancel: {url: $.urls.cancel}
    response: {text: $.output}
    stream: {framing: json, mode: cumulative, text: $.output}
    error: {when: {$.status: failed}, message: $.error}
"""

_STEPS: dict[str, list[Any]] = {
    "succeeds": ["starting", "starting", "All ", "All is ", "All is ", "done"],
    "succeeds at once": ["done"],
    "fails": ["starting", "All ", "failed"],
    "is busy": ["starting", 503, 429, 502, "All ", 504, 503, "broken", "done"],
    "is too busy": ["starting", *[503] * 4, "done"],
    "never ends": ["starting", "All "],
    "never begins": ["starting"],
    "vanishes": ["starting", 404],
    "is garbled": ["starting", "garbled"],
}


class JobServer:
    """The jobs of an upstream. `elsewhere` is the base of the URLs in responses, by default the server."""

    def __init__(self) -> None:
        self.url = ""
        self.jobs: list[list[Any]] = []
        self.polled: list[int] = []
        self.cancelled: list[int] = []
        self.authorizations: list[str | None] = []
        self.elsewhere: str | None = None

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application()
        app.router.add_post("/jobs", self._make)
        app.router.add_get("/jobs/{job}", self._get)
        app.router.add_post("/jobs/{job}/cancel", self._cancel)
        return app

    async def _make(self, request: web.Request) -> web.StreamResponse:
        behaviour = (await request.json())["how"]
        self.jobs.append([*_STEPS[behaviour]])
        return await self._next(request, len(self.jobs) - 1, 201)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        job = int(request.match_info["job"])
        self.polled.append(job)
        if job >= len(self.jobs):  # a job of another server
            self.jobs += [[*_STEPS["succeeds"]] for _ in range(job + 1 - len(self.jobs))]
        return await self._next(request, job, 200)

    async def _cancel(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization"))
        self.cancelled.append(int(request.match_info["job"]))
        return web.json_response({"status": "canceled"})

    async def _next(self, request: web.Request, job: int, status: int) -> web.StreamResponse:
        self.authorizations.append(request.headers.get("Authorization"))
        states = self.jobs[job]
        state = states.pop(0) if len(states) > 1 else states[0]
        url = f"{self.elsewhere or f'http://{request.host}'}/jobs/{job}"
        body: dict[str, Any] = {"urls": {"get": url, "cancel": f"{url}/cancel"}, "output": None}
        match state:
            case int():
                return web.json_response({"error": "busy"}, status=state)
            case "broken" | "garbled":
                response = web.StreamResponse(headers={"Content-Length": "99"})
                await response.prepare(request)
                assert request.transport is not None
                if state == "garbled":
                    request.transport.write(b"HTTP")
                    await asyncio.sleep(0)
                request.transport.abort()
                return response
            case "starting":
                body |= {"status": state}
            case "failed":
                body |= {"status": state, "error": "no memory"}
            case "done":
                body |= {"status": "succeeded", "output": ANSWER}
            case text:
                body |= {"status": "processing", "output": text}
        return web.json_response(body, status=status)
