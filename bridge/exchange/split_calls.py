"""Decides how a request is asked of its server: whole or streamed, in how many calls, with what left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.errors import RequestError
from bridge.exchange.request_builder import RequestBuilder
from bridge.exchange.request_document import prompt_to_messages
from bridge.expressions.scope import Scope
from bridge.openai.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES
from bridge.routes.rules.body_rules import EditedBody, TemplateBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.routes.rules.route import EndpointPlan, Route

__all__ = ["split_calls"]

Body = dict[str, Any]


def split_calls(
    course: EndpointPlan, body: Body, data: bytes, now: float, authorization: str | None
) -> tuple[list[RequestBuilder], tuple[str, ...]]:
    """The calls to make, and the client's parameters that reach neither the server nor an emulation.

    `body` is the client's, read from `data`. Raises RequestError where it cannot be.
    """
    dropped = course.dropped(body)
    if dropped:
        _check_dropped(course.route, dropped)
    calls, answers = _calls(course, body) if "n" in body else (1, 1)
    changed = _changed(course, body, calls) if course.changes or calls > 1 else body
    if course.endpoint is CHAT and calls == 1:  # as nearly all are: there is nothing to part
        sent = data if changed is body or changed == body else None
        asking = RequestBuilder(
            course, changed, sent, body, body["messages"], None, now, authorization, answers
        )
        return [asking], dropped
    askings: list[RequestBuilder] = []
    first = 0
    for part in _PARTS[course.endpoint.name](course, changed):
        for _ in range(calls):
            sent = data if part.body == body else None
            told = answers * part.inputs
            asking = RequestBuilder(
                course, part.body, sent, body, part.messages, part.text, now, authorization
            )
            asking.answers, asking.first_index, asking.number = told, first, len(askings)
            askings.append(asking)
            first += told
    return askings, dropped


def _check_dropped(route: Route, dropped: tuple[str, ...]) -> None:
    refused = dropped if route.refuses_unsupported else [name for name in dropped if name in _NEVER_DROPPED]
    if refused:
        raise RequestError(
            400,
            f"Unsupported parameter: '{refused[0]}' is not supported with this model",
            param=refused[0],
            code="unsupported_parameter",
        )


def _changed(course: EndpointPlan, body: Body, calls: int) -> Body:
    """The client's body as the server is to see it."""
    if course.route.model is not None:
        body = {**body, "model": str(course.route.model(Scope(body)))}
    if calls > 1:
        body = {name: value for name, value in body.items() if name != "n"}
    streams = course.stream is not None
    if course.output == "text" and streams is not course.client_streams:
        body = {**body, "stream": streams}
    return body


class _CallPart(NamedTuple):
    """What one call carries: its body, its one text where it is no chat, and the number of its inputs."""

    body: Body
    messages: list[Body]
    text: str | None = None
    inputs: int = 1


def _chat(course: EndpointPlan, body: Body) -> Iterator[_CallPart]:
    yield _CallPart(body, body["messages"])


def _prompts(course: EndpointPlan, body: Body) -> Iterator[_CallPart]:
    """A legacy prompt goes out as a chat, each of several by itself, unless the server speaks OpenAI."""
    prompt = body["prompt"]
    if course.route.is_passthrough:
        text = prompt if isinstance(prompt, str) else None
        yield _CallPart(body, prompt_to_messages(text or ""), text)
        return
    for text in prompt if isinstance(prompt, list) else [prompt]:
        if not isinstance(text, str):
            raise _no_tokens("prompt")
        rest = {name: value for name, value in body.items() if name != "prompt"}
        yield _CallPart({**rest, "messages": prompt_to_messages(text)}, prompt_to_messages(text), text)


def _inputs(course: EndpointPlan, body: Body) -> Iterator[_CallPart]:
    """What is to be embedded, as much at a time as the server takes."""
    given, built = body["input"], isinstance(course.body, TemplateBody)
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if built and not all(isinstance(text, str) for text in inputs):
        raise _no_tokens("input")
    if not _forwards_encoding_format(course):
        body = {name: value for name, value in body.items() if name != "encoding_format"}
    most = course.route.emulate.batch or len(inputs)
    if isinstance(course.body, TemplateBody) and not _INPUTS & course.body.reads:
        most = 1  # it has a place for one text only
    for at in range(0, len(inputs), most):
        some = inputs[at : at + most]
        sent = some[0] if most == 1 else given if len(some) == len(inputs) else some
        text = some[0] if len(some) == 1 and isinstance(some[0], str) else None
        yield _CallPart(
            {**body, "input": sent}, [] if text is None else prompt_to_messages(text), text, len(some)
        )


def _image(course: EndpointPlan, body: Body) -> Iterator[_CallPart]:
    yield _CallPart(body, prompt_to_messages(body["prompt"]), body["prompt"])


def _no_tokens(name: str) -> RequestError:
    return RequestError(
        400, f"this model takes texts, not tokens, as `{name}`", param=name, code="invalid_type"
    )


def _forwards_encoding_format(course: EndpointPlan) -> bool:
    """Whether the server hears of `encoding_format`, which the bridge serves itself: those of OpenAI's shape
    know it, others where the route names it."""
    name, rule = "encoding_format", course.body
    named = isinstance(rule, EditedBody) and (name in (rule.keep or ()) or name in rule.rename)
    return (
        course.route.openai_whole or named or name in course.outgoing.reads or isinstance(rule, TemplateBody)
    )


def _calls(course: EndpointPlan, body: Body) -> tuple[int, int]:
    """How many calls each prompt takes, and how many answers a call gives: `n` calls where that is one."""
    wanted = int(body["n"] or 1)
    if course.output == "embeddings":
        return 1, 1
    if course.multiple_choices:
        return 1, wanted
    return (wanted if course.route.emulate.n else 1), 1


_INPUTS: frozenset[str | None] = frozenset({"input", "inputs", "raw", None})
_NEVER_DROPPED = {"dimensions"}  # vectors of another length are of no use

_PARTS: dict[str, Callable[[EndpointPlan, Body], Iterator[_CallPart]]] = {
    CHAT.name: _chat,
    COMPLETIONS.name: _prompts,
    EMBEDDINGS.name: _inputs,
    IMAGES.name: _image,
}
