"""The gate: switch, breaker, counters, and calls that fall back to stock."""

from __future__ import annotations

import asyncio
import pickle
import threading
import timeit
from collections.abc import Callable
from types import ModuleType

import pytest

from litellm_accel import settings
from litellm_accel.fastpath import decline

Hot = Callable[[str], ModuleType]


def _stock(value: int) -> str:
    if value < 0:
        raise ValueError("negative")
    return f"stock {value}"


def test_a_served_call_is_counted_and_stock_does_not_run(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.switch(True)
    assert gate.pure(lambda value: f"fast {value}", pytest.fail)(3) == "fast 3"
    assert (gate.served, gate.declined, gate.faults) == (1, {}, 0)


def test_a_closed_gate_runs_stock_and_counts_nothing(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    assert gate.pure(pytest.fail, _stock)(value=3) == "stock 3"
    assert (gate.served, gate.declined, gate.faults) == (0, {}, 0)


def test_a_declined_call_runs_stock_and_its_reason_is_counted(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.switch(True)
    call = gate.pure(lambda value: gate.decline("odd value"), _stock)
    assert [call(1), call(2)] == ["stock 1", "stock 2"]
    assert (gate.served, gate.declined) == (0, {"odd value": 2})


def test_the_callers_own_error_is_raised_by_stock_and_is_no_fault(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.switch(True)

    def fast(value: int) -> str:
        raise KeyError("worded by the fast path")

    with pytest.raises(ValueError, match="negative"):
        gate.pure(fast, _stock)(-1)
    assert gate.faults == 0


def test_faults_fall_back_to_stock_and_open_the_breaker(hot: Hot) -> None:
    gate = hot("gate").Gate("part", max_faults=3)
    gate.switch(True)
    runs = []

    def fast(value: int) -> str:
        runs.append(value)
        raise RuntimeError("broken")

    call = gate.pure(fast, _stock)
    assert [call(value) for value in range(5)] == [f"stock {value}" for value in range(5)]
    assert runs == [0, 1, 2], "an open breaker keeps calls away from the accelerated path"
    assert (gate.on, gate.faults, gate.last_fault) == (False, 3, "RuntimeError: broken")
    gate.switch(True)
    assert not gate.on, "switching does not close the breaker"
    gate.reset_errors()
    assert (gate.on, gate.faults, gate.last_fault) == (True, 0, "")


def test_resetting_errors_does_not_switch_on(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.reset_errors()
    assert not gate.on


def test_interrupts_are_neither_faults_nor_retried(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.switch(True)

    def fast(value: int) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gate.pure(fast, pytest.fail)(1)
    assert gate.faults == 0


def test_counters_are_exact_across_threads(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.switch(True)
    call = gate.pure(lambda value: gate.decline("even") if value % 2 == 0 else value, lambda value: value)
    threads = [threading.Thread(target=lambda: [call(value) for value in range(4000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (gate.served, gate.declined) == (16000, {"even": 16000})


def test_a_reason_is_told_in_words_with_what_it_is_about(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    for name in ("temperature", "seed", "seed"):
        gate.decline(decline.ARGUMENT.of(name))
    gate.decline(decline.INTERNAL_CALL)
    assert gate.declined == {"argument 'temperature'": 1, "argument 'seed'": 2, "internal call": 1}


def test_ever_new_things_are_counted_under_their_reason_alone(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    for _ in range(2):
        for number in range(1000):
            gate.decline(decline.ARGUMENT.of(f"name {number}"))
            gate.decline(decline.PATCHED.of(f"name {number % 3}"))
    assert len(gate.declined) == 100 + 1 + 3
    assert gate.declined["argument 'name 99'"] == 2
    assert gate.declined["argument …"] == 1800
    assert gate.declined["patched name 2"] == 666
    gate.clear()
    gate.decline(decline.ARGUMENT.of("name 999"))
    assert gate.declined == {"argument 'name 999'": 1}


def test_clear_zeroes_every_counter(hot: Hot) -> None:
    gate = hot("gate").Gate("part", max_faults=1)
    gate.switch(True)
    gate.serve()
    gate.decline("reason")
    gate.fault(ValueError("x"))
    gate.clear()
    assert (gate.on, gate.served, gate.declined, gate.faults, gate.last_fault) == (True, 0, {}, 0, "")


def test_declined_is_one_object_and_its_counts_cannot_be_changed_from_outside(hot: Hot) -> None:
    module = hot("gate")
    gate = module.Gate("part")
    assert gate.decline("reason") is module.DECLINED
    gate.declined["reason"] = 99
    assert gate.declined == {"reason": 1}
    assert pickle.loads(pickle.dumps(module.DECLINED)) is module.DECLINED


@pytest.mark.parametrize("max_faults", [0, -1])
def test_a_breaker_needs_at_least_one_fault(hot: Hot, max_faults: int) -> None:
    with pytest.raises(ValueError, match="max_faults must be at least 1"):
        hot("gate").Gate("part", max_faults)


@pytest.mark.skipif(settings.pure(), reason="the bound is the compiled gate's")
def test_the_compiled_gate_costs_under_300_nanoseconds() -> None:
    from litellm_accel._cy.gate import Gate

    gate = Gate("part")
    gate.switch(True)
    call = gate.pure(_stock, _stock)
    loops = 500  # short turns: a busy machine leaves some of them alone
    through, straight = (
        min(column) / loops
        for column in zip(
            *(
                (timeit.timeit(lambda: call(1), number=loops), timeit.timeit(lambda: _stock(1), number=loops))
                for _ in range(400)
            ),
            strict=True,
        )
    )
    assert through - straight < 0.3e-6


@pytest.mark.parametrize("result", [None, {"a": 1}, (1, 2), ValueError("a value, not an error")])
def test_ready_gives_its_result_at_once(hot: Hot, result: object) -> None:
    async def main() -> object:
        return await hot("gate").Ready(result)

    assert asyncio.run(main()) is result


def test_a_coroutine_call_chooses_between_fast_and_stock(hot: Hot) -> None:
    gate = hot("gate").Gate("part", 2)
    gate.switch(True)

    async def stock(number: int) -> str:
        if number < 0:
            raise KeyError(number)
        return f"stock {number}"

    def fast(number: int) -> object:
        if number > 100:
            raise ZeroDivisionError("internal")
        return f"fast {number}" if number > 10 else gate.decline("small")

    call = gate.coroutine(fast, stock)

    async def ask(number: int) -> object:
        return await call(number)

    assert asyncio.run(ask(11)) == "fast 11"
    assert asyncio.run(ask(1)) == "stock 1"
    assert (gate.served, gate.declined, gate.faults) == (1, {"small": 1}, 0)
    with pytest.raises(KeyError):
        asyncio.run(ask(-1))
    assert gate.faults == 0
    assert asyncio.run(ask(101)) == "stock 101"
    assert asyncio.run(ask(102)) == "stock 102"
    assert (gate.faults, gate.on) == (2, False)
    assert asyncio.run(ask(11)) == "stock 11"


def test_a_user_error_after_an_internal_one_is_no_fault_of_a_coroutine(hot: Hot) -> None:
    gate = hot("gate").Gate("part")
    gate.switch(True)

    async def stock() -> None:
        raise ValueError("the user's")

    def fast() -> None:
        raise RuntimeError("ours")

    async def ask() -> None:
        await gate.coroutine(fast, stock)()

    with pytest.raises(ValueError, match="the user's"):
        asyncio.run(ask())
    assert gate.faults == 0
