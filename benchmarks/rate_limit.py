"""Rate limits: a careful limiter in pure Python (stock) beside the kernel; through Redis, beside the bare script.

The careful one keeps to integers, takes a lock, drops keys that have expired and tells what is left, as ours does.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import BACKENDS, COMPILED, SHIPPED, STOCK, accelerate, hot, require_served
from litellm_accel.bench.workloads import limiting

SECOND = 1_000_000_000
MANY = [f"key {number}" for number in range(1000)]


class Told(NamedTuple):
    allowed: bool
    remaining: int
    retry_after: float
    limit: str


class Bucket:
    """A token bucket, in nanoseconds: when a key would be full again."""

    def __init__(self, rate: int, burst: int) -> None:
        self._each, self._burst, self._full = SECOND // rate, burst, SECOND // rate * burst
        self._keys: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, key: str, cost: int = 1) -> Told:
        if not isinstance(key, str) or not key or not isinstance(cost, int) or cost < 0:
            raise ValueError("key and cost")
        with self._lock:
            now = time.monotonic_ns()
            for _ in range(2):  # the longest unused
                oldest = next(iter(self._keys), None)
                if oldest is None or self._keys[oldest] > now:
                    break
                del self._keys[oldest]
            full = max(self._keys.get(key, now), now)
            after = full + cost * self._each
            if after - now > self._full:
                free = (self._full - full + now) // self._each
                return Told(False, free, (after - now - self._full) / SECOND, "bucket")
            self._keys[key] = after
            self._keys.move_to_end(key)
            return Told(True, (self._full - after + now) // self._each, 0.0, "bucket")


class Window:
    """A log of a sliding window."""

    def __init__(self, limit: int, seconds: int) -> None:
        self._limit, self._window = limit, seconds * SECOND
        self._keys: OrderedDict[str, deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, key: str, cost: int = 1) -> Told:
        if not isinstance(key, str) or not key or not isinstance(cost, int) or cost < 0:
            raise ValueError("key and cost")
        with self._lock:
            now = time.monotonic_ns()
            gone = now - self._window
            for _ in range(2):
                oldest = next(iter(self._keys), None)
                if oldest is None or self._keys[oldest][-1] > gone:
                    break
                del self._keys[oldest]
            log = self._keys.get(key)
            if log is None:
                log = self._keys[key] = deque()
            while log and log[0] <= gone:
                log.popleft()
            free = self._limit - len(log)
            if cost > free:
                return Told(False, free, (log[cost - free - 1] - gone) / SECOND, "window")
            log.extend([now] * cost)
            self._keys.move_to_end(key)
            return Told(True, free - cost, 0.0, "window")


def limits(backend: str) -> tuple[Any, Any]:
    """Return a bucket and a window that allow all they are asked for here."""
    if backend == STOCK:
        return Bucket(1_000_000, 1_000_000), Window(1000, 1)
    module = hot("rate_limit", backend)
    return module.TokenBucket(1_000_000, 1_000_000), module.SlidingLog(1000, 1)


class Checks:
    """One check of one key; of a log of 1000 permits a second, which is full most of the time."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        bucket, window = limits(backend)
        assert bucket.check("key").allowed and window.check("key").allowed
        self.bucket: Callable[..., Any] = bucket.check
        self.window: Callable[..., Any] = window.check

    def time_bucket(self, backend: str) -> None:
        self.bucket("key")

    def time_window(self, backend: str) -> None:
        self.window("key")


class Counter:
    """One check by two counters."""

    params = (list(BACKENDS[1:]),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.check: Callable[..., Any] = hot("rate_limit", backend).SlidingCounter(1 << 40, 60).check

    def time_counter(self, backend: str) -> None:
        self.check("key")


class Threads:
    """2000 checks in each of 16 threads, and as many in one."""

    params = (list(SHIPPED), [1, 16], [1, 1000])
    param_names = ("backend", "threads", "keys")

    def setup(self, backend: str, threads: int, keys: int) -> None:
        check = limits(backend)[0].check
        names = (MANY[:keys] * (32_000 // keys))[: 32_000 // threads]

        def work() -> None:
            for name in names:
                check(name)

        self.work = work
        self.threads = threads

    def time_32000_checks(self, backend: str, threads: int, keys: int) -> None:
        started = [threading.Thread(target=self.work) for _ in range(self.threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()


class Together:
    """One check of three limits: of everybody, of a key, of a model."""

    def setup(self) -> None:
        from litellm_accel.ratelimit import Limiter, TokenBucket

        free = TokenBucket(1_000_000, 1_000_000)
        self.limiter = Limiter({"global": free, "key": "1000000/second", "model": {"large": "1000000/second"}})
        self.keys = {"key": "one", "model": "large"}

    def time_three_limits(self) -> None:
        self.limiter.check(self.keys)


MEMORY = """
import os
from fractions import Fraction
from {module} import rate_limit
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
bucket = rate_limit.TokenBucket(Fraction(1, 3600), 1)
begin = resident()
for number in range(1_000_000):
    bucket.check("user-%07d" % number)
print((resident() - begin) / 1_000_000)
"""


class Memory:
    """Bytes that a key takes, its string with them, at a million keys."""

    params = (list(BACKENDS[1:]),)
    param_names = ("backend",)
    unit = "bytes"

    def track_bytes_a_key(self, backend: str) -> float:
        module = f"litellm_accel.{'_cy' if backend == COMPILED else '_py'}"
        return float(subprocess.check_output([sys.executable, "-c", MEMORY.format(module=module)], text=True))


class Redis:
    """One check through a Redis on loopback: the bare script by redis-py (stock), ours, and ours with leases."""

    params = (["script", "check", "leased 10", "leased 20"],)
    param_names = ("way",)

    def setup(self, way: str) -> None:
        if shutil.which("redis-server") is None:
            raise NotImplementedError("redis-server is not installed")
        sys.path.append(str(Path(__file__).parents[1] / "tests"))
        import redis

        from litellm_accel.ratelimit import Limiter, RedisStore, TokenBucket, redis_store
        from redis_server import RedisServer

        self.server = RedisServer()
        lease = int(way.removeprefix("leased ")) if way.startswith("leased") else 1
        store = RedisStore(self.server.url, deadline=5, lease=lease)
        limiter = Limiter({"key": TokenBucket(1_000_000, 1_000_000)}, store=store)
        self.run: Callable[[], Any] = lambda: limiter.check("one")
        assert limiter.check("one").at > 0
        if way == "script":
            command = store._command("take", 1, limiter._scopes.demands("one", 1, 0))
            client = redis.Redis.from_url(self.server.url)
            self.run = lambda: client.evalsha(redis_store._SHA, *command)

    def teardown(self, way: str) -> None:
        self.server.kill()

    def time_check(self, way: str) -> None:
        self.run()


class RouterLimits:
    """A router's own limits, `enforce_model_rate_limits`: the check before a call and the count after it."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        accelerate("rate_limit", backend)
        self.work = limiting()
        self.work()
        if backend != STOCK:
            require_served("rate_limit")

    def time_check_and_count(self, backend: str) -> None:
        self.work()


class ProxyLimits:
    """The proxy's limiter in memory: what a request of a key, a user, a team, a customer and a model is decided by."""

    params = (list(BACKENDS), ["decide", "request"])
    param_names = ("backend", "way")

    def setup(self, backend: str, way: str) -> None:
        accelerate("rate_limit", backend)
        from litellm_accel.components.proxy_limiter import can_be_there

        if not can_be_there():
            raise NotImplementedError("what LiteLLM's proxy needs is not installed")
        from litellm.caching.dual_cache import DualCache
        from litellm.proxy._types import UserAPIKeyAuth
        from litellm.proxy.hooks import parallel_request_limiter_v3
        from litellm.proxy.utils import InternalUsageCache

        self.cache = DualCache()
        self.limiter = parallel_request_limiter_v3._PROXY_MaxParallelRequestsHandler_v3(InternalUsageCache(self.cache))
        limit = {"requests_per_unit": 10**9, "tokens_per_unit": 10**12, "window_size": 60}
        scopes = ("api_key", "user", "team", "end_user", "model_per_key")
        self.descriptors: list[Any] = [{"key": scope, "value": "one", "rate_limit": dict(limit)} for scope in scopes]
        self.descriptors[0]["rate_limit"]["max_parallel_requests"] = 100
        self.caller = UserAPIKeyAuth(
            api_key="one",
            user_id="one",
            team_id="one",
            end_user_id="one",
            max_parallel_requests=100,
            **{
                f"{scope}{kind}_limit": 10**9
                for scope in ("", "user_", "team_", "end_user_")
                for kind in ("rpm", "tpm")
            },
            metadata={"model_rpm_limit": {"chat": 10**9}, "model_tpm_limit": {"chat": 10**9}},
        )
        self.data = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "litellm_call_id": "one"}
        self.stash = parallel_request_limiter_v3.get_request_stash
        self.run: Callable[[], Any] = getattr(self, f"_{way}")
        self.loop = asyncio.new_event_loop()
        self.time_100_requests(backend, way)
        if backend != STOCK:
            require_served("rate_limit")

    async def _decide(self) -> None:
        """Count the request, take a slot, which is always the same one, and reserve tokens."""
        await self.limiter.should_rate_limit(self.descriptors, skip_tpm_check=True, parallel_slot_id="slot")
        await self.limiter.reserve_tpm_tokens(self.descriptors, 100)

    async def _request(self) -> None:
        """All that the proxy does before a call; of it, building the list of limits stays LiteLLM's."""
        await self.limiter.async_pre_call_hook(self.caller, self.cache, dict(self.data), "acompletion")
        await self.limiter._release_stashed_parallel_slot(self.stash(), None)

    def time_100_requests(self, backend: str, way: str) -> None:
        self.loop.run_until_complete(self._many())

    async def _many(self) -> None:
        for _ in range(100):
            await self.run()
