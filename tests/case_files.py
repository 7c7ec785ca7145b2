"""Recorded cases in `cases/`: a request of a client, the upstream's responses, and the client's response.

cases/FOLDER/route.yaml   one route, as a user writes the route for this upstream: on top of the preset
cases/FOLDER/NAME.json    the client's request, the upstream's requests and responses, the client's response
cases/FOLDER/NAME.bin     the body of the upstream's last response, byte by byte

The members of `NAME.json` are the attributes of `Case`; the members of `answers` are the attributes of
`Success`, `Failure` or `Embeddings`. `calls` are the requests before the last request, with their responses,
in order; for a route that polls, the polls except the last. The messages of a WebSocket are in `NAME.bin` as
the framing `websocket` receives them, each after its length.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.loader import read_presets
from bridge.openai.endpoints import ENDPOINTS
from bridge.openai.request_validation import parse_request
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load

if TYPE_CHECKING:
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.route import Route
    from bridge.routes.table import RouteTable

__all__ = [
    "CASES",
    "ID",
    "NOW",
    "Call",
    "Case",
    "Embeddings",
    "ExpectedRequest",
    "Failure",
    "Success",
    "case_names",
    "case_table",
    "read_case",
]  # fmt: skip

Body = dict[str, Any]

CASES = Path(__file__).with_name("cases")
ID = "case"
NOW = 1_763_600_000.0


@dataclass(frozen=True)
class ExpectedRequest:
    """A request that the upstream must receive.

    Attributes:
        url: The URL.
        body: The JSON body.
        method: The method.
        headers: Some of the headers. A header of null must be missing.
    """

    url: str
    body: Any = None
    method: str = "POST"
    headers: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request before the last request, and its response."""

    sends: ExpectedRequest
    receives: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The body of the response."""
        return json.dumps(self.receives, ensure_ascii=False).encode()

    @property
    def lower_headers(self) -> dict[str, str]:
        """The headers of the response, keyed in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}


@dataclass(frozen=True)
class Success:
    """The first choice of a completion or of a stream.

    Attributes:
        text: The text.
        finish_reason: The finish reason.
        usage: The token counts to compare. None if the response must have none.
        chunks: The texts of a stream's chunks, except empty texts.
        reasoning: The reasoning text.
        tool_calls: `{name, arguments}` of every tool call, `arguments` as a JSON object.
    """

    text: str
    finish_reason: str = "stop"
    usage: dict[str, int] | None = None
    chunks: list[str] | None = None
    reasoning: str = ""
    tool_calls: list[Body] = field(default_factory=list)


@dataclass(frozen=True)
class Embeddings:
    """The vectors of an embeddings response, and the token counts. None if the response must have none."""

    vectors: list[list[float]]
    usage: dict[str, int] | None = None


@dataclass(frozen=True)
class Failure:
    """The error that the client receives.

    Attributes:
        status: The status. 200 if the error ends a stream.
        error: Some of the members of the error.
        text: The text that the client receives before the error.
        says: A part of the message whose exact wording is the bridge's own.
        retry_after: The `Retry-After` header, in seconds.
    """

    status: int
    error: Body
    text: str = ""
    says: str = ""
    retry_after: str | None = None


@dataclass(frozen=True)
class Case:
    """A request of a client, with the upstream's and the client's response.

    Attributes:
        folder: The folder of the case.
        name: The name of the files.
        data: The body of the upstream's last response.
        request: The client's request.
        sends: The last request to the upstream.
        answers: The response that the client receives.
        endpoint: The OpenAI endpoint.
        status: The status of the upstream's last response.
        headers: The headers of the upstream's last response.
        calls: The requests before the last request.
    """

    folder: str
    name: str
    data: bytes
    request: Body
    sends: ExpectedRequest
    answers: Success | Failure | Embeddings
    endpoint: str = "chat"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()

    @property
    def is_stream(self) -> bool:
        """Return whether the client requests a stream."""
        return self.request.get("stream") is True

    @property
    def include_usage(self) -> bool:
        """Return whether the client requests token counts in a stream."""
        return bool(self.request.get("stream_options", {}).get("include_usage"))

    @property
    def lower_headers(self) -> dict[str, str]:
        """The headers of the upstream's last response, keyed in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}

    def exchange(self) -> Exchange:
        """Return a new exchange of the request."""
        endpoint, data, body, route = self._parts
        return Exchange(RequestContext(route, endpoint, body, data, id=ID, now=NOW))

    @cached_property
    def _parts(self) -> tuple[EndpointSpec, bytes, Body, Route]:
        # Cached: test_cases.py begins an exchange for every cut of the body.
        endpoint = ENDPOINTS[self.endpoint]
        data = json.dumps(self.request, ensure_ascii=False).encode()
        body = parse_request(endpoint, data)
        [route] = case_table(self.folder).routes
        assert body["model"] in route.models
        return endpoint, data, body, route


@cache
def case_table(folder: str) -> RouteTable:
    """Return the routes of a folder, on top of the shipped presets, without environment and files."""
    path = CASES / folder / "route.yaml"
    return load(path.read_text(encoding="utf-8"), path.name, LoadEnvironment({}, _no_file, read_presets()))


@cache
def read_case(folder: str, name: str) -> Case:
    """Read a case. Reject unknown members."""
    path = CASES / folder / f"{name}.json"
    members = json.loads(path.read_text(encoding="utf-8"))
    answers = members.pop("answers")
    kind = Failure if "error" in answers else Embeddings if "vectors" in answers else Success
    return Case(
        folder=folder,
        name=name,
        data=path.with_suffix(".bin").read_bytes(),
        sends=_build(ExpectedRequest, members.pop("sends"), path),
        calls=tuple(_call(call, path) for call in members.pop("calls", [])),
        answers=_build(kind, answers, path),
        **_checked(Case, members, path),
    )


def case_names(*endpoints: str) -> list[tuple[str, str]]:
    """Return folder and name of every case, or of the cases of some endpoints."""
    names = [(path.parent.name, path.stem) for path in sorted(CASES.glob("*/*.json"))]
    return [name for name in names if not endpoints or read_case(*name).endpoint in endpoints]


def _call(members: Body, path: Path) -> Call:
    call: Call = _build(Call, {**members, "sends": _build(ExpectedRequest, members["sends"], path)}, path)
    return call


def _build(kind: type[Any], members: Body, path: Path) -> Any:
    return kind(**_checked(kind, members, path))


def _checked(kind: type[Any], members: Body, path: Path) -> Body:
    unknown = members.keys() - {member.name for member in fields(kind)}
    assert not unknown, f"{path.parent.name}/{path.name}: unknown members {sorted(unknown)}"
    return members


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)
