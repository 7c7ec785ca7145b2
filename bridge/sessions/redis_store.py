"""A session store in Redis, shared by every bridge that uses the same Redis.

    bridge:sessions:{ROUTE}:values    hash        key ─▶ value
    bridge:sessions:{ROUTE}:ends      sorted set  keys by the time of expiry, in Unix seconds

Each operation is a Lua script, which Redis runs atomically: if several bridges take the same value, only one
bridge receives the value. The scripts read the clock of Redis, so the clocks of the bridges may differ.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bridge.sessions.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["RedisStore"]

_TIMEOUT = 1.0  # seconds to connect, and for each read and write of the socket
# Seconds without an attempt after a failure. A request acquires and releases a session; without the delay, an
# unreachable Redis would hold up the request by both timeouts.
_RETRY_DELAY = 1.0
_MAX_BATCH = 100  # expired values per script run, because Redis serves no other client during a script
_DAY = 86400  # seconds


class RedisStore:
    """Values in the Redis at a URL."""

    def __init__(self, url: str) -> None:
        self._redis: Any = Redis.from_url(
            url,
            protocol=2,  # RESP2, which every version of Redis supports
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # No retries: a script whose response was lost may have run. A successful second run would hide
            # that the values of the first response are lost, and their sessions are never closed.
            retry=Retry(NoBackoff(), 0),
        )
        self._scripts = {  # by operation
            name: self._redis.register_script(_PRELUDE + text) for name, text in _SCRIPTS.items()
        }
        self._retry_after = 0.0  # seconds of the monotonic clock

    async def pop(self, route: str, key: str) -> bytes | None:
        value: bytes | None = await self._run("pop", route, key)
        return value

    async def put(
        self, route: str, key: str, value: bytes, *, ttl: float, max_entries: int
    ) -> Sequence[bytes]:
        # If no bridge runs, no bridge removes expired values, so Redis deletes the keys a day later.
        displaced: list[bytes] = await self._run("put", route, key, value, ttl, max_entries, int(ttl) + _DAY)
        return displaced

    async def pop_expired(self, route: str) -> Sequence[bytes]:
        expired: list[bytes] = await self._run("pop_expired", route, _MAX_BATCH)
        return expired

    async def close(self) -> Mapping[str, Sequence[bytes]]:
        await self._redis.aclose()
        return {}  # the values stay in Redis, for other bridges and for the next start of this bridge

    async def _run(self, operation: str, route: str, *arguments: Any) -> Any:
        """Run the script of an operation, and return the result. Raise StoreUnavailable."""
        if time.monotonic() < self._retry_after:
            raise StoreUnavailable(f"Redis is not retried within {_RETRY_DELAY:g} s of a failure")
        # The braces are a hash tag: Redis Cluster puts both keys into one slot, as a script requires.
        keys = [f"bridge:sessions:{{{route}}}:{part}" for part in ("values", "ends")]
        try:
            return await self._scripts[operation](keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._retry_after = time.monotonic() + _RETRY_DELAY
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:200]) from error


# The beginning of every script.
_PRELUDE = """
local values, ends = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function remove(key)
  local value = redis.call('HGET', values, key)
  redis.call('HDEL', values, key)
  redis.call('ZREM', ends, key)
  return value
end
"""
_SCRIPTS = {
    # An expired value is left to `pop_expired`, whose caller closes the session.
    "pop": """
local expires_at = redis.call('ZSCORE', ends, ARGV[1])
if not expires_at or tonumber(expires_at) <= now then return false end
return remove(ARGV[1])
""",
    "put": """
local key, value, ttl, max_entries, keys_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local displaced = {}
local function displace(key)
  local value = remove(key)
  if value then displaced[#displaced + 1] = value end
end
displace(key)
redis.call('HSET', values, key, value)
redis.call('ZADD', ends, now + ttl, key)
local excess = redis.call('ZCARD', ends) - max_entries
if excess > 0 then
  for _, oldest in ipairs(redis.call('ZRANGE', ends, 0, excess - 1)) do displace(oldest) end
end
redis.call('EXPIRE', values, keys_ttl)
redis.call('EXPIRE', ends, keys_ttl)
return displaced
""",
    "pop_expired": """
local expired = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  expired[#expired + 1] = remove(key)
end
return expired
""",
}
