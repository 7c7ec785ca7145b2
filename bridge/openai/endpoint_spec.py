"""The description of one endpoint: all of it that is on OpenAI's side."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseEncoder, ResponseInfo
    from bridge.openai.translation import Translation

__all__ = ["BodySchema", "EndpointSpec", "MemberCheck"]


@dataclass(frozen=True, slots=True)
class MemberCheck:
    """The check of one member of a request body."""

    expected: str  # for the error text: "`stop` must be …"
    types: tuple[type, ...]  # a value of exactly one of these types is valid without a further check
    is_valid: Callable[[Any], bool] | None = None  # decides for values of every other type


@dataclass(frozen=True, slots=True)
class BodySchema:
    """The checks of a request body."""

    members: Mapping[str, MemberCheck]
    valid_types: Mapping[str, tuple[type, ...]]  # by member; a value of these types needs no further check
    check: Callable[[JSONObject], None]  # raises RequestError about the body as a whole
    default_model: str | None  # None: `model` is required
    names: frozenset[str]  # of the members

    @classmethod
    def of(
        cls,
        members: Mapping[str, MemberCheck],
        check: Callable[[JSONObject], None],
        default_model: str | None = None,
    ) -> BodySchema:
        """Return the schema of these checks; null is valid for every member."""
        valid_types = {name: (*member.types, type(None)) for name, member in members.items()}
        return cls(members, valid_types, check, default_model, frozenset(members))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EndpointSpec:
    """One endpoint that clients call."""

    name: str  # the word for the endpoint in `serves`, in samples, metrics and logs
    path: str  # below /v1/
    operation: str  # `gen_ai.operation.name` of OpenTelemetry's semantic conventions

    input_member: str  # the member of a request body that the model is given
    body: BodySchema
    unchecked_parameters: frozenset[str] = frozenset()  # documented by OpenAI, forwarded without a check
    bridge_parameters: frozenset[str] = frozenset()  # served by the bridge, whatever the upstream does
    has_choices: bool = True  # `n` requests several choices or images
    has_messages: bool = False  # requests carry `messages`, and a choice a `message` or a `delta`
    example: JSONObject  # the members of a request besides `model`, where a command is given no request
    estimate_prompt: Callable[[JSONObject, list[JSONObject]], int] | None  # tokens of (body, messages)

    output: str  # the slot that finds what the endpoint is for
    slots: tuple[str, ...]  # every slot of `ResponseSlots` that is read, besides `usage`
    object: str = ""  # `object` of a response
    chunk_object: str = ""  # `object` of a chunk
    id_prefix: str = ""  # of a response's `id`
    has_output_tokens: bool = True  # False: all tokens are the request's
    encoder: Callable[[ResponseInfo], ResponseEncoder]
    stream_encoder: Callable[[ResponseInfo], ResponseEncoder] | None = None  # None: never streamed
    expand_sample: Callable[[Any], JSONObject]  # a response from the shorthand for it in a sample
    # Translates a body to that of a chat request, for an API that upstreams need not have.
    to_chat: Callable[[JSONObject], Translation] | None = None
    error_body: Callable[[BridgeError], JSONObject] = attrgetter("envelope")

    @property
    def plan_name(self) -> str:
        """Return the name of the endpoint whose requests are sent upstream."""
        return self.name if self.to_chat is None else "chat"

    @property
    def streams(self) -> bool:
        """Return whether clients may request a stream."""
        return self.stream_encoder is not None
