"""What a running process says of itself: figures, comparisons, health, recommendations, exports."""

from __future__ import annotations

import csv
import json
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import litellm_accel
from litellm_accel import activation, hot
from litellm_accel.components.base import Native
from litellm_accel.fastpath import decline
from litellm_accel.operation import latency
from made_up import Part, Register

ROLLOUT = {"components": {"one": {"mode": "rollout", "percent": 50}}, "statistics": True}


def gate(name: str = "one") -> Any:
    return activation.activations()[name].gate


def test_figures_are_those_of_the_calls(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    litellm_accel.accelerate("one", config=ROLLOUT)
    for number in range(200):
        victim.double(number % 5)
    one = litellm_accel.get_performance_stats("one")
    assert one["calls"] == 200 == one["served"] + one["bypassed"] + one["declined"]["zero"]
    assert abs(one["bypassed"] - 100) <= 1 and one["calls_per_second"] > 0
    assert {side: times["calls"] for side, times in one["sides"].items()} == {
        "served": one["served"],
        "declined": one["declined"]["zero"],
        "bypassed": one["bypassed"],
    }
    times = one["sides"]["served"]
    assert 0 < times["p50_us"] <= times["p95_us"] <= times["p99_us"] <= times["max_us"] * 1.02
    everything = litellm_accel.get_performance_stats()
    assert everything["two"]["calls"] == 0 and json.dumps(everything)
    with pytest.raises(ValueError, match="unknown component 'three'"):
        litellm_accel.get_performance_stats("three")
    litellm_accel.reset_stats("one")
    again = litellm_accel.get_performance_stats("one")
    assert again["calls"] == 0 == again["sides"]["served"]["calls"] and again["seconds"] < one["seconds"] + 1


def test_times_are_not_taken_unless_somebody_wants_them(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    victim.double(2)
    assert litellm_accel.get_performance_stats("one")["sides"] is None
    assert litellm_accel.compare_implementations() == {}


def test_both_sides_are_compared(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config=ROLLOUT)
    sides = gate().sides
    for _ in range(100):
        sides[0].record(10_000, False, 10_000)
        sides[2].record(50_000, False, 50_000)
    sides[0].record(10**10, False, 10**10)
    one = litellm_accel.compare_implementations()["one"]
    assert one["stock_is"] == "same traffic"
    assert one["median_ratio"] == pytest.approx(5, rel=0.03) == one["cpu_ratio"], "a call that loads something is none"


def test_cpu_time_saved_is_that_of_the_calls_served(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config={"statistics": True})
    for number in range(1000):
        victim.double(number + 20)
    assert litellm_accel.get_performance_stats("one")["cpu_saved_seconds"] is None, "nobody knows what stock takes"
    sides = gate().sides
    for _ in range(1000):
        sides[2].record(1_000_000, False, 1_000_000)
    sides[2].record(10**10, False, 10**10)  # which loads something
    assert litellm_accel.get_performance_stats("one")["cpu_saved_seconds"] == pytest.approx(1.0, rel=0.05)


def test_figures_are_exact_while_threads_call_and_others_read(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config=ROLLOUT)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            one = litellm_accel.get_performance_stats("one")
            assert one["calls"] >= 0

    reader = threading.Thread(target=read)
    callers = [threading.Thread(target=lambda: [victim.double(n % 7) for n in range(700)]) for _ in range(16)]
    try:
        for thread in [reader, *callers]:
            thread.start()
        for thread in callers:
            thread.join()
    finally:
        over.set()
        sys.setswitchinterval(interval)
        reader.join()
    one = litellm_accel.get_performance_stats("one")
    assert one["calls"] == 16 * 700
    assert sum(times["calls"] for times in one["sides"].values()) == 16 * 700


def test_health_says_what_does_not_serve(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "missing"), Part("three", "triple"))
    litellm_accel.accelerate(["one", "two"])
    assert litellm_accel.health_check() == {
        "healthy": False,
        "problems": ["two is off: victim:missing does not exist in the installed LiteLLM"],
    }
    litellm_accel.configure(components={"two": {"mode": "off"}})
    assert litellm_accel.health_check() == {"healthy": True, "problems": []}
    for _ in range(10):
        victim.double(13)
    (problem,) = litellm_accel.health_check()["problems"]
    assert problem == "one is failed: breaker open after 10 faults; last: RuntimeError: unlucky"
    litellm_accel.reset_errors()
    assert litellm_accel.health_check()["healthy"]


def test_features_and_patches(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    litellm_accel.accelerate("one", config=ROLLOUT)
    assert litellm_accel.get_feature_status() == {
        "one": {"state": "active", "mode": "rollout 50 %", "reason": "serves one"},
        "two": {"state": "off", "mode": "", "reason": "not switched on"},
    }
    assert litellm_accel.get_patch_status() == {"victim:double": {"component": "one", "patched": True}}
    victim.double.__code__ = (lambda value: 0).__code__
    assert not litellm_accel.get_patch_status()["victim:double"]["patched"]


def advice(name: str = "one") -> list[str]:
    return [found["do"] for found in litellm_accel.get_recommendations() if found["component"] == name]


def test_recommendations_say_what_to_change_and_why(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("native", "triple", error=Native("LiteLLM has its own")))
    litellm_accel.accelerate(config={"statistics": True})
    for _ in range(1000):
        victim.double(2)
        gate().decline(decline.LEARNED_FROM)
    for _ in range(400):
        gate().decline(decline.ARGUMENT.of("seed"))
    for _ in range(99):
        gate().decline(decline.ARGUMENT.of("rare"))
    gate().sides[1].record(1_000_000, False, 1_000_000)
    found = [one for one in litellm_accel.get_recommendations() if "pure" not in one["because"]]
    assert {one["component"] for one in litellm_accel.get_recommendations()} == {"one"}, (
        "nothing is missing of the other"
    )
    (one,) = found
    assert one["do"] == decline.ARGUMENT.meaning and one["because"] == "400 calls are left to stock: argument 'seed'"
    assert one["figures"]["calls"] == 400 and one["cpu_seconds"] == pytest.approx(0.4, rel=0.1)


@pytest.mark.skipif("litellm_accel.backend()['gate'].kind == 'pure'", reason="it would be advised to compile")
def test_recommendations_for_modes(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config=ROLLOUT)
    assert advice() == []
    for _ in range(2100):
        victim.double(2)
    assert advice() == ["widen the rollout"]
    litellm_accel.configure(components={"one": {"mode": "shadow"}})
    gate().shadow.equal = 1000
    assert advice() == ["set its mode to rollout"]
    gate().shadow.different = 1
    assert advice() == ["set its mode to off, and report the differences"]
    assert not litellm_accel.health_check()["healthy"]
    litellm_accel.configure(components={"one": {"mode": "canary"}})
    for _ in range(10):
        gate().fault(ValueError("x"))
    assert advice() == ["set its mode to off, and report the fault"]


def test_figures_are_exported(victim: ModuleType, register: Register, tmp_path: Path) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config=ROLLOUT)
    for number in range(100):
        victim.double(number % 4)
    gate().decline(decline.ARGUMENT.of('a "quoted"\nname \\'))
    path = tmp_path / "stats"
    litellm_accel.export_performance_data(path)
    assert json.loads(path.read_text())["one"]["calls"] == 101
    litellm_accel.export_performance_data(path, format="csv")
    rows = {(row["component"], row["figure"]): row["value"] for row in csv.DictReader(path.open(newline=""))}
    assert rows["one", "calls"] == "101" and float(rows["one", "sides.served.p50_us"]) > 0
    litellm_accel.export_performance_data(path, format="prometheus")
    families = {family.name: family for family in text_string_to_metric_families(path.read_text())}
    calls = {sample.labels["side"]: sample.value for sample in families["litellm_accel_calls"].samples}
    assert sum(calls.values()) == 101 and calls["bypassed"] == 50
    reasons = {sample.labels["reason"]: sample.value for sample in families["litellm_accel_declined"].samples}
    assert reasons["argument 'a \"quoted\"\\nname \\\\'"] == 1
    below = [
        (sample.labels["le"], sample.value)
        for sample in families["litellm_accel_call_seconds_below"].samples
        if sample.labels["side"] == "served"
    ]
    assert below[-1] == ("+Inf", calls["served"])
    assert [value for _, value in below] == sorted(value for _, value in below)
    with pytest.raises(ValueError, match="format: 'xml' is not json, csv or prometheus"):
        litellm_accel.export_performance_data(path, format="xml")  # type: ignore[arg-type]


def test_the_usual_call_is_none_that_loads_something() -> None:
    side = hot.gate.Side()
    assert latency.usual(side.buckets) is None
    for _ in range(99):
        side.record(1000, False, -1)
    side.record(10**9, False, -1)
    found = latency.usual(side.buckets)
    assert found is not None and abs(found - 1000) < 16
    assert latency.usual(side.cpu_buckets) is None
    side.record(10**9, False, 500)
    found = latency.usual(side.cpu_buckets)
    assert found is not None and abs(found - 500) < 8
