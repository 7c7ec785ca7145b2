"""The response of a replica, which is in use until its response ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.upstream.response import UpstreamResponse

if TYPE_CHECKING:
    from bridge.proxy.replicas import ReplicaSet
    from bridge.upstream.response import ByteSink

__all__ = ["ReplicaResponse"]


class ReplicaResponse(UpstreamResponse):
    """A response that notes its end, or its failure, in the replica set.

    index: the number of the replica, from 0.
    """

    __slots__ = ("_ended", "_failed", "_replicas", "_response", "index")

    def __init__(self, response: UpstreamResponse, replicas: ReplicaSet, index: int) -> None:
        self._response = response
        self._replicas = replicas
        self.index = index
        self._ended = False
        self._failed = response.status >= 500
        self.status = response.status
        self.headers = response.headers

    @property
    def complete(self) -> bool:
        return self._response.complete

    async def read_into(self, sink: ByteSink) -> None:
        try:
            await self._response.read_into(sink)
        except UpstreamError as error:
            if error.kind is not UpstreamFailure.LIMIT:
                self.note_failure()
            raise

    def note_failure(self) -> None:
        if not self._failed:
            self._failed = True
            self._replicas.failed(self.index, asyncio.get_running_loop().time())

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109
        await self._response.drain(timeout)

    async def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._replicas.end(self.index, complete=self.complete and not self._failed)
        await self._response.close()
