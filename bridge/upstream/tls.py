"""How the certificates of https servers are checked."""

from __future__ import annotations

import logging
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.file_stamp import file_stamp
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yarl import URL

    from bridge.file_stamp import FileStamp
    from bridge.routes.rules.settings import TLSSpec

__all__ = ["SSLContextCache", "without_default_ca"]

_SECURE = ("https", "wss")


class SSLContextCache:
    """One context for each way to check, made when one is first wanted, since that reads files.

    It is made anew when its files have changed, as those of a mounted secret do.
    """

    def __init__(self) -> None:
        self._made: dict[TLSSpec, tuple[list[FileStamp], ssl.SSLContext]] = {}

    def get(self, spec: TLSSpec, *urls: URL | None) -> ssl.SSLContext | bool:
        """As aiohttp takes it for a new connection to these: a server, a proxy. Raises OSError."""
        if not any(url and url.scheme in _SECURE for url in urls):
            return True  # nobody will ask
        stamps = [file_stamp(file) for file in (spec.ca, spec.cert, spec.private_key) if file]
        seen, context = self._made.get(spec, (None, None))
        if context is not None and seen == stamps:
            return context
        try:
            made = _make_context(spec)
        except OSError as error:
            if context is None:
                raise
            # A certificate may be there before its key: the next connection looks again.
            log("certificates not renewed", logging.WARNING, error=str(error))
            return context
        self._made[spec] = stamps, made
        return made


@contextmanager
def without_default_ca() -> Iterator[None]:
    """Contexts made meanwhile know none of the system's certificates, so they refuse every server.

    For the import of aiohttp, which makes two of its own. The bridge uses none but those made above, and to
    read more than a hundred certificates twice would be a quarter of its start.
    """
    ssl.SSLContext.set_default_verify_paths = _skip_default_ca  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths  # what it inherits is seen again


def _skip_default_ca(context: ssl.SSLContext) -> None:
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
