"""The keys that clients send (`server.keys`): which key is accepted, and what its clients may do.

keys = ClientKeys(specs, workers, previous) a reload keeps what is left of rates that did not change
key = keys.find(authorization)            None: not a key
key.limits.enter(now) … leave()           where the key has limits
"""

from __future__ import annotations

import re
from fnmatch import translate
from hashlib import blake2b, sha256
from secrets import token_bytes
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.server.client_limits import ClientKeyLimits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.routes.rules.server_settings import ClientKeySpec
    from bridge.server.client_limits import WorkerLimits

__all__ = ["ClientKey", "ClientKeys"]


class ClientKey:
    """One key.

    name: the name in metrics and logs, or None.
    tenant: the digest under which sessions are kept for clients with this key.
    limits: the rates and the concurrency of the key, or None.
    restricted: whether the key may use some models only.
    """

    __slots__ = ("_models", "limits", "name", "restricted", "tenant")

    def __init__(self, spec: ClientKeySpec, workers: WorkerLimits, before: Mapping[str, ClientKey]) -> None:
        self.name = spec.name
        self.tenant = sha256(b"Bearer " + spec.key.encode("utf-8", "surrogateescape")).hexdigest()
        self.restricted = spec.models is not None
        self._models = re.compile("|".join(map(translate, spec.models or ())))
        self.limits: ClientKeyLimits | None = None
        if spec.requests or spec.tokens or spec.concurrency:
            previous = before.get(self.tenant)
            self.limits = ClientKeyLimits(spec, workers, previous.limits if previous else None)

    def allows(self, model: str) -> bool:
        """Return whether clients with this key may use a model."""
        return not self.restricted or self._models.match(model) is not None

    def check_model(self, model: str) -> None:
        """Raise RequestError (403) for a model that the key may not use, whether the model exists or not."""
        if not self.allows(model):
            holder = f"the key `{self.name}`" if self.name else "the key"
            message = f"{holder} does not have access to the model `{model}`"
            raise RequestError(
                403, message, type="invalid_request_error", param="model", code="model_not_found"
            )


class ClientKeys:
    """The keys of a routes file.

    Keys are found by their digests under a secret of the process, so that the time of the search reveals
    nothing of them, and does not grow with their number.
    """

    __slots__ = ("_by_digest", "_secret")

    def __init__(
        self, specs: Sequence[ClientKeySpec], workers: WorkerLimits, previous: ClientKeys | None
    ) -> None:
        self._secret = token_bytes(32)
        before = {key.tenant: key for key in previous} if previous is not None else {}
        self._by_digest: dict[bytes, ClientKey] = {}
        for spec in specs:
            key = ClientKey(spec, workers, before)
            self._by_digest[self._digest(f"Bearer {spec.key}")] = key

    def __iter__(self) -> Iterator[ClientKey]:
        return iter(self._by_digest.values())

    def find(self, authorization: str) -> ClientKey:
        """Return the key of an Authorization header. Raise RequestError (401)."""
        key = self._by_digest.get(self._digest(authorization))
        if key is not None:
            return key
        scheme, _, credentials = authorization.partition(" ")
        credentials = credentials.strip()
        key = self._by_digest.get(self._digest(f"Bearer {credentials}"))
        if key is None or scheme.lower() != "bearer":
            wrong = "Incorrect API key provided"
            missing = "You didn't provide an API key: Authorization: Bearer KEY"
            raise RequestError(401, wrong if credentials else missing, code="invalid_api_key")
        return key

    def _digest(self, authorization: str) -> bytes:
        data = authorization.encode("utf-8", "surrogateescape")
        # BLAKE2's own `key` would take a block of the hash, and a third more time.
        return blake2b(self._secret + data, digest_size=16).digest()
