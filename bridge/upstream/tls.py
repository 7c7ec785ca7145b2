"""How the certificates of https servers are checked."""

from __future__ import annotations

import logging
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.core.errors import TLSFileError
from bridge.file_stamp import file_stamp
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yarl import URL

    from bridge.file_stamp import FileStamp
    from bridge.routes.rules.settings import TLSSpec

__all__ = ["SSLContextCache", "check_tls_files", "without_default_ca"]

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


def check_tls_files(spec: TLSSpec) -> None:
    """Raise TLSFileError if certificate files cannot be used. The files must be readable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for key, file in (("ca", spec.ca), ("cert", spec.cert)):
        if file is not None and not _holds_certificate(context, file):
            raise TLSFileError(key, f"{file} holds no certificate: expected a PEM file")
    if spec.private_key is not None and spec.cert is None:
        raise TLSFileError("key", "`key` without `cert`: expected `cert`, the certificate of the key")
    key = "key" if spec.private_key is not None else "cert"
    file = spec.private_key or spec.cert
    try:
        _load_own_certificate(context, spec)
    except PassphraseError:
        raise TLSFileError(key, f"{file} needs a passphrase: expected a private key without one") from None
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            message = f"the private key in {file} does not belong to the certificate in {spec.cert}"
        else:
            message = f"{file} holds no private key: expected a PEM file"
        raise TLSFileError(key, message) from None


class PassphraseError(OSError):
    """A private key that needs a passphrase."""


_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")


def _holds_certificate(context: ssl.SSLContext, file: str) -> bool:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        return False
    return True


def _make_context(spec: TLSSpec) -> ssl.SSLContext:
    if spec.verify:
        context = ssl.create_default_context(cafile=spec.ca)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _load_own_certificate(context, spec)
    context.set_alpn_protocols(["http/1.1"])  # or some servers would speak HTTP/2
    return context


def _load_own_certificate(context: ssl.SSLContext, spec: TLSSpec) -> None:
    """Load the certificate that the bridge itself presents."""
    if spec.cert is not None:
        # Without a callback, OpenSSL prompts for a passphrase on the terminal, and blocks meanwhile.
        context.load_cert_chain(spec.cert, spec.private_key, password=_refuse_passphrase)


def _refuse_passphrase() -> str:
    raise PassphraseError("the private key needs a passphrase")
