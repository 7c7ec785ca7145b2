"""Applications that check request bodies as FastAPI does: three of the original servers are written with it.

    POST ─▶ JSON ─▶ required members ─▶ handler
                          └─▶ 422 {"detail": [{"type", "loc", "msg", "input"}, …]}

A shape is a type, a list of one shape, or the required members of an object by name. Other members are not
checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from aiohttp import web

from bridge.core.json import loads
from bridge.demo.responses import json

__all__ = ["PostRoute", "application"]

Handler = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]
_Place = tuple[str | int, ...]

_NAMES = {str: "string", list: "list", dict: "dictionary"}


class PostRoute(NamedTuple):
    """A path, the shape of its request bodies, and the handler of those that have it."""

    path: str
    shape: Any
    handler: Handler


def application(*routes: PostRoute) -> web.Application:
    """Return an application with these routes, whose errors are FastAPI's."""
    made = web.Application(middlewares=[_with_detail], client_max_size=0)  # 0: no limit, as in FastAPI
    made.add_routes([web.post(route.path, _checked(route)) for route in routes])
    return made


def _checked(route: PostRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            body = loads(await request.read())
        except ValueError as error:
            problem = {"type": "json_invalid", "loc": ["body"], "msg": str(error)}
            return json({"detail": [problem]}, status=422)
        if problems := list(_problems(body, route.shape, ("body",))):
            return json({"detail": problems}, status=422)
        return await route.handler(request, body)

    return handle


def _problems(value: Any, shape: Any, place: _Place) -> Iterator[dict[str, object]]:
    """Yield each missing member and each value of another type, in the form of pydantic 2."""
    kind: Any = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind):
        message = f"Input should be a valid {_NAMES[kind]}"
        yield {"type": f"{_NAMES[kind]}_type", "loc": place, "msg": message, "input": value}
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            yield from _problems(item, shape[0], (*place, index))
    elif isinstance(shape, dict):
        for name, member in shape.items():
            if name in value:
                yield from _problems(value[name], member, (*place, name))
            else:
                yield {"type": "missing", "loc": (*place, name), "msg": "Field required", "input": value}


@web.middleware
async def _with_detail(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPClientError as error:
        return json({"detail": error.reason}, status=error.status)
