"""How the certificates of https servers are checked."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.routes.spec.transport import TLSSpec

__all__ = ["Contexts"]


class Contexts:
    """One context for each way to check, made once, since that reads files."""

    def __init__(self) -> None:
        self._made: dict[TLSSpec, ssl.SSLContext | bool] = {}

    def of(self, spec: TLSSpec) -> ssl.SSLContext | bool:
        """As aiohttp takes it; True: as the system does."""
        if spec not in self._made:
            self._made[spec] = _make_context(spec)
        return self._made[spec]


def _make_context(spec: TLSSpec) -> ssl.SSLContext | bool:
    if not spec.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca is None and spec.cert is None:
        return True
    else:
        context = ssl.create_default_context(cafile=spec.ca)
    if spec.cert is not None:
        context.load_cert_chain(spec.cert, spec.private_key)
    return context
