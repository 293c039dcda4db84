"""Limits through a real Redis: exactness against the kernel, many processes, and a server that is slow or gone."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

if not os.environ.get("REQUIRE_REDIS"):
    pytest.importorskip("redis", reason="redis-py is not installed")

from litellm_accel.ratelimit import Limiter, RedisStore, SlidingWindow, TokenBucket, redis_store
from redis_server import RedisServer, free_port, running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="redis-server does not run there")


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.client.flushall()
    return shared


@pytest.fixture
def own() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class Clock:
    """The store's monotonic clock, so many seconds ``ahead``."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr(redis_store, "time", turned)
    return turned


def patient(url: str, **options: Any) -> RedisStore:
    """A store that a busy machine does not disturb."""
    return RedisStore(url, **{"deadline": 5.0, **options})


def calls(server: RedisServer) -> int:
    found = server.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})
    return int(found["calls"])


MAKE: dict[str, Any] = {
    "bucket": lambda first, second, clock: TokenBucket(first, second, clock=clock),
    "log": lambda first, second, clock: SlidingWindow(first, second, clock=clock),
    "counter": lambda first, second, clock: SlidingWindow(first, second, exact=False, clock=clock),
}
# The script by a clock that a test turns.
TURNED = re.sub(
    r"local time = .*\nlocal now = .*\n", "local now = tonumber(redis.call('GET', 'now'))\n", redis_store._SCRIPT
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["check", "check", "check", "refund", "charge"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 12),
        st.integers(0, 7_000_000),
    ),
    max_size=40,
)


@pytest.mark.parametrize("kind", MAKE)
def test_a_clock_of_the_server_that_goes_back_gives_nothing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, kind: str
):
    client = server.client
    monkeypatch.setattr(redis_store, "_SCRIPT", TURNED)
    monkeypatch.setattr(redis_store, "_SHA", client.script_load(TURNED))
    limiter = Limiter({"key": MAKE[kind](1, 5, lambda: 0)}, store=patient(server.url))
    client.set("now", 100_000_000)
    while limiter.check("one"):
        pass
    for now in (97_000_000, 100_000_000) * 5:
        client.set("now", now)
        assert not limiter.check("one")
    assert 0 < limiter.check("one").retry_after <= 10


@pytest.mark.parametrize("kind", MAKE)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(1, 12), second=st.integers(1, 6), steps=STEPS)
def test_the_script_decides_as_the_kernel_does(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, kind: str, first: int, second: int, steps: list[Any]
) -> None:
    """By a clock that the test turns, in the script as in the kernel."""
    client = server.client
    client.flushall()
    monkeypatch.setattr(redis_store, "_SCRIPT", TURNED)
    monkeypatch.setattr(redis_store, "_SHA", client.script_load(TURNED))
    now = 5_000_000
    store = patient(server.url)
    local = MAKE[kind](first, second, lambda: now * 1000)
    through = Limiter({"key": MAKE[kind](first, second, lambda: 0)}, store=store)
    taken: list[tuple[str, int, int]] = []
    for name, key, cost, step in steps:
        now += step
        client.set("now", now)
        if name == "check":
            one, two = local.check(key, cost), through.check(key, cost)
            assert (one.allowed, one.remaining) == (two.allowed, two.remaining)
            assert two.retry_after == pytest.approx(one.retry_after, abs=2e-6)
            assert two.at == now
            if one:
                taken.append((key, cost, now))
        elif name == "charge":
            local.charge(key, cost)
            through.charge(key, cost)
        elif taken:
            key, cost, at = taken.pop()
            local.refund(key, cost, at * 1000)
            through.refund(key, cost, decision=type(two)(True, 0, 0.0, "", at))
    assert store.state == (True, 0, "")
    store.close()


def test_a_charge_of_nothing_drops_what_has_left_the_window_for_good(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    client = server.client
    monkeypatch.setattr(redis_store, "_SCRIPT", TURNED)
    monkeypatch.setattr(redis_store, "_SHA", client.script_load(TURNED))
    limiter = Limiter({"key": "1/second"}, store=patient(server.url))
    client.set("now", 5_000_000)
    assert limiter.check("nothing charged")
    client.set("now", 6_000_000)
    limiter.charge("nothing charged")
    decision = limiter.check("nothing charged", 0)
    assert (decision.remaining, decision.at) == (1, 6_000_000)


def test_several_limits_are_one_script_and_all_or_none(server: RedisServer):
    limits = {"global": "100/minute", "key": "3/minute; 1000 tokens/minute", "model": {"large": "2/minute"}}
    limiter = Limiter(limits, store=patient(server.url))
    another = Limiter(limits, store=patient(server.url))
    large = {"key": "one", "model": "large"}
    decision = limiter.check(large, tokens=300)
    assert (decision.allowed, decision.remaining, decision.limit) == (True, 1, "model large 2/minute")
    before = calls(server)
    refused = another.check(large, tokens=800)
    assert calls(server) == before + 1
    assert (refused.allowed, refused.limit, refused.remaining) == (False, "key 1000 tokens/minute", 700)
    assert limiter.check(large, tokens=5000).retry_after == inf
    another.refund(large, 1, 300, decision=decision)
    assert limiter.check(large, tokens=1000)
    limiter.charge("one", tokens=500)
    assert not another.check("one")


def test_nothing_stays(server: RedisServer):
    limiter = Limiter(
        {"a": TokenBucket(10, 5), "b": "5/second", "c": SlidingWindow(5, 1, exact=False)}, store=patient(server.url)
    )
    for key in ("one", "two"):
        keys = {"a": key, "b": key, "c": key}
        while limiter.check(keys):
            pass
    client = server.client
    names = client.keys("*")
    assert len(names) == 6
    assert all(0 < client.pttl(name) <= 3500 for name in names)
    assert len({name.split("}")[0] for name in names}) == 1  # one slot of a cluster
    end = time.monotonic() + 6
    while client.dbsize() and time.monotonic() < end:
        time.sleep(0.1)
    assert client.dbsize() == 0


def test_a_cluster_takes_the_keys_of_one_check(tmp_path: Path):
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--dir", str(tmp_path))
    with running(*options) as server:
        server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        end = time.monotonic() + 10
        while server.client.cluster("info")["cluster_state"] != "ok" and time.monotonic() < end:
            time.sleep(0.05)
        store = patient(server.url, on_failure="fail_closed")
        limiter = Limiter({"global": "5/minute", "key": "5/minute", "model": "5/minute"}, store=store)
        assert limiter.check({"key": "one", "model": "large"})
        assert store.state.failures == 0, store.state


def test_many_checks_are_one_round_trip(server: RedisServer):
    limiter = Limiter({"key": "3/minute"}, store=patient(server.url))
    server.client.script_flush()  # also where the script must be sent first
    told = limiter.check_many([("one", 1, 0)] * 5)
    assert [each.allowed for each in told] == [True] * 3 + [False] * 2
    again = asyncio.run(limiter.check_many_async([("two", 2, 0)] * 3))
    assert [each.allowed for each in again] == [True, False, False]


PROCESS = """
import sys, threading
from litellm_accel.ratelimit import Limiter, RedisStore
url, lease, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
limiter = Limiter({"global": "400/hour", "key": "100/hour"}, store=RedisStore(url, deadline=20, lease=lease))
allowed = [0] * 4
def work(place):
    for _ in range(rounds):
        allowed[place] += bool(limiter.check(f"key {place}"))
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(allowed), limiter._store.state.failures)
"""


@pytest.mark.parametrize("lease", [1, 8])
def test_eight_processes_get_the_limit_and_no_more(server: RedisServer, lease: int):
    command = [sys.executable, "-c", PROCESS, server.url, str(lease), "60"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    told = [process.communicate("go\n", timeout=120)[0].split() for process in processes]
    assert all(failures == "0" for _, failures in told)
    allowed = sum(int(count) for count, _ in told)
    assert allowed == 400 if lease == 1 else 400 - 8 * 4 * (lease - 1) <= allowed <= 400


def test_leases_save_round_trips_and_give_back_what_is_not_spent(server: RedisServer, clock: Clock):
    limits = {"key": SlidingWindow(1000, 3600)}
    limiter = Limiter(limits, store=patient(server.url, lease=20))
    before = calls(server)
    assert all(limiter.check("one") for _ in range(500))
    assert calls(server) - before <= 30
    assert asyncio.run(limiter.check_async("one"))
    clock.ahead += 1.05  # what is left is no longer this process's
    assert limiter.check("one")
    assert Limiter(limits, store=patient(server.url)).check("one", 0).remaining == 1000 - 502
    for number in range(50):  # leases of keys that are not seen again go
        assert limiter.check(f"key {number}")
    clock.ahead += 1.05
    for number in range(50):
        assert limiter.check(f"other {number}")
    store = limiter._store
    assert store is not None and len(store._leases) <= 52


def test_the_lease_of_a_call_that_was_cancelled_is_renewed(own: RedisServer, clock: Clock):
    store = RedisStore(own.url, lease=4, deadline=0.3)
    limiter = Limiter({"key": "100/hour"}, store=store)

    async def cancel() -> None:
        own.pause()
        task = asyncio.ensure_future(limiter.check_async("one"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        own.resume()
        await store.aclose()

    asyncio.run(cancel())
    clock.ahead += 3
    for _ in range(20):
        assert limiter.check("one")
    assert max(lease.size for lease in store._leases.values()) == 4


def test_a_server_that_stands_still_holds_nobody_up(own: RedisServer):
    """A check waits as long as the deadline, a few times, then not at all; a server that goes on is asked again."""
    store = RedisStore(own.url, deadline=0.5, on_failure="fail_closed")
    limiter = Limiter({"key": "10/hour"}, store=store)
    assert limiter.check("one").remaining == 9
    own.pause()
    begin = time.monotonic()
    waits = []
    for _ in range(100):
        began = time.monotonic()
        assert not limiter.check("one")
        waits.append(time.monotonic() - began)
    assert time.monotonic() - begin < 10
    assert 3 <= sum(wait > 0.4 for wait in waits) <= 4
    assert store.state.failures in (3, 4) and not store.state.available
    own.resume()
    end = time.monotonic() + 10
    while not limiter.check("one", 0) and time.monotonic() < end:
        time.sleep(0.05)
    # Scripts that were sent before the deadline may have run when the server went on.
    assert 3 <= limiter.check("one").remaining <= 8


async def test_a_slow_server_does_not_block_the_event_loop():
    with running("--enable-debug-command", "yes") as slow:
        store = RedisStore(slow.url, deadline=0.5, on_failure="fail_open")
        limiter = Limiter({"key": "10/hour"}, store=store)
        assert (await limiter.check_async("one")).remaining == 9
        thread = threading.Thread(target=lambda: slow.client.execute_command("DEBUG", "SLEEP", "4"))
        thread.start()
        await asyncio.sleep(0.1)
        longest, last = 0.0, time.monotonic()

        async def beat() -> None:
            nonlocal longest, last
            while True:
                await asyncio.sleep(0.005)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        heart = asyncio.ensure_future(beat())
        begin = time.monotonic()
        assert all(await asyncio.gather(*(limiter.check_async("one") for _ in range(50))))
        assert time.monotonic() - begin < 3
        heart.cancel()
        assert longest < 2
        assert store.state.failures >= 1
        thread.join()
        await store.aclose()


@pytest.mark.parametrize("on_failure", ["fail_open", "fail_closed", "local"])
def test_a_server_that_is_gone(on_failure: Any):
    with running() as own:
        store = RedisStore(own.url, on_failure=on_failure, processes=4)
        limiter = Limiter({"key": "40/hour", "user": TokenBucket(1, 8)}, store=store)
        assert limiter.check("one")
        own.kill()
        told = [limiter.check("one") for _ in range(30)]
        assert asyncio.run(limiter.check_async({"key": "two", "user": "one"})).allowed == (on_failure != "fail_closed")
        assert [each.allowed for each in limiter.check_many([("three", 1, 0)])] == [on_failure != "fail_closed"]
        allowed = [each for each in told if each]
        assert len(allowed) == {"fail_open": 30, "fail_closed": 0, "local": 10}[on_failure]
        assert all(each.retry_after > 0 for each in told if not each)
        for decision in allowed[:3]:
            limiter.refund("one", decision=decision)
        assert (
            sum(bool(limiter.check("one")) for _ in range(10))
            == {"fail_open": 10, "fail_closed": 0, "local": 3}[on_failure]
        )
        limiter.charge("five", 9)
        assert (
            sum(bool(limiter.check("five")) for _ in range(2))
            == {"fail_open": 2, "fail_closed": 0, "local": 1}[on_failure]
        )
        # Empty, at the same place: the script is not there either.
        own.start()
        end = time.monotonic() + 10
        while not store.state.available and time.monotonic() < end:
            time.sleep(0.02)
        while limiter.check("four").at <= 0 and time.monotonic() < end:
            time.sleep(0.02)
        assert limiter.check("one").remaining == 39
        own.kill()


def test_waiting_for_a_server_that_is_gone_costs_no_core():
    with running() as own:
        store = RedisStore(own.url, on_failure="fail_closed")
        limiter = Limiter({"key": "40/hour"}, store=store)
        own.kill()

        async def wait() -> list[Any]:
            return await asyncio.gather(
                *(limiter.acquire_async(f"key {number % 5}", deadline=2) for number in range(50))
            )

        limiter.check("one")
        before = time.thread_time()
        assert not any(asyncio.run(wait()))
        assert time.thread_time() - before < 0.7
        assert 50 <= store.state.failures < 60  # all that were sent at once, then one a second


def test_a_replica_that_takes_over_goes_on_counting():
    with (
        running("--repl-diskless-sync-delay", "0") as first,
        running("--replicaof", "127.0.0.1", str(first.port)) as replica,
    ):
        store = RedisStore(first.url, deadline=1)
        limiter = Limiter(
            {"key": "10/hour", "user": TokenBucket(1, 8), "team": SlidingWindow(9, 60, exact=False)}, store=store
        )
        keys = {"key": "one", "user": "one", "team": "one"}
        while replica.client.info("replication")["master_link_status"] != "up":
            time.sleep(0.02)
        assert [limiter.check("one").remaining for _ in range(4)] == [9, 8, 7, 6]
        assert limiter.check(keys)
        assert first.client.wait(1, 5000) == 1
        first.kill()
        replica.client.replicaof("NO", "ONE")
        replica.client.config_set("port", str(first.port))
        replica.port = first.port
        assert limiter.check("one").remaining == 4
        assert store.state.failures <= 1


def test_a_connection_that_the_server_has_closed_is_no_failure(server: RedisServer):
    store = patient(server.url)
    limiter = Limiter({"key": "9/hour"}, store=store)
    for left in (8, 7, 6):
        assert limiter.check("one").remaining == left
        assert server.client.client_kill_filter(_type="normal", skipme=True) >= 1
    store.close()
    assert limiter.check("one").remaining == 5
    assert store.state.failures == 0


def test_a_late_reply_is_not_taken_for_the_next_one(own: RedisServer):
    store = RedisStore(own.url, on_failure="fail_open", deadline=1.0)
    limiter = Limiter({"key": "9/hour"}, store=store)
    assert limiter.check("one").remaining == 8
    own.pause()
    assert limiter.check("one").at == 0
    own.resume()
    own.client.ping()  # by now the late reply is there
    told = limiter.check("another")
    assert (told.remaining, told.limit) == (8, "key 9/hour")


def test_threads_have_as_many_connections_as_calls_at_once(server: RedisServer):
    store = patient(server.url)
    limiter = Limiter({"key": "100000/hour"}, store=store)
    lowest = [100_000] * 16

    def work(place: int) -> None:
        for _ in range(50):
            lowest[place] = min(lowest[place], limiter.check("one").remaining)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(lowest) == 100_000 - 16 * 50 and store.state.failures == 0
    assert 1 <= len(store._connections._idle) <= 16
    before = int(server.client.info("clients")["connected_clients"])
    store.close()
    while int(server.client.info("clients")["connected_clients"]) >= before:
        time.sleep(0.01)
    assert limiter.check("one")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork there")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_opens_its_own_connections(server: RedisServer):
    """Also where the URL allows one connection a process."""
    store = patient(f"{server.url}?max_connections=1")
    limiter = Limiter({"key": "1000/hour"}, store=store)
    assert limiter.check("one")
    child = os.fork()
    if child == 0:
        fine = all(limiter.check("one").at > 0 for _ in range(200)) and store.state.failures == 0
        os._exit(0 if fine else 1)
    assert all(limiter.check("one").at > 0 for _ in range(200))
    assert os.waitpid(child, 0)[1] == 0
    assert limiter.check("one").remaining == 1000 - 402 and store.state.failures == 0


def test_any_text_is_a_key(server: RedisServer):
    store = patient(server.url)
    limiter = Limiter({"key": "2/hour"}, store=store)
    for key in ("é", "\ud800", "\0", "{x}", "a b\r\n"):
        assert limiter.check(key).remaining == 1
        assert asyncio.run(limiter.check_async(key)).remaining == 0
    assert store.state.failures == 0


def test_no_server_at_all():
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    limiter = Limiter({"key": "2/hour"}, store=store)
    assert [bool(limiter.check("one")) for _ in range(4)] == [True, True, False, False]


def test_a_key_of_another_kind_is_a_failure_and_no_exception(server: RedisServer):
    store = patient(server.url, on_failure="fail_open")
    limiter = Limiter({"key": "2/hour"}, store=store)
    assert limiter.check("one")
    client = server.client
    (name,) = client.keys("*")
    client.set(name, "somebody else's")
    assert limiter.check("one")
    assert store.state.failures == 1 and "WRONGTYPE" in store.state.last_failure


@pytest.mark.parametrize(
    ("what", "values"),
    [
        ("name", ["", None, "a{b}", 5]),
        ("deadline", [0, -1, nan, inf, "1", None]),
        ("on_failure", ["", "open", None]),
        ("processes", [0, -1, 1.5, None, 1 << 40]),
        ("lease", [0, -1, nan, None, 1 << 40]),
    ],
)
def test_options_that_make_no_sense(what: str, values: list[Any]):
    for value in values:
        with pytest.raises(ValueError, match=what):
            RedisStore("redis://127.0.0.1:1/0", **{what: value})


def test_limits_that_redis_cannot_count():
    store = RedisStore("redis://127.0.0.1:1/0")
    with pytest.raises(ValueError, match="for Redis"):
        Limiter({"key": TokenBucket(512, 10**12, name="odd")}, store=store)
    largest = SlidingWindow(1 << 53, 86400 * 30, exact=False)
    assert Limiter({"key": largest}, store=store).check("one")
