"""Settings that rules use as declared in the file: limits, emulation and samples.

Their classes declare keys of the file like those in `routes/spec`, and are attributes of a `Route` too.
"""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import AnyOf, ListOf, MapOf
from bridge.config.quantities import SIZE
from bridge.config.records import ABSENT, Record, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import ANY, FLAG, TEXT, Constant, Integer, Keyword, Text
from bridge.openai.endpoints import ENDPOINTS

__all__ = ["ABSENT", "EmulateSpec", "LimitsSpec", "SampleSpec"]


@record
class LimitsSpec:
    """Limits of a route: sizes in bytes, and numbers of requests."""

    body: int = option(SIZE, "a client's request body; beyond the limit: 413", default=32 * 2**20)
    frame: int = option(SIZE, "one frame of a stream; beyond the limit: 502", default=8 * 2**20)
    answer: int = option(SIZE, "one upstream response; beyond the limit: 502", default=64 * 2**20)
    concurrency: int = option(Integer(0), "requests of the route in progress at once; 0: no limit", default=0)
    queue: int = option(
        Integer(0), "requests that may wait for `concurrency`; the next request gets a 429", default=100
    )
    calls: int = option(
        Integer(1), "upstream calls of one request: prompts times `n`; beyond the limit: 400", default=128
    )
    inputs: int = option(
        Integer(1), "inputs of one request for embeddings; beyond the limit: 400", default=2048
    )
    messages: int = option(Integer(1), "messages of one request; beyond the limit: 400", default=10_000)
    tools: int = option(Integer(1), "tools of one request; beyond the limit: 400", default=1024)
    stops: int = option(Integer(1), "stop strings of one request; beyond the limit: 400", default=64)
    values: int = option(
        Integer(1),
        "JSON values of a client's body, and four times as many of an upstream response; commas and "
        "opening brackets are counted",
        default=1_000_000,
    )

    @property
    def response_values(self) -> int:
        """Return the limit of JSON values in an upstream response."""
        return 4 * self.values


@record
class ReasoningSpec:
    """The tags around reasoning in a text."""

    tags: tuple[str, ...] = option(
        ListOf(Text("a tag, such as <think>", pattern=".+"), min_items=2, max_items=2),
        "the opening and the closing tag",
        default=("<think>", "</think>"),
    )
    open: bool = option(FLAG, "whether a response begins inside the tags", default=False)


@record
class EmulateSpec:
    """Features of OpenAI's API that the bridge provides in place of the upstream."""

    stop: bool = option(
        FLAG, "cuts the text at the stop strings, also where the upstream receives them", default=True
    )
    n: bool = option(FLAG, "makes `n` calls if the upstream returns one choice per call", default=True)
    batch: int | None = option(
        Integer(1), "the number of inputs in one call for embeddings; if absent: all", default=None
    )
    completions: Any = option(
        AnyOf(Constant(False, "false"), Keyword(("chat",))),
        "`chat`: legacy completions are sent as chats; `false`: as such; if absent: by URL and `serves`",
        default=None,
    )
    reasoning: ReasoningSpec | None = option(
        Record(ReasoningSpec), "takes reasoning between tags out of the text; if absent: never", default=None
    )
    usage: str = option(
        Keyword(("off", "estimate")),
        "token counts if the upstream sends none: none, or estimates that are marked as such",
        default="off",
    )


@record
class SampleSpec:
    """An example of a request and its response."""

    request: dict[str, Any] = option(
        MapOf(ANY), "the client's body; `model` defaults to the route's first model"
    )
    endpoint: str = option(Keyword(ENDPOINTS), "the endpoint that the client calls", default="chat")
    sends: Any = option(ANY, "the body that must be sent upstream, exactly", default=ABSENT)
    url: str | None = option(
        TEXT, "the URL that must be requested, or its path and query alone", default=None
    )
    headers: dict[str, str] = option(
        MapOf(Text(lenient=True)), "headers that must be sent", default=None, secret=EXTERNAL
    )
    receives: Any = option(
        ANY,
        "the upstream's response: JSON, the raw text of a stream, or a list of websocket messages",
        default=ABSENT,
    )
    status: int = option(Integer(100, 599), "the HTTP status of that response", default=200)
    response_headers: dict[str, str] = option(
        MapOf(Text(lenient=True)),
        "the headers of that response",
        default=None,
        aliases=["headers_in"],
        secret=EXTERNAL,
    )
    answers: Any = option(
        ANY,
        "what the client must get: the text, the vector, the image's URL, or members of the response",
        default=ABSENT,
    )
