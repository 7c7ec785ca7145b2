"""How an upstream is reached: its URL, patience, trust and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.config.container_types import ListOf, MapOf
from bridge.config.quantities import DURATION, SIZE
from bridge.config.records import Record, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import ANY, FLAG, TEXT, Integer, Keyword, Text
from bridge.openai.endpoints import ENDPOINTS

__all__ = [
    "ABSENT", "METHOD", "URL", "EmulateSpec", "LimitsSpec", "RetrySpec", "SampleSpec", "TLSSpec",
    "TimeoutsSpec", "TransportSpec",
]  # fmt: skip

ABSENT = "absent"
"""The default of what may be inherited or turned off, and of bodies, which may be null."""

METHOD = Keyword(("GET", "POST", "PUT", "PATCH", "DELETE"))
URL = Text("a URL, such as http://127.0.0.1:8000/api/chat")


@record
class TimeoutsSpec:
    connect: float = option(DURATION, "until the connection stands, TLS included", default=10.0)
    first_byte: float = option(
        DURATION, "from the request's last byte until the answer's head", default=300.0
    )
    idle: float = option(DURATION, "between two pieces of an answer", default=120.0)
    total: float | None = option(
        DURATION, "from begin to end; without it an answer may go on for ever", default=None
    )

    @property
    def response(self) -> float:
        """How long an answer is waited for: the member `timeout` of the request document."""
        seconds = self.first_byte if self.total is None else min(self.first_byte, self.total)
        return int(seconds) if seconds == int(seconds) else seconds


@dataclass(frozen=True)  # not a record: connections and contexts are found by it
class TLSSpec:
    verify: bool = option(FLAG, "whether the server's certificate is checked", default=True)
    ca: str | None = option(TEXT, "a file of certificates to trust instead of the system's", default=None)
    cert: str | None = option(TEXT, "the client's certificate, a file", default=None)
    private_key: str | None = option(TEXT, "its private key, a file", default=None, key="key")
    server_name: str | None = option(TEXT, "the name expected in the certificate", default=None)


@record
class RetrySpec:
    attempts: int = option(
        Integer(0, 10),
        "how often a request is sent again that failed before any output",
        default=2,
        aliases=["retries"],
    )
    on: tuple[str, ...] = option(
        ListOf(Keyword(("connect", "disconnect", "timeout", "429", "500", "502", "503", "504"))),
        "which failures are worth it: no connection, closed before an answer, too slow, or these statuses",
        default=("connect", "disconnect", "429", "502", "503", "504"),
    )
    backoff: float = option(
        DURATION, "the pause before the first retry, doubled for each further one", default=0.2
    )


@record
class TransportSpec:
    url: str | None = option(URL, "where requests go, exactly as written", default=None)
    method: str | None = option(METHOD, "the HTTP method", default=None)
    timeouts: TimeoutsSpec = option(Record(TimeoutsSpec), "how long to wait", default=TimeoutsSpec())
    tls: TLSSpec = option(Record(TLSSpec), "how https servers are trusted", default=TLSSpec())
    proxy: str | None = option(
        Text("the URL of an HTTP proxy"), "a forward proxy to go through", default=None
    )
    retry: RetrySpec | None = option(
        Record(RetrySpec), "whether to try again, and when; absent: never", default=None
    )
    replicas: tuple[str, ...] = option(
        ListOf(URL, min_items=1), "further URLs of the same server, used in turn", default=()
    )


@record
class LimitsSpec:
    body: int = option(SIZE, "of a client's body", default=32 * 2**20)
    frame: int = option(SIZE, "of one frame of a stream", default=8 * 2**20)
    answer: int = option(SIZE, "of one upstream answer", default=256 * 2**20)
    concurrency: int = option(Integer(0), "answers in flight at once; 0: no bound", default=0)
    queue: int = option(Integer(0), "requests that may wait for a place; the next one gets 429", default=100)


@record
class EmulateSpec:
    stop: bool = option(FLAG, "cut at stop strings that were not sent", default=True)
    n: bool = option(FLAG, "as many upstream calls as answers are wanted", default=True)
    batch: int | None = option(
        Integer(1), "inputs of embeddings that one call takes; absent: all of them", default=None
    )
    usage: str = option(
        Keyword(("off", "estimate")),
        "token counts that the server does not tell: none, or a rule of thumb, marked as one",
        default="off",
    )


@record
class SampleSpec:
    request: Any = option(ANY, "the client's body")
    endpoint: str = option(Keyword(ENDPOINTS), "what the client called", default="chat")
    sends: Any = option(ANY, "the body that must reach the server", default=ABSENT)
    url: str | None = option(TEXT, "the URL it must reach", default=None)
    headers: dict[str, str] = option(
        MapOf(Text(lenient=True)), "headers it must carry", default=None, secret=EXTERNAL
    )
    receives: Any = option(
        ANY,
        "what the server answers: JSON, the raw text of a stream, or the list of a websocket's messages",
        default=ABSENT,
    )
    status: int = option(Integer(100, 599), "the HTTP status of that", default=200)
    response_headers: dict[str, str] = option(
        MapOf(Text(lenient=True)), "headers of that", default=None, secret=EXTERNAL
    )
    answers: Any = option(ANY, "the text, or a mapping to hold against the OpenAI answer", default=ABSENT)
