"""The registry of endpoints.

To add an endpoint, write a module with its `EndpointSpec`, add the spec to `ENDPOINTS`, and add a row to
`EXCHANGE_PARTS` in `bridge/exchange/endpoints.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.openai.chat import CHAT
from bridge.openai.completions import COMPLETIONS
from bridge.openai.embeddings import EMBEDDINGS
from bridge.openai.images import IMAGES
from bridge.openai.messages import MESSAGES
from bridge.openai.rerank import RERANK
from bridge.openai.responses import RESPONSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = [
    "CHAT", "COMPLETIONS", "EMBEDDINGS", "ENDPOINTS", "IMAGES", "MESSAGES", "PARAMETERS", "RERANK",
    "RESPONSES", "STRUCTURAL_MEMBERS", "served_endpoints",
]  # fmt: skip

ENDPOINTS: Final[Mapping[str, EndpointSpec]] = {
    endpoint.name: endpoint
    for endpoint in (CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, RERANK, RESPONSES, MESSAGES)
}

_TRANSLATED: Final = frozenset(name for name, endpoint in ENDPOINTS.items() if endpoint.to_chat is not None)

STRUCTURAL_MEMBERS: Final = frozenset({"model", "stream", "stream_options"}).union(
    endpoint.input_member for endpoint in ENDPOINTS.values()
)
"""Members that make a request what it is; all others are parameters that an upstream may lack."""

PARAMETERS: Final = (
    frozenset[str]().union(
        *(endpoint.body.members.keys() | endpoint.unchecked_parameters for endpoint in ENDPOINTS.values())
    )
    - STRUCTURAL_MEMBERS
)
"""The parameters OpenAI documents: a bounded set of names for metrics. `top_k` is in it as many send it."""


def served_endpoints(names: Iterable[str]) -> frozenset[str]:
    """Return the endpoints of a route that names some.

    APIs that are translated to chats are served wherever chats are, unless the route names one of them.
    """
    served = frozenset(names)
    return served | _TRANSLATED if "chat" in served and not served & _TRANSLATED else served
