"""Sessions kept in a Redis, so that every bridge before it finds them.

    bridge:sessions:{ROUTE}:values    hash        key ─▶ value
    bridge:sessions:{ROUTE}:ends      sorted set  key, by when it has idled too long, in Unix seconds

Each word with it is one script, which nothing comes between: of many bridges one takes a value, and one
closes it. The clock is the Redis's own, so that theirs need not agree.
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

_PATIENCE = 1.0  # seconds for one word with the server
_RETRY_DELAY = (
    1.0  # seconds without another try after one that failed: no answer waits for a dead store twice
)
_BATCH = 100  # values that one word takes
_DAY = 86400


class RedisStore:
    """Values in the Redis of a URL."""

    def __init__(self, url: str) -> None:
        self._redis: Any = Redis.from_url(
            url,
            protocol=2,  # every Redis speaks it
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            # A word that was lost may have been heard: said twice, it would take what nobody closes.
            retry=Retry(NoBackoff(), 0),
        )
        self._scripts = {name: self._redis.register_script(_NOW + text) for name, text in _SCRIPTS.items()}
        self._retry_after = 0.0

    async def pop(self, route: str, key: str) -> bytes | None:
        value: bytes | None = await self._run("take", route, key)
        return value

    async def put(self, route: str, key: str, value: bytes, *, ttl: float, most: int) -> Sequence[bytes]:
        # Without any bridge nobody closes them; they are forgotten in the end all the same.
        out: list[bytes] = await self._run("put", route, key, value, ttl, most, int(ttl) + _DAY)
        return out

    async def pop_expired(self, route: str) -> Sequence[bytes]:
        out: list[bytes] = await self._run("expired", route, _BATCH)
        return out

    async def close(self) -> Mapping[str, Sequence[bytes]]:
        await self._redis.aclose()
        return {}  # the other bridges find them, or this one when it is back

    async def _run(self, name: str, route: str, *arguments: Any) -> Any:
        """What a script gives. Raises StoreLost."""
        now = time.monotonic()
        if now < self._retry_after:
            raise StoreUnavailable("it could not be reached a moment ago")
        names = [f"bridge:sessions:{{{route}}}:{part}" for part in ("values", "ends")]
        try:
            return await self._scripts[name](keys=names, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._retry_after = time.monotonic() + _RETRY_DELAY
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:200]) from error


_NOW = """
local values, ends = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function taken(key)
  local value = redis.call('HGET', values, key)
  redis.call('HDEL', values, key)
  redis.call('ZREM', ends, key)
  return value
end
"""
_SCRIPTS = {
    # What has idled too long is left to those who close it.
    "take": """
local over = redis.call('ZSCORE', ends, ARGV[1])
if not over or tonumber(over) <= now then return false end
return taken(ARGV[1])
""",
    "put": """
local key, value, ttl, most, forgotten = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local out = {}
local function leaves(one)
  local found = taken(one)
  if found then out[#out + 1] = found end
end
leaves(key)
redis.call('HSET', values, key, value)
redis.call('ZADD', ends, now + ttl, key)
local over = redis.call('ZCARD', ends) - most
if over > 0 then
  for _, one in ipairs(redis.call('ZRANGE', ends, 0, over - 1)) do leaves(one) end
end
redis.call('EXPIRE', values, forgotten)
redis.call('EXPIRE', ends, forgotten)
return out
""",
    "expired": """
local out = {}
for _, one in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  out[#out + 1] = taken(one)
end
return out
""",
}
