"""The manners of FastAPI, in which three of the four demo servers are written.

    POST ─▶ JSON ─▶ held against a shape ─▶ answer
                       └─▶ 422 {"detail": [{"type", "loc", "msg", "input"}, …]}

A shape names every fault of a body in the words of pydantic 2; the records show what they are. Where pydantic
bends ("5" passes for a number), a shape is strict. An answer sees only bodies of its shape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from bridge.core.json import loads
from bridge.demo.responses import json

__all__ = [
    "PostRoute",
    "application",
    "boolean",
    "list_of",
    "mapping",
    "members",
    "nullable",
    "number",
    "string",
]

Place = tuple[str | int, ...]
Fault = dict[str, object]
Shape = Callable[[Any, Place], Iterator[Fault]]
Answer = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


class PostRoute(NamedTuple):
    """What is answered at a path, and the bodies it takes."""

    path: str
    shape: Shape
    answer: Answer


def application(*posts: PostRoute) -> web.Application:
    """An application that fails as FastAPI does, also where nothing is found."""
    unslash = web.normalize_path_middleware(
        append_slash=False,
        remove_slash=True,
        merge_slashes=False,
        redirect_class=web.HTTPTemporaryRedirect,  # 307: the method stays POST
    )
    made = web.Application(middlewares=[_say_detail, unslash], client_max_size=0)  # 0: no limit, as there
    made.add_routes([web.post(post.path, _checked(post)) for post in posts])
    return made


def members(required: Mapping[str, Shape], optional: Mapping[str, Shape]) -> Shape:
    """An object with these members; others are let pass, as pydantic does."""

    def check(value: Any, place: Place) -> Iterator[Fault]:
        if not isinstance(value, dict):
            wanted = "Input should be a valid dictionary or object to extract fields from"
            yield _fault("model_attributes_type", place, wanted, value)
            return
        for name, shape in {**required, **optional}.items():
            if name in value:
                yield from shape(value[name], (*place, name))
            elif name in required:
                yield _fault("missing", (*place, name), "Field required", value)

    return check


def list_of(shape: Shape) -> Shape:
    """A list of such values."""

    def check(value: Any, place: Place) -> Iterator[Fault]:
        if not isinstance(value, list):
            yield _fault("list_type", place, "Input should be a valid list", value)
            return
        for index, item in enumerate(value):
            yield from shape(item, (*place, index))

    return check


def nullable(shape: Shape) -> Shape:
    """Such a value, or null."""
    return lambda value, place: iter(()) if value is None else shape(value, place)


def _instance(types: tuple[type, ...], name: str, words: str) -> Shape:
    def check(value: Any, place: Place) -> Iterator[Fault]:
        if not isinstance(value, types):
            yield _fault(f"{name}_type", place, f"Input should be a valid {words}", value)

    return check


def _fault(kind: str, place: Place, message: str, value: object) -> Fault:
    return {"type": kind, "loc": place, "msg": message, "input": value}


def _checked(post: PostRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            body = _body(await request.read(), request.content_type)
        except ValueError as error:
            return json({"detail": [_no_json(error)]}, status=422)
        if body is None:
            return json({"detail": [_fault("missing", ("body",), "Field required", None)]}, status=422)
        if faults := list(post.shape(body, ("body",))):
            return json({"detail": faults}, status=422)
        return await post.answer(request, body)

    return handle


def _body(data: bytes, content_type: str) -> Any:
    if not data:
        return None
    subtype = content_type.partition("/")[2]
    return loads(data) if subtype == "json" or subtype.endswith("+json") else data.decode("utf-8", "replace")


def _no_json(error: ValueError) -> Fault:
    place = ("body", getattr(error, "pos", 0))
    return {
        **_fault("json_invalid", place, "JSON decode error", {}),
        "ctx": {"error": getattr(error, "msg", str(error))},
    }


@web.middleware
async def _say_detail(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPClientError as error:
        return json({"detail": error.reason}, status=error.status)


string = _instance((str,), "string", "string")
number = _instance((int, float), "float", "number")
boolean = _instance((bool,), "bool", "boolean")
mapping = _instance((dict,), "dict", "dictionary")
