"""The conversations in `cases/`: how a client, the bridge and a model server speak, as files.

cases/CASE/route.yaml   one route, as a user would write it for this server: over its preset
cases/CASE/NAME.json    what the client asks, what must reach the server, how it answers, what comes of it
cases/CASE/NAME.bin     the body of the server's answer, byte by byte

The members of `NAME.json` are those of `Conversation`; `answers` has those of `Success`, of `Failure` or, of
embeddings, of `Embedded`. `calls` are what is sent and answered ahead of the last answer, in order: of a
route that polls, the earlier answers too. The messages of a websocket stand in `NAME.bin` as the framing
`websocket` takes them, each behind its length.
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
    "EMBEDDING_NAMES",
    "ID",
    "NAMES",
    "NOW",
    "Call",
    "Case",
    "Embeddings",
    "ExpectedRequest",
    "Failure",
    "Success",
    "case_table",
    "read_case",
]  # fmt: skip

Body = dict[str, Any]

CASES = Path(__file__).with_name("cases")
ID = "case"
NOW = 1_763_600_000.0


@dataclass(frozen=True)
class ExpectedRequest:
    """The request that must reach the server; of `headers` at least these, and null: not that one."""

    url: str
    body: Any = None
    method: str = "POST"
    headers: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request ahead of the last one, and its answer."""

    sends: ExpectedRequest
    receives: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The body of the answer."""
        return json.dumps(self.receives, ensure_ascii=False).encode()

    @property
    def lower_headers(self) -> dict[str, str]:
        """Its headers as the exchange wants them."""
        return {name.lower(): value for name, value in self.headers.items()}


@dataclass(frozen=True)
class Success:
    """The answer of the first choice. `chunks`: the texts of a stream, without empty ones.

    `usage` are the counts to hold, null: there are none. `tool_calls` are `{name, arguments}`, the
    arguments as the JSON that they are.
    """

    text: str
    finish_reason: str = "stop"
    usage: dict[str, int] | None = None
    chunks: list[str] | None = None
    reasoning: str = ""
    tool_calls: list[Body] = field(default_factory=list)


@dataclass(frozen=True)
class Embeddings:
    """The vectors of an answer, in whichever format, and the counts to hold, null: there are none."""

    vectors: list[list[float]]
    usage: dict[str, int] | None = None


@dataclass(frozen=True)
class Failure:
    """The error for the client: its status, some of its members, and the text that left before it.

    `status` 200: it came when the answer was on its way. `says`: what the message must hold, where its
    exact words are the bridge's own. `retry_after` in seconds.
    """

    status: int
    error: Body
    text: str = ""
    says: str = ""
    retry_after: str | None = None


@dataclass(frozen=True)
class Case:
    """One request and its answer."""

    case: str
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
        """Whether the client wants a stream."""
        return self.request.get("stream") is True

    @property
    def include_usage(self) -> bool:
        """Whether it wants token counts in it."""
        return bool(self.request.get("stream_options", {}).get("include_usage"))

    @property
    def lower_headers(self) -> dict[str, str]:
        """The server's headers as the exchange wants them."""
        return {name.lower(): value for name, value in self.headers.items()}

    def exchange(self) -> Exchange:
        """A fresh exchange, as a server would begin it."""
        endpoint, data, body, route = self._parts
        return Exchange(RequestContext(route, endpoint, body, data, id=ID, now=NOW))

    @cached_property
    def _parts(self) -> tuple[EndpointSpec, bytes, Body, Route]:
        """Read once: there are thousands of exchanges to begin, one for each cut."""
        endpoint = ENDPOINTS[self.endpoint]
        data = json.dumps(self.request, ensure_ascii=False).encode()
        body = parse_request(endpoint, data)
        [route] = case_table(self.case).routes
        assert body["model"] in route.models
        return endpoint, data, body, route


@cache
def case_table(case: str) -> RouteTable:
    """The routes of a case, over the shipped presets. They have no environment and no files."""
    path = CASES / case / "route.yaml"
    return load(path.read_text(encoding="utf-8"), path.name, LoadEnvironment({}, _no_file, read_presets()))


@cache
def read_case(case: str, name: str) -> Case:
    """Read one conversation. A member that is not known is a mistake of the file."""
    path = CASES / case / f"{name}.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    answers = told.pop("answers")
    kind = Failure if "error" in answers else Embeddings if "vectors" in answers else Success
    return Case(
        case=case,
        name=name,
        data=path.with_suffix(".bin").read_bytes(),
        sends=_made(ExpectedRequest, told.pop("sends"), path),
        calls=tuple(_call(call, path) for call in told.pop("calls", [])),
        answers=_made(kind, answers, path),
        **_known(Case, told, path),
    )


def _call(told: Body, path: Path) -> Call:
    made: Call = _made(Call, {**told, "sends": _made(ExpectedRequest, told["sends"], path)}, path)
    return made


def _made(kind: type[Any], members: Body, path: Path) -> Any:
    return kind(**_known(kind, members, path))


def _known(kind: type[Any], members: Body, path: Path) -> Body:
    unknown = members.keys() - {one.name for one in fields(kind)}
    assert not unknown, f"{path.parent.name}/{path.name}: unknown members {sorted(unknown)}"
    return members


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)


def _named(*endpoints: str) -> list[tuple[str, str]]:
    found = [(path.parent.name, path.stem) for path in sorted(CASES.glob("*/*.json"))]
    return [name for name in found if read_case(*name).endpoint in endpoints]


NAMES = _named("chat", "completions")
"""The conversations in which something is said."""

EMBEDDING_NAMES = _named("embeddings")
