"""How the certificates of https servers are checked."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yarl import URL

    from bridge.routes.spec.transport import TLSSpec

__all__ = ["Contexts", "trusting_nobody"]

_SECURE = ("https", "wss")


class Contexts:
    """One context for each way to check, made when one is first wanted, since that reads files."""

    def __init__(self) -> None:
        self._made: dict[TLSSpec, ssl.SSLContext] = {}

    def of(self, spec: TLSSpec, *urls: URL | None) -> ssl.SSLContext | bool:
        """As aiohttp takes it for connections to these: a server, a proxy. Raises OSError."""
        if not any(url and url.scheme in _SECURE for url in urls):
            return True  # nobody will ask
        if spec not in self._made:
            self._made[spec] = _make_context(spec)
        return self._made[spec]


@contextmanager
def trusting_nobody() -> Iterator[None]:
    """Contexts made meanwhile know none of the system's certificates, so they refuse every server.

    For the import of aiohttp, which makes two of its own. The bridge uses none but those made above, and to
    read more than a hundred certificates twice would be a quarter of its start.
    """
    ssl.SSLContext.set_default_verify_paths = _none  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths  # what it inherits is seen again


def _none(context: ssl.SSLContext) -> None:
    """In place of the paths of the system's certificates."""


def _make_context(spec: TLSSpec) -> ssl.SSLContext:
    if spec.verify:
        context = ssl.create_default_context(cafile=spec.ca)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if spec.cert is not None:
        context.load_cert_chain(spec.cert, spec.private_key)
    context.set_alpn_protocols(["http/1.1"])  # or some servers would speak HTTP/2
    return context
