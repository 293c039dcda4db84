"""Rate limits: token buckets and sliding windows, in one process or in many through Redis.

``Limiter({...}).check(key)`` decides on several limits at once; ``RateLimitHook`` puts a limiter in front of LiteLLM's
``Router`` or proxy; ``RedisStore`` shares limits between processes. ``docs/rate-limiting.md`` has recipes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litellm_accel.ratelimit.limiter import Limiter, Tokens
from litellm_accel.ratelimit.rules import SlidingWindow, parse

if TYPE_CHECKING:
    from litellm_accel._py.rate_limit import Decision, TokenBucket
    from litellm_accel.ratelimit.hook import RateLimitHook
    from litellm_accel.ratelimit.redis_store import RedisStore

__all__ = ["Decision", "Limiter", "RateLimitHook", "RedisStore", "SlidingWindow", "TokenBucket", "Tokens", "parse"]


def __getattr__(name: str) -> Any:
    """Load what needs a kernel, redis-py or LiteLLM when it is asked for."""
    if name in ("Decision", "TokenBucket"):
        from litellm_accel.hot import rate_limit

        return getattr(rate_limit, name)
    if name == "RedisStore":
        from litellm_accel.ratelimit.redis_store import RedisStore

        return RedisStore
    if name == "RateLimitHook":
        from litellm_accel.ratelimit.hook import RateLimitHook

        return RateLimitHook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
