"""The harness: stock equals stock, and each kind of wrong accelerator is caught for what it does wrong.

The wrong accelerators below are loaded by the worker processes under this module's name.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
import os
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from litellm_accel.verify import comparison, masks, scenarios, sides
from litellm_accel.verify.comparison import STOCK, Difference, differ
from releases import routers_in_python

PLAIN = "parameters/none@acompletion"

# --- a wrong accelerator ----------------------------------------------------------------------------------------------


def altered(change: Callable[[Any], None]) -> Callable[[Any], Any]:
    """A completion whose responses are changed a little."""

    def make(stock: Any) -> Any:
        async def call(**kwargs: Any) -> Any:
            response = await stock(**kwargs)
            change(response)
            return response

        return call

    return make


def sent_otherwise(**changes: Any) -> Callable[[Any], Any]:
    """A completion that sends something else."""

    def make(stock: Any) -> Any:
        async def call(**kwargs: Any) -> Any:
            return await stock(**{**kwargs, **changes})

        return call

    return make


def one_attempt_more(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        await stock(**kwargs)
        return await stock(**kwargs)

    return call


def one_attempt_less(stock: Any) -> Any:
    answers: list[Any] = []

    async def call(**kwargs: Any) -> Any:
        if not answers:
            answers.append(await stock(**kwargs))
        return answers[0]

    return call


def changed_arguments(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        response = await stock(**kwargs)
        kwargs["logit_bias"]["1"] = 0
        return response

    return call


def other_exception(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        import litellm

        try:
            return await stock(**kwargs)
        except litellm.BadRequestError as error:
            raise litellm.APIError(400, str(error), "openai", "gpt-4o") from None

    return call


def without_callbacks(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        import litellm

        kept, litellm.callbacks = litellm.callbacks, []
        try:
            return await stock(**kwargs)
        finally:
            litellm.callbacks = kept

    return call


def callbacks_twice(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        import litellm

        response = await stock(**kwargs)
        for callback in litellm.callbacks:
            if hasattr(callback, "recorder"):
                await callback.async_log_success_event({"standard_logging_object": {}}, response, None, None)
        return response

    return call


def task_left(stock: Any) -> Any:
    tasks: list[Any] = []

    async def call(**kwargs: Any) -> Any:
        if not tasks:
            tasks.append(asyncio.ensure_future(asyncio.sleep(60)))
        return await stock(**kwargs)

    return call


def hanging(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        time.sleep(60)

    return call


def crashing(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        os.write(2, b"the fast path crashes")
        os._exit(3)

    return call


def same(stock: Any) -> Any:
    async def call(**kwargs: Any) -> Any:
        return await stock(**kwargs)

    return call


#: What is wrong with litellm.acompletion in which run, and where that must be noticed.
FAULTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "parameters/temperature": (altered(lambda r: setattr(r, "system_fingerprint", "fp_other")), "system_fingerprint"),
    "parameters/top-p": (altered(lambda r: setattr(r, "created", float(r.created))), "created"),
    "parameters/n": (altered(lambda r: r._hidden_params.pop("response_cost")), "response_cost"),
    "parameters/user": (altered(lambda r: r.model_fields_set.discard("system_fingerprint")), ".set"),
    "parameters/stop-text": (altered(lambda r: setattr(r, "_response_headers", None)), "_response_headers"),
    "parameters/stop-list": (altered(lambda r: r._hidden_params.update(litellm_call_id="x")), "litellm_call_id"),
    "parameters/seed": (altered(lambda r: print("served")), "printed"),
    "parameters/penalties": (altered(lambda r: warnings.warn("amiss", stacklevel=1)), "warnings"),
    "parameters/max-tokens": (sent_otherwise(extra_headers={"x-fast": "1"}), "headers"),
    "parameters/max-completion-tokens": (sent_otherwise(temperature=0), "body.temperature"),
    "parameters/json-text": (one_attempt_more, "len(requests)"),
    "parameters/json-object": (one_attempt_less, "len(requests)"),
    "parameters/floats": (task_left, "tasks left"),
    "parameters/logit-bias": (changed_arguments, "arguments after the call"),
    "errors/status-400-after-plain": (other_exception, "APIError"),
    "callbacks/payload": (without_callbacks, "callbacks"),
    "callbacks/async": (callbacks_twice, "callbacks"),
    "parameters/mock-response": (same, "way"),  # must be declined, and the counters say that it is served
}
CRASH, HANG, AFTERWARDS = "parameters/tools", "parameters/stream-false", "parameters/null-values"


@contextmanager
def wrong(component: str) -> Iterator[Any]:
    """An accelerator that is wrong in one way for each run of FAULTS, and right in others."""
    import litellm

    from litellm_accel.verify.stage import Stage

    calls = 0
    faults = {**{name: make for name, (make, _) in FAULTS.items()}, CRASH: crashing, HANG: hanging}
    stock, play = litellm.acompletion, Stage.play

    def play_wrong(stage: Any) -> Any:
        function = faults.get(stage.scenario.name, same)(stock)

        async def counted(**kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return await function(**kwargs)

        litellm.acompletion = counted
        return play(stage)

    Stage.play = play_wrong
    yield lambda: (calls, {})
    Stage.play, litellm.acompletion = play, stock


@contextmanager
def miscounting(component: str) -> Iterator[Any]:
    """An accelerator that changes a router's counters and declines every call."""
    import litellm

    stock = litellm.Router.acompletion
    calls = 0

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        response = await stock(self, *args, **kwargs)
        self.total_calls["openai/gpt-4o"] += 1
        return response

    litellm.Router.acompletion = call
    yield lambda: (0, {"unknown argument": calls})
    litellm.Router.acompletion = stock


@contextmanager
def faulting(component: str) -> Iterator[Any]:
    """An accelerator that leaves every call to stock because it fails inside."""
    import litellm

    stock = litellm.acompletion
    calls = 0

    async def call(**kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return await stock(**kwargs)

    litellm.acompletion = call
    yield lambda: (0, {comparison.FAULT: calls})
    litellm.acompletion = stock


def not_starting(component: str) -> Any:
    raise ImportError("this accelerator is broken")


# --- what the harness says --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forked() -> Iterator[sides.ForkServer | None]:
    """What all these tests fork their processes from: LiteLLM is imported once."""
    with sides.fork_server() as server:
        yield server


@pytest.fixture(scope="module")
def verdicts(forked: sides.ForkServer | None) -> dict[str, comparison.Verdict]:
    """What the harness says of the wrong accelerator, by scenario."""
    names = [*FAULTS, CRASH, HANG, AFTERWARDS]
    before, threads = comparison.RUN_SECONDS, set(threading.enumerate())
    comparison.RUN_SECONDS = 8.0
    try:
        patterns = [f"{name}@acompletion" for name in names]
        result = comparison.run("chat", patterns=patterns, accelerator=f"{__name__}:wrong", pairs=1, forked=forked)
    finally:
        comparison.RUN_SECONDS = before
    assert set(threading.enumerate()) <= threads  # others' may have ended
    return {verdict.run.scenario.name: verdict for verdict in result.verdicts}


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_is_caught(verdicts, name):
    verdict, where = verdicts[name], FAULTS[name][1]
    assert not verdict.ok and not verdict.error
    assert any(where in difference.where for difference in verdict.differences), str(verdict)


def test_a_crash_is_reported(verdicts):
    assert not verdicts[CRASH].ok and "the fast path crashes" in verdicts[CRASH].error


def test_a_hanging_call_is_ended(verdicts):
    assert not verdicts[HANG].ok and "did not answer within 8 s" in verdicts[HANG].error


def test_a_right_call_passes(verdicts):
    """Also in a process that was started anew."""
    assert verdicts[AFTERWARDS].ok and verdicts[AFTERWARDS].way == "served", str(verdicts[AFTERWARDS])


@routers_in_python
def test_the_state_of_a_router_and_what_must_be_served(forked):
    patterns = ("parameters/none@arouter",)
    result = comparison.run("chat", patterns=patterns, accelerator=f"{__name__}:miscounting", forked=forked)
    (verdict,) = result.verdicts
    assert verdict.way == "declined" and verdict.reasons == {"unknown argument": 4}
    wheres = [difference.where for difference in verdict.differences]
    assert verdict.unserved and any("total_calls" in where for where in wheres)


def test_an_internal_fault_is_a_difference(forked):
    result = comparison.run("chat", patterns=(PLAIN,), accelerator=f"{__name__}:faulting", forked=forked)
    (verdict,) = result.verdicts
    assert verdict.unserved and [str(difference.accelerated) for difference in verdict.differences] == [
        "3 internal faults"
    ]


def test_an_accelerator_that_cannot_start_is_reported(forked):
    with pytest.raises(RuntimeError, match="this accelerator is broken"):
        comparison.run("chat", patterns=(PLAIN,), accelerator=f"{__name__}:not_starting", forked=forked)


def test_stock_equals_stock(forked):
    """A few of each theme; all of them in the slow test below."""
    patterns = ("parameters/top*", "errors/status-42*", "callbacks/both*", "router/fallback-error*", "caching/hit*")
    result = comparison.run("chat", patterns=patterns, accelerator=STOCK, forked=forked)
    assert "\n".join(map(str, result.failed)) == ""
    assert len(result.verdicts) > 15


@pytest.mark.slow
def test_all_of_stock_equals_stock():
    result = comparison.run("chat", thorough=True, accelerator=STOCK)
    assert "\n".join(map(str, result.failed)) == ""


EQUAL, OTHER = '{"logged": []}', '{"logged": ["other"]}'
COLLIDED = f'{{"logged": ["RuntimeError: {comparison.COLLISIONS[0]}"]}}'


class Played:
    """A side that shows prepared descriptions, the last one again and again."""

    def __init__(self, *shown: str) -> None:
        self.shown = list(shown)
        self.plays = 0

    def play(self, run: Any, seconds: float) -> Any:
        self.plays += 1
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0], (1, {}), ""


@pytest.mark.parametrize(
    ("stock", "accelerated", "ok", "tries"),
    [
        ([EQUAL], [EQUAL], True, 1),
        ([OTHER, OTHER, EQUAL], [EQUAL], True, 1),
        ([EQUAL], [COLLIDED, EQUAL], True, 2),
        ([EQUAL, COLLIDED], [COLLIDED, COLLIDED, EQUAL], True, 2),
        ([EQUAL], [OTHER, EQUAL], False, 1),
        ([EQUAL], [COLLIDED, OTHER, EQUAL], False, 2),
        ([EQUAL], [COLLIDED], False, comparison.PLAYS),
    ],
)
def test_the_accelerated_side_plays_again_only_where_threads_collided(stock, accelerated, ok, tries):
    (run,) = [run for run in scenarios.runs("chat") if run.id == PLAIN]
    pair = comparison._Pair("chat", STOCK, None)
    pair.stock, pair.accelerated = Played(*stock), Played(*accelerated)  # type: ignore[assignment]
    assert pair.compare(run).ok == ok
    assert pair.accelerated.plays == tries


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no scenarios for 'nothing'"):
        comparison.run("nothing")
    with pytest.raises(ValueError, match="matches nowhere"):
        comparison.run("chat", patterns=("nowhere/*",))


# --- comparing and masking --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stock", "accelerated", "where"),
    [
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["len(a)", "a[1]"]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, ["a.b"]),
        ([{"a": 1}], [{"a": 1}], []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        (float("nan"), float("nan"), []),
    ],
)
def test_differ(stock, accelerated, where):
    assert [difference.where for difference in differ(stock, accelerated)] == where


def test_a_difference_is_readable():
    text = str(Difference("outcomes[0].n", 1, "x" * 1000))
    assert text.splitlines()[0] == "outcomes[0].n" and "stock:       1" in text and "1002 characters" in text


ONE = "0b8a3a0e-3c51-4d3b-9a53-0f2d1f5a7b11"
TWO = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def test_identifiers_keep_their_identity():
    assert masks.mask([ONE, f"again {ONE}", TWO]) == ["<id 1>", "again <id 1>", "<id 2>"]
    assert masks.mask([ONE, TWO]) != masks.mask([ONE, ONE])
    assert masks.mask({"b": TWO, "a": ONE}) == masks.mask({"a": TWO, "b": ONE})


@pytest.mark.parametrize(
    "text",
    [
        "chatcmpl-provider",
        "2024-08-06",
        "gpt-4o-2024-08-06",
        "127.0.0.1:8000",
        "0.5",
        "1700000000",
        "a" * 64,
        "e3b0c442",
    ],
)
def test_what_is_not_random_is_not_masked(text):
    assert masks.mask(text) == text


def test_clocks_are_described_by_their_types():
    from litellm_accel.verify.observe import describe

    moment = datetime.datetime(2024, 1, 1)
    held = {"start_time": 1.5, "latency:x": [1, "a", None], "temperature": 1.5, "moment": moment, "created": [1, True]}
    assert describe(held) == {
        "start_time": "<float>",
        "latency:x": ["<int>", "<str>", None],
        "temperature": 1.5,
        "moment": "<datetime>",
        "created": [1, True],
    }
    assert describe({"a": {"b": [1]}}, depth=1) == {"a": "<builtins.dict, too deep>"}


def test_what_threads_race_for_is_left_out():
    heard = [{"event": "x", "kwargs": {"log_event_type": "post_api_call", "has_logged_sync_success": True, "n": 1}}]
    assert masks.without_races(heard) == [{"event": "x", "kwargs": {"log_event_type": "post_api_call", "n": 1}}]
    assert masks.without_races(heard, masks.RACING_IN_THREADS) == [{"event": "x", "kwargs": {"n": 1}}]


def test_clocks_are_masked_by_name_and_type():
    assert masks.clock("start_time", 1.5) == "<float>"
    assert masks.clock("start_time", None) is None
    assert masks.clock("temperature", 1.5) is None
    assert masks.clock("created", 1_700_000_000) is None
    assert masks.clock("created", int(time.time())) == "<now>"


@pytest.mark.parametrize("text", [ONE, ONE.replace("-", ""), f"x-{TWO}", "a" * 5000 + ONE, f"created: 1 {TWO}"])
def test_every_kind_of_identifier_is_masked(text):
    assert masks.mask([text, text]) == [masks.mask(text)] * 2
    assert ONE[:8] not in masks.mask(text) and TWO[:8] not in masks.mask(text)
    assert masks.mask({text: 1}) == {masks.mask(text): 1}


def test_long_texts_are_compared_whole():
    assert masks.mask("a" * 5000 + "b") != masks.mask("a" * 5000 + "c")


def test_every_scenario_is_named_once_and_can_be_listed():
    runs = scenarios.runs("chat")
    assert len({run.id for run in runs}) == len(runs)
    assert len({run.scenario.name for run in runs}) >= 150
    assert {run.via for run in runs} == {"completion", "acompletion", "router", "arouter"}


@pytest.mark.parametrize("component", sorted(scenarios.THEMES))
def test_a_short_proof_plays_every_subject_once_and_every_entry_point(component):
    short, runs = scenarios.short(component), scenarios.runs(component)
    ids = [run.id for run in short]
    assert len(set(ids)) == len(ids)
    assert set(ids) < {run.id for run in runs}
    subjects = {run.scenario.name for run in runs if not run.scenario.crossing}
    assert {run.scenario.name for run in short} == subjects
    assert len(subjects) >= (50 if component == "embeddings" else 150)
    assert {run.via for run in short} == {run.via for run in runs}
    assert {name.partition("/")[0] for name in subjects} == set(scenarios.THEMES[component])


def test_a_short_proof_plays_every_provider_argument_message_answer_and_status():
    from litellm_accel.verify.scenarios import messages, parameters, providers, responses

    names = {run.scenario.name for run in scenarios.short("chat")}
    assert {f"providers/{name}" for name, _, _ in providers.PROVIDERS} <= names
    assert {scenario.name for theme in (parameters, messages) for scenario in theme.SCENARIOS} <= names
    assert {f"responses/{shape.name}" for shape in responses.SHAPES} <= names
    statuses = (400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 529)
    assert {f"errors/status-{status}-after-plain" for status in statuses} <= names


def test_run_that_a_router_counts_in_two_minutes_is_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from litellm_accel.provider import Provider
    from litellm_accel.verify import stage

    moments = itertools.chain([59.0, 61.0], itertools.repeat(70.0))  # the first play ends in the next minute
    clock = {name: getattr(time, name) for name in ("sleep", "monotonic", "process_time")}
    monkeypatch.setattr(stage, "time", types.SimpleNamespace(time=lambda: next(moments), **clock))
    monkeypatch.setattr(stage, "_wait_for_steady_minute", lambda seconds: None)
    plays: list[bool] = []
    play = stage.Stage.play

    def counted(self: Any) -> Any:
        description = play(self)
        plays.append(self.crossed_minute)
        return description

    monkeypatch.setattr(stage.Stage, "play", counted)
    run = next(run for run in scenarios.runs("chat") if run.id == "parameters/none@arouter")
    loop = asyncio.new_event_loop()
    with Provider() as provider:
        description = stage.played(run, provider, loop)
    loop.close()
    assert plays == [True, False]
    assert len(description["requests"]) == run.calls
