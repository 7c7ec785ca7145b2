"""The paths at which clients have the tokens of a request counted, before they send the request.

    POST /v1/responses/input_tokens      ─▶  {"object": "response.input_tokens", "input_tokens": 12}
    POST /v1/messages/count_tokens       ─▶  {"input_tokens": 12}

The counts are estimates: only the model server has the model's tokenizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.openai.messages import MESSAGES
from bridge.openai.responses import RESPONSES
from bridge.openai.token_estimate import chat_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.json import JSONObject
    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = ["TOKEN_COUNTS", "TokenCount"]


class TokenCount(NamedTuple):
    """One of the paths: the endpoint whose requests are counted, and the members of a response."""

    endpoint: EndpointSpec
    members: Mapping[str, str]

    def response(self, body: JSONObject) -> JSONObject:
        """Return the response for a request of the endpoint. Raise RequestError (400)."""
        assert self.endpoint.to_chat is not None
        chat = self.endpoint.to_chat(body).body
        return {**self.members, "input_tokens": chat_tokens(chat, chat["messages"])}


TOKEN_COUNTS: Final[Mapping[str, TokenCount]] = {
    "/messages/count_tokens": TokenCount(MESSAGES, {}),
    "/responses/input_tokens": TokenCount(RESPONSES, {"object": "response.input_tokens"}),
}
"""By path, without the version."""
