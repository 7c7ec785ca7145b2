"""One upstream call of an exchange: its requests, its callouts, and the decoder of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamFailure
from bridge.exchange.decode.choice_state import ReadOptions
from bridge.exchange.decode.reasoning_splitter import ReasoningTags
from bridge.exchange.decode.response_decoder import ResponseDecoder
from bridge.exchange.endpoints import make_reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.deltas import Delta
    from bridge.exchange.callouts import Callouts
    from bridge.exchange.request_builder import RequestBuilder
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.request_template import UpstreamRequest

__all__ = ["UpstreamCall"]


class UpstreamCall:
    """One call to the upstream, from its request to the end of its response."""

    __slots__ = (
        "_decoder",  # made when first used: the fast path of completions does without
        "_options",
        "builder",
        "callouts",  # None: the route has none
        "done",  # the response was read to its end, and all output was written
        "passthrough_info",  # for forwarding OpenAI's own responses; None: responses are read into deltas
        "plan",
        "replica",  # that holds the session; None: any
        "retries",  # how many times requests of the call were sent again, or to another replica
        "sent_at",  # when the latest attempt began, in seconds of the event loop; 0: not measured
        "url",  # of the last request that was sent; "" before
    )

    def __init__(self, builder: RequestBuilder) -> None:
        self.builder = builder
        self.plan = builder.plan
        self.callouts: Callouts | None = None
        self.passthrough_info: ResponseInfo | None = None
        self.replica: int | None = None
        self.retries = 0
        self.sent_at = 0.0
        self.url = ""
        self.done = False
        self._decoder: ResponseDecoder | None = None
        # With callouts, read from the document now: callouts add members that upstreams find.
        self._options = self._read_options() if self.plan.has_callouts else None

    @property
    def decoder(self) -> ResponseDecoder:
        """Return the decoder of the response."""
        if self._decoder is None:
            options = self._options or self._read_options()
            reader = make_reader(self.plan, options, self.passthrough_info)
            self._decoder = ResponseDecoder(self.plan, options, reader)
        return self._decoder

    @property
    def succeeded(self) -> bool:
        """Return whether the response was read to the upstream's own end, and all of it was written."""
        decoder = self.decoder
        return self.done and decoder.error is None and not decoder.reader.ended

    @property
    def was_refused(self) -> bool:
        """Return whether the response was an error that the upstream reported."""
        decoder = self.decoder
        return decoder.started and decoder.error is not None and decoder.error.kind is UpstreamFailure.REFUSED

    @property
    def fully_read(self) -> bool:
        """Return whether the response ended by itself and without an error, so that no output can follow."""
        return self.decoder.error is None and not self.decoder.reader.ended

    def request(self) -> UpstreamRequest:
        """Return the request whose response is the client's. Raises RequestError."""
        return self.builder.build()

    def drop_history(self) -> None:
        """Send only the newest turn, to an upstream whose session holds the conversation before it."""
        self.builder.drop_history()
        self._options = self._read_options()
        self._decoder = None

    def reindexed(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Return the deltas under their indexes among all calls, without choices that were not requested."""
        first, choices = self.builder.first_index, self.builder.choices
        return [delta._replace(choice=first + delta.choice) for delta in deltas if delta.choice < choices]

    def _read_options(self) -> ReadOptions:
        builder, plan = self.builder, self.plan
        tags = plan.route.emulate.reasoning
        suffix = f"_{builder.number}" if builder.number else ""
        return ReadOptions(
            prompt=str(builder.document.get("prompt", "")),
            stop=builder.stop_strings,
            choices=builder.choices,
            gathers=plan.stream_rule is not None and not plan.client_streams,
            tags=None if tags is None else ReasoningTags(tags.tags[0], tags.tags[1], tags.open),
            call_id=f"call_{builder.context.id}{suffix}",
            prompt_tokens=builder.estimate_prompt(),
        )
