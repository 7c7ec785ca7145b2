"""The TLS of connections to upstreams (`upstream.tls`)."""

from __future__ import annotations

import logging
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.core.errors import TLSFileError, UpstreamError, UpstreamFailure
from bridge.file_stamp import file_stamp
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yarl import URL

    from bridge.file_stamp import FileStamp
    from bridge.routes.rules.transport import TLSSpec

__all__ = ["SSLContextCache", "check_tls_files", "without_default_ca"]

_TLS_SCHEMES = ("https", "wss")


class SSLContextCache:
    """The TLS contexts, one for each set of TLS settings, made on first use, since that reads files.

    A context is made again when its files have changed, as the files of a mounted secret do.
    """

    def __init__(self) -> None:
        self._contexts: dict[TLSSpec, tuple[list[FileStamp], ssl.SSLContext]] = {}

    def get(self, spec: TLSSpec, *urls: URL | None) -> ssl.SSLContext | bool:
        """Return the `ssl` argument of aiohttp for a connection to these URLs: an upstream and a proxy.

        Raise UpstreamError where the files of the settings cannot be used.
        """
        if not any(url and url.scheme in _TLS_SCHEMES for url in urls):
            return True  # aiohttp's default, unused without TLS
        stamps = [file_stamp(file) for file in (spec.ca, spec.cert, spec.private_key) if file]
        used_stamps, context = self._contexts.get(spec, (None, None))
        if context is not None and used_stamps == stamps:
            return context
        try:
            renewed = _make_context(spec)
        except OSError as error:
            if context is None:
                message = f"no connection to the upstream: the files of upstream.tls are unusable: {error}"
                raise UpstreamError(UpstreamFailure.CONNECT, message) from error
            # A renewed certificate may be written before its key: the next connection tries again.
            log("certificates not renewed", logging.WARNING, error=str(error))
            return context
        self._contexts[spec] = stamps, renewed
        return renewed


@contextmanager
def without_default_ca() -> Iterator[None]:
    """Let TLS contexts be made without the system's certificates, so that they reject every server.

    For the import of aiohttp, which makes two such contexts (`_SSL_CONTEXT_VERIFIED` and
    `_SSL_CONTEXT_UNVERIFIED` in aiohttp/connector.py) and reads the system's certificates for both: a third
    of the bridge's start, 0.15 s of CPU time, and 2 MB. The bridge passes its own context to every TLS
    connection and never uses these two. aiohttp has no option against it, so the method that reads the
    certificates is replaced meanwhile.
    """
    ssl.SSLContext.set_default_verify_paths = _no_verify_paths  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths  # uncovers the method of the base class in C


def _no_verify_paths(context: ssl.SSLContext) -> None:
    pass


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
    context.set_alpn_protocols(["http/1.1"])  # otherwise some servers choose HTTP/2
    return context


def _load_own_certificate(context: ssl.SSLContext, spec: TLSSpec) -> None:
    """Load the certificate that the bridge itself presents."""
    if spec.cert is not None:
        # Without a callback, OpenSSL prompts for a passphrase on the terminal, and blocks meanwhile.
        context.load_cert_chain(spec.cert, spec.private_key, password=_refuse_passphrase)


def _refuse_passphrase() -> str:
    raise PassphraseError("the private key needs a passphrase")
