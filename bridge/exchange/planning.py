"""Decides how a request is asked of its server: whole or streamed, in how many calls, with what left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import RequestError
from bridge.exchange.document import as_chat
from bridge.exchange.requests import Asking
from bridge.openai.endpoints import CHAT, Endpoint
from bridge.openai.requests import STRUCTURE
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.routes.route import Outgoing, Route

__all__ = ["Plan", "plan"]

Body = dict[str, Any]


class Plan(NamedTuple):
    """The calls to make, and the client's parameters that reach neither the server nor an emulation."""

    askings: tuple[Asking, ...]
    dropped: tuple[str, ...]


def plan(
    route: Route, endpoint: Endpoint, body: Body, data: bytes, *, now: float, authorization: str | None
) -> Plan:
    """Plan a request: `body` is the client's, read from `data`. Raises RequestError where it cannot be."""
    wanted = body.get("stream") is True
    # What the server cannot do is made of what it can.
    stream = route.stream is not None and (wanted or route.whole is None)
    outgoing = route.streaming if stream else route.outgoing
    dropped = tuple(_dropped(route, outgoing, body))
    if dropped and route.refuses_unsupported:
        raise RequestError(
            400,
            f"Unsupported parameter: '{dropped[0]}' is not supported with this model",
            param=dropped[0],
            code="unsupported_parameter",
        )
    calls = _calls_per_prompt(route, body, stream=stream)
    changed = {**body, "model": _upstream_model(route, body)}
    if calls > 1:
        changed.pop("n")
    if stream is not wanted:
        changed["stream"] = stream
    askings = [
        Asking(
            route=route,
            endpoint=endpoint,
            body=as_seen,
            data=data if as_seen == body else None,
            raw=body,
            messages=body["messages"] if endpoint is CHAT else as_chat(text or ""),
            text=text,
            stream=stream,
            now=now,
            authorization=authorization,
        )
        for as_seen, text in _by_prompt(route, endpoint, changed)
        for _ in range(calls)
    ]
    return Plan(tuple(askings), dropped)


def _by_prompt(route: Route, endpoint: Endpoint, body: Body) -> Iterator[tuple[Body, str | None]]:
    """The body for each prompt: a legacy one goes out as a chat, unless the server speaks OpenAI itself."""
    if endpoint is CHAT:
        yield body, None
        return
    prompt = body["prompt"]
    if route.plain:
        yield body, prompt if isinstance(prompt, str) else None
        return
    for text in prompt if isinstance(prompt, list) else [prompt]:
        if not isinstance(text, str):
            raise RequestError(
                400, "this model takes prompts as text, not as tokens", param="prompt", code="invalid_type"
            )
        rest = {name: value for name, value in body.items() if name != "prompt"}
        yield {**rest, "messages": as_chat(text)}, text


def _dropped(route: Route, outgoing: Outgoing, body: Body) -> Iterator[str]:
    rule = outgoing.body
    emulated = {name for name in ("stop", "n") if getattr(route.emulate, name)}
    for name, value in body.items():
        if name in STRUCTURE or value is None or name in emulated or (name == "n" and value == 1):
            continue
        names = {name, "max_tokens"} if name == "max_completion_tokens" else {name}
        if not names & outgoing.reads and not (rule and any(rule.sends(one) for one in names)):
            yield name


def _calls_per_prompt(route: Route, body: Body, *, stream: bool) -> int:
    """`n` of them where the server gives one answer a call."""
    rule = route.stream.answer if stream and route.stream else route.whole
    if not route.emulate.n or rule is None or rule.choices is not None:
        return 1
    return int(body.get("n") or 1)


def _upstream_model(route: Route, body: Body) -> str:
    return str(body["model"]) if route.model is None else str(route.model(Scope(body)))
