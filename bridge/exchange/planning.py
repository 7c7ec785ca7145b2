"""Decides how a request is asked of its server: whole or streamed, in how many calls, with what left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import RequestError
from bridge.exchange.document import as_chat
from bridge.exchange.requests import Asking
from bridge.openai.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, Endpoint
from bridge.openai.requests import STRUCTURE
from bridge.routes.bodies import Built, Edited
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    texts = endpoint.finds == "text"
    wanted = texts and body.get("stream") is True
    # What the server cannot do is made of what it can.
    stream = texts and route.stream is not None and (wanted or route.whole is None)
    outgoing = route.streaming if stream else route.outgoing
    dropped = tuple(_dropped(route, endpoint, outgoing, body))
    refused = dropped if route.refuses_unsupported else [name for name in dropped if name in _NEVER_DROPPED]
    if refused:
        raise RequestError(
            400,
            f"Unsupported parameter: '{refused[0]}' is not supported with this model",
            param=refused[0],
            code="unsupported_parameter",
        )
    calls, answers = _calls(route, endpoint, outgoing, body, stream=stream)
    changed = {**body, "model": _upstream_model(route, body)}
    if calls > 1:
        changed.pop("n")
    if texts and stream is not wanted:
        changed["stream"] = stream
    parts = [part for part in _PARTS[endpoint.name](route, outgoing, changed) for _ in range(calls)]
    askings, first = [], 0
    for part in parts:
        asking = Asking(
            route=route,
            endpoint=endpoint,
            body=part.body,
            data=data if part.body == body else None,
            raw=body,
            messages=part.messages,
            text=part.text,
            stream=stream,
            now=now,
            authorization=authorization,
            answers=answers * part.inputs,
            first=first,
        )
        first += asking.answers
        askings.append(asking)
    return Plan(tuple(askings), dropped)


class _Part(NamedTuple):
    """What one call carries: its body, its one text where it is no chat, and the number of its inputs."""

    body: Body
    messages: list[Body]
    text: str | None = None
    inputs: int = 1


def _chat(route: Route, outgoing: Outgoing, body: Body) -> Iterator[_Part]:
    yield _Part(body, body["messages"])


def _prompts(route: Route, outgoing: Outgoing, body: Body) -> Iterator[_Part]:
    """A legacy prompt goes out as a chat, each of several by itself, unless the server speaks OpenAI."""
    prompt = body["prompt"]
    if route.plain:
        text = prompt if isinstance(prompt, str) else None
        yield _Part(body, as_chat(text or ""), text)
        return
    for text in prompt if isinstance(prompt, list) else [prompt]:
        if not isinstance(text, str):
            raise _no_tokens("prompt")
        rest = {name: value for name, value in body.items() if name != "prompt"}
        yield _Part({**rest, "messages": as_chat(text)}, as_chat(text), text)


def _inputs(route: Route, outgoing: Outgoing, body: Body) -> Iterator[_Part]:
    """What is to be embedded, as much at a time as the server takes."""
    given, built = body["input"], isinstance(outgoing.body, Built)
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if built and not all(isinstance(text, str) for text in inputs):
        raise _no_tokens("input")
    if not _tells_format(route, outgoing):
        body = {name: value for name, value in body.items() if name != "encoding_format"}
    most = route.emulate.batch or len(inputs)
    if isinstance(outgoing.body, Built) and not _INPUTS & outgoing.body.reads:
        most = 1  # it has a place for one text only
    for at in range(0, len(inputs), most):
        some = inputs[at : at + most]
        sent = some[0] if most == 1 else given if len(some) == len(inputs) else some
        text = some[0] if len(some) == 1 and isinstance(some[0], str) else None
        yield _Part({**body, "input": sent}, [] if text is None else as_chat(text), text, len(some))


def _image(route: Route, outgoing: Outgoing, body: Body) -> Iterator[_Part]:
    yield _Part(body, as_chat(body["prompt"]), body["prompt"])


def _no_tokens(name: str) -> RequestError:
    return RequestError(
        400, f"this model takes texts, not tokens, as `{name}`", param=name, code="invalid_type"
    )


def _tells_format(route: Route, outgoing: Outgoing) -> bool:
    """Whether the server hears of `encoding_format`, which the bridge serves itself: those of OpenAI's shape
    know it, others where the route names it."""
    name, rule = "encoding_format", outgoing.body
    named = isinstance(rule, Edited) and (name in (rule.keep or ()) or name in rule.rename)
    return route.openai_whole or named or name in outgoing.reads or isinstance(rule, Built)


def _dropped(route: Route, endpoint: Endpoint, outgoing: Outgoing, body: Body) -> Iterator[str]:
    done_here = {name for name in ("stop", "n") if getattr(route.emulate, name)} | _DONE_HERE[endpoint.finds]
    for name, value in body.items():
        if name in STRUCTURE or value is None or name in done_here or (name == "n" and value == 1):
            continue
        if not _reaches(route, outgoing, name) and not _reaches(route, outgoing, _told_as(route, name)):
            yield name


def _reaches(route: Route, outgoing: Outgoing, name: str) -> bool:
    """Whether a parameter reaches the server, in the request or in a call around it."""
    sent = [*([outgoing] if route.asks else []), *(call.outgoing for call in route.around)]
    bodies = [one.body for one in sent if one.method != "GET"]
    return name in _reads(route, outgoing) or any(body is not None and body.sends(name) for body in bodies)


def _reads(route: Route, outgoing: Outgoing) -> frozenset[str | None]:
    return outgoing.reads | route.reads_around


def _told_as(route: Route, name: str) -> str:
    """The member of the request document that says the same as a parameter; else the parameter itself."""
    if name == "parallel_tool_calls" and route.tools and route.tools.folds_parallel:
        return "tool_choice"
    return "max_tokens" if name == "max_completion_tokens" else name


def _calls(
    route: Route, endpoint: Endpoint, outgoing: Outgoing, body: Body, *, stream: bool
) -> tuple[int, int]:
    """How many calls each prompt takes, and how many answers a call gives: `n` calls where that is one."""
    wanted = int(body.get("n") or 1)
    match endpoint.finds:
        case "embeddings":
            return 1, 1
        case "images":
            several = _reaches(route, outgoing, "n")
        case _:
            rule = route.stream.answer if stream and route.stream else route.whole
            several = rule is not None and rule.choices is not None
    if several:
        return 1, wanted
    return (wanted if route.emulate.n else 1), 1


def _upstream_model(route: Route, body: Body) -> str:
    return str(body["model"]) if route.model is None else str(route.model(Scope(body)))


_INPUTS: frozenset[str | None] = frozenset({"input", "inputs", "raw", None})
_NEVER_DROPPED = {"dimensions"}  # vectors of another length are of no use
_DONE_HERE: dict[str, set[str]] = {
    "text": set(),
    "embeddings": {"encoding_format"},
    "images": {"response_format"},
}

_PARTS: dict[str, Callable[[Route, Outgoing, Body], Iterator[_Part]]] = {
    CHAT.name: _chat,
    COMPLETIONS.name: _prompts,
    EMBEDDINGS.name: _inputs,
    IMAGES.name: _image,
}
