"""Certificates of servers and clients.

write_certificate(folder, "client")      client.pem, client.key: self-signed
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.raw_upstream import Connection, Handler, http_response
from tests.upstream.formats import completion
from tests.upstream.raw_websocket import close_frame, text_message, websocket_responder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SECURE_SCHEMES", "server_context", "write_certificate"]


async def _once(peer: Connection) -> None:
    await peer.request()
    await peer.send(http_response(completion("hello")))


# A handler that responds once per connection, and the rules of its route, by the scheme of the URL.
SECURE_SCHEMES: dict[str, tuple[Handler, str]] = {
    "https": (_once, ""),
    "wss": (
        websocket_responder(text_message("hello"), close_frame(1000)),
        "response: false, stream: {framing: websocket, text: $.text}",
    ),
}


def write_certificate(folder: Path, name: str, *, expired: bool = False) -> None:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.test")])
    now = datetime.now(UTC)
    end = now + timedelta(days=-1 if expired else 1)
    names = [x509.DNSName(f"{name}.test"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(*formats, plain))


def server_context(folder: Path, name: str, *, mutual: bool = False) -> ssl.SSLContext:
    """Return the TLS context of a server; with `mutual`, clients must present the same certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / f"{name}.pem")
    return context
