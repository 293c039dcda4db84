"""Calls that no record of verify proves: each kind is compared with stock on the user's own calls, and then served."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.utils import ModelResponseStream

import litellm_accel
from fastpath_switch import LISTS, Switch
from litellm_accel._backend import load
from litellm_accel.fastpath.admission.environment import Environment
from litellm_accel.fastpath.notify import payload
from litellm_accel.fastpath.passage import Passage
from litellm_accel.fastpath.plans import comparison
from litellm_accel.fastpath.plans.proof import Differs, Proof, Trial
from litellm_accel.fastpath.plans.slot import PlanSlot
from litellm_accel.fastpath.router import RunningCalls
from litellm_accel.fastpath.router_state import RoutedPlan, RouterState
from litellm_accel.fastpath.streams import builder
from litellm_accel.fastpath.streams import source as stream_source
from litellm_accel.provider import Provider
from litellm_accel.stock import releases, seams
from litellm_accel.stock.trace import Trace
from litellm_accel.verify import background, masks, records
from litellm_accel.verify.observe import Recorder, Streamed, SuccessLogger, outcome
from releases import routers_in_python
from settling import settled

streaming = load("streaming")
template = load("template")

MODES = ("completion", "acompletion", "router", "sync router")


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module", autouse=True)
def imported(provider: Provider) -> None:
    """What LiteLLM imports with its first calls has been imported."""
    for mode in MODES:
        calls(provider, mode, 1)


@pytest.fixture
def switch() -> Switch:
    return Switch(pooled=False, recorded=False)


def said(number: int) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Question {number}"}]


def caller(provider: Provider, mode: str, **arguments: Any) -> Callable[[Any], Awaitable[Any]]:
    """Return what makes one call with given messages."""
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
    if "router" in mode:
        entry = {"model_name": "g", "litellm_params": {**deployment, "rpm": 10**6, "tpm": 10**9}}
        router = Router(model_list=[{**entry, "model_info": {"id": "one"}}])

    async def call(messages: Any, **more: Any) -> Any:
        if mode == "acompletion":
            return await litellm.acompletion(messages=messages, **deployment, **arguments, **more)
        if mode == "completion":
            return litellm.completion(messages=messages, **deployment, **arguments, **more)
        if mode == "router":
            return await router.acompletion(model="g", messages=messages, **arguments, **more)
        return await asyncio.to_thread(router.completion, model="g", messages=messages, **arguments, **more)

    return call


class Steps:
    """How many calls the fast path had served after each."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.served: list[int] = []

    def __call__(self) -> None:
        self.served.append(self._switch.gate.served)


def calls(
    provider: Provider,
    mode: str,
    count: int,
    each: Callable[[], None] = lambda: None,
    messages: Callable[[int], Any] = said,
    **arguments: Any,
) -> list[Any]:
    """Make ``count`` calls, one after the other; ``each()`` after each."""

    async def run() -> list[Any]:
        call, results = caller(provider, mode, **arguments), []
        for number in range(count):
            results.append(await call(messages(number)))
            each()
            await settled()  # what has been compared is known by the next call
        return results

    return asyncio.run(run())


# --- served once it is proven -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listens", [False, True], ids=["alone", "with a listener"])
def test_a_kind_is_served_after_three_calls_that_agree(provider: Provider, mode: str, listens: bool) -> None:
    if listens:
        litellm.callbacks.append(Reader())
    calls(provider, mode, 1)  # a process's first call that somebody hears of sets LiteLLM up
    first = {}
    for recorded in (True, False):
        switch = Switch(pooled=False, recorded=recorded)
        steps = Steps(switch)
        with switch.on():
            calls(provider, mode, 9, steps)
        assert not switch.gate.faults
        first[recorded] = steps.served.index(1)
        assert steps.served[first[recorded] :] == list(range(1, 10 - first[recorded]))
        assert switch.gate.declined.get("being proven", 0) == (0 if recorded else 3)
    assert first[False] == first[True] + 3


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("mode", ["router", "sync router"])
def test_a_routers_stream_fails_as_stocks(provider: Provider, mode: str, place: int) -> None:
    """Some releases' routers read the first chunk themselves."""
    event = json.dumps({"error": {"message": "slow down", "code": 429}})
    fails = f"answer as: plain{json.dumps({'inject': {str(place): event}})}"

    async def read(stream: Any) -> Any:
        if mode == "router":
            return [chunk.choices[0].delta.content async for chunk in stream]
        return await asyncio.to_thread(lambda: [chunk.choices[0].delta.content for chunk in stream])

    async def play() -> list[Any]:
        call, found = caller(provider, mode, stream=True, num_retries=0), []
        for text in (*(f"Question {number}" for number in range(6)), fails, fails):
            try:
                found.append(await read(await call([{"role": "user", "content": text}])))
            except Exception as error:
                found.append((type(error), str(error)))
        return found

    expected = asyncio.run(play())
    with (
        records.proving("chat"),
        records.proving("streaming"),
        litellm_accel.accelerated(["chat", "streaming"], strict=True),
    ):
        found = asyncio.run(play())
        row = litellm_accel.status()["chat"]
    assert found == expected
    assert expected[-1][0] is not str, "it did not fail"
    assert row.served >= 3, row.declined
    assert not row.faults


class Reader(CustomLogger):  # type: ignore[misc]
    """Keeps the payloads that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(kwargs["standard_logging_object"])

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)


# --- differences ------------------------------------------------------------------------------------------------------


def other(node: Any, name: str) -> Any:
    """Return a template's node that makes something else of the first constant called ``name`` in it."""
    done = []

    def changed(node: Any) -> Any:
        if type(node) is not tuple:
            return node
        if node and node[0] == template.DICT and len(node) == 3 and name in node[1] and not done:
            place = node[1].index(name)
            done.append(name)
            return node[0], node[1], (*node[2][:place], (template.CONSTANT, "odd"), *node[2][place + 1 :])
        return tuple(map(changed, node))

    made = changed(node)
    assert done, f"no {name} in the template"
    return template.Template(made)


def _body(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.open({}, b',"odd":1' + plan.suffix, ())


def _header(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.request["headers"]._before.append((b"X-Odd", b"1"))


def _timeout(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.request["timeout"] = None


def _result(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape, made in plan.templates.items():
        plan.templates[shape] = other(made.root, "object")


def _hidden(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find = plan.header_maps.find
    monkeypatch.setattr(type(plan.header_maps), "find", lambda self, names: find(names)[1:])


def _price(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if plan.notifier is None:
        plan.cost._total = lambda result: 7.0
    else:
        plan.notifier._rates = None
        pricer = plan.notifier.pricer
        plan.notifier.pricer = lambda logging, total: lambda result: pricer(logging, total)(result) * 2


def _told(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.notifier._root = other(plan.notifier._root.root, "optional_params")


def _fault(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "way_of", lambda sent: 1 / 0)


PLANTED: dict[str, tuple[Any, str, bool]] = {
    "body": (_body, "request body 'odd'", False),
    "header": (_header, "request header 'x-odd'", False),
    "timeout": (_timeout, "request timeout", False),
    "result": (_result, "result 'object'", False),
    "hidden": (_hidden, "hidden parameter 'additional_headers.", False),
    "price": (_price, "price", False),
    "price told": (_price, "price", True),
    "told": (_told, "what callbacks are told, ", True),
    "fault": (_fault, "ZeroDivisionError of the fast path's own", False),
}


def observed(provider: Provider, mode: str, count: int, *, listens: bool, **arguments: Any) -> Any:
    """Return all that can be seen of some calls: what was returned, told and sent; ids and clocks masked."""
    recorder, returned = Recorder(), []
    logger = SuccessLogger(recorder)
    if listens:
        litellm.callbacks.append(logger)
    provider.clear()
    try:
        results = calls(provider, mode, count, **arguments)
        returned = [outcome(result) for result in results]
        deadline = time.monotonic() + 5
        while listens and len(recorder) < count and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        for name in LISTS:
            held = getattr(litellm, name)
            held[:] = [callback for callback in held if callback is not logger]
    sent = [(request.path, request.headers, request.body) for request in provider.requests()]
    told = masks.without_races([recorder.here, recorder.elsewhere], masks.RACING_IN_THREADS)
    return masks.mask([returned, told]), sent


@pytest.mark.parametrize("mode", ["acompletion", "sync router"])
@pytest.mark.parametrize("name", PLANTED)
def test_one_difference_refuses_the_kind(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str, name: str
) -> None:
    plant, said, listens = PLANTED[name]
    if mode == "sync router" and name == "result" and seams.has_core_of_its_own():
        pytest.skip("its calls are told, by templates that were learned with their texts")
    expected = observed(provider, mode, 8, listens=listens)
    planted = []
    placed = Proof.placed

    def planting(*given: Any) -> PlanSlot:
        slot = placed(*given)
        plant(slot.plan, monkeypatch)
        planted.append(slot)
        return slot

    monkeypatch.setattr(Proof, "placed", planting)
    with switch.on():
        found = observed(provider, mode, 8, listens=listens)
    assert planted
    assert found == expected
    # What stock's router calls then comes by the other door, as another kind.
    assert switch.gate.served == 0 or mode == "sync router"
    refused = [f"differs from stock: {said}"]
    if name == "hidden" and mode == "sync router" and seams.has_core_of_its_own():
        refused.append("unlearnable: the fast path builds another result")  # shown while the router's kind is learned
    reasons = [reason for reason in switch.gate.declined if reason.startswith(tuple(refused))]
    assert reasons, switch.gate.declined
    assert sum(switch.gate.declined[reason] for reason in reasons) >= (2 if len(refused) > 1 else 3)
    assert bool(switch.gate.faults) == (name == "fault")


def _counts_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = RoutedPlan.counted_for
    monkeypatch.setattr(
        RoutedPlan, "counted_for", lambda *given: {name: count + 1 for name, count in counted(*given).items()}
    )


def _adds_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = RouterState.finish

    def finished(self: RouterState, router: Any, group: str, result: Any) -> None:
        finish(self, router, group, result)
        result._hidden_params["additional_headers"]["x-odd"] = 1

    monkeypatch.setattr(RouterState, "finish", finished)


@routers_in_python
@pytest.mark.parametrize("mode", ["router", "sync router"])
@pytest.mark.parametrize(
    ("plant", "said"), [(_counts_tokens, "tokens that the router counts"), (_adds_a_header, "response header 'x-odd'")]
)
def test_what_a_router_adds_is_compared(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str, plant: Any, said: str
) -> None:
    plant(monkeypatch)
    with switch.on():
        calls(provider, mode, 6)
    assert switch.gate.served == 0
    assert f"differs from stock: {said}" in switch.gate.declined


@pytest.mark.parametrize("mode", ["acompletion", "router"])
def test_payloads_are_compared_while_stock_s_are_told(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    made = payload._Made.payload
    monkeypatch.setattr(payload._Made, "payload", lambda *given: {**made(*given), "model": "odd"})
    alike, compared = payload.equivalent, []

    def learned(one: Any, two: Any, pairs: Any) -> bool:
        compared.append(one)
        return len(compared) == 1 or alike(one, two, pairs)  # the one that it is learned from

    monkeypatch.setattr(payload, "equivalent", learned)
    reader = Reader()
    litellm.callbacks.append(reader)
    with switch.on():
        calls(provider, mode, 14)
    assert len(compared) == 2
    assert switch.gate.served
    assert switch.gate.declined["differs from stock: payload 'model'"] >= 2
    assert len(reader.told) == 14 and all(told["model"].endswith("gpt-4o-mini") for told in reader.told)


@pytest.mark.parametrize("mode", ["completion", "acompletion"])
def test_what_is_handed_on_in_the_end_is_compared(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A LiteLLM that changes what it tells after the moment at which the fast path looks."""
    update = litellm.utils.update_response_metadata

    def updated(**given: Any) -> None:
        update(**given)
        given["logging_obj"].model_call_details["odd"] = 1

    monkeypatch.setattr(litellm.utils, "update_response_metadata", updated)
    monkeypatch.setattr(Trace, "_note_stranger", lambda self, *_: None)
    monkeypatch.setattr(Environment, "decline_reason", lambda self: None)
    monkeypatch.setattr(Environment, "met", lambda self: None)
    litellm.callbacks.append(Reader())
    switch = Switch(pooled=False, recorded=False)
    with switch.on():
        calls(provider, mode, 8)
    assert switch.gate.served == 0
    assert switch.gate.declined["differs from stock: what callbacks are told, 'model_call_details.odd'"] >= 3


def test_several_refused_kinds_refuse_the_component(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "masked", lambda result, masked=comparison.masked: odd(masked(result)))

    def odd(result: Any) -> Any:
        odd.count += 1
        result.object = f"odd {odd.count}"
        return result

    odd.count = 0
    with switch.on():
        for limit in (1, 2, 3):
            assert switch.pipeline.proof.refusal is None and switch.gate.on
            calls(provider, "acompletion", 3, n=limit)
    assert switch.pipeline.proof.refusal == "not equal on your own calls: differs from stock: result 'object'"
    assert not switch.gate.on


# --- what counts ------------------------------------------------------------------------------------------------------


def test_calls_with_equal_messages_prove_calls_with_these(provider: Provider, switch: Switch) -> None:
    """And count once for all others."""
    steps = Steps(switch)
    with switch.on():
        calls(provider, "acompletion", 9, steps, lambda number: said(0 if number < 6 else number))
    assert steps.served == [0, 0, 0, 0, 1, 2, 2, 2, 3]
    assert switch.gate.declined == {"learned from": 1, "being proven": 5}


def test_a_plan_that_expires_is_compared_once_more(provider: Provider, switch: Switch) -> None:
    steps = Steps(switch)

    def each() -> None:
        steps()
        if len(steps.served) == 5:
            for slot in switch.pipeline.plans.values():
                slot.expires = 0.0

    with switch.on():
        calls(provider, "acompletion", 9, each)
    assert steps.served == [0, 0, 0, 0, 1, 1, 1, 2, 3]


def test_a_wave_of_calls_is_enough(provider: Provider, switch: Switch) -> None:
    async def run() -> None:
        call = caller(provider, "router")
        await call(said(0))
        await call(said(1))
        for wave in (1, 2):
            await asyncio.gather(*(call(said(100 * wave + number)) for number in range(12)))

    with switch.on():
        asyncio.run(run())
    assert switch.gate.served == 12, switch.gate.declined
    assert not switch.gate.faults


def test_free_arguments_and_metadata_widen_what_is_proven(provider: Provider, switch: Switch) -> None:
    litellm.callbacks.append(Reader())
    served = []

    async def run() -> None:
        deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
        for number in range(12):
            more = {"user": f"user {number}", "metadata": {"session": number}}
            await litellm.acompletion(messages=said(number), **deployment, **more)
            await asyncio.sleep(0.01)
            served.append(switch.gate.served)

    with switch.on():
        asyncio.run(run())
    assert served[-1] >= 5, (served, switch.gate.declined)
    assert not switch.gate.faults


def test_errors_show_nothing_and_are_stock_s(provider: Provider, switch: Switch) -> None:
    async def run() -> None:
        deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "max_retries": 0}
        for number in range(3):
            await litellm.acompletion(messages=said(number), api_base=provider.url, **deployment)
        for number in range(3):
            with pytest.raises(litellm.RateLimitError):
                provider_fails.append(number)
                await litellm.acompletion(
                    messages=[{"role": "user", "content": f"fail {number}"}],
                    api_base=provider.at("error-429"),
                    **deployment,
                )

    provider_fails: list[int] = []
    with switch.on():
        asyncio.run(run())
    assert switch.gate.served == 0 and len(provider_fails) == 3
    assert not any(reason.startswith("differs") for reason in switch.gate.declined)


# --- components and streams -------------------------------------------------------------------------------------------


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, restored: None) -> None:
    """No record fits."""
    monkeypatch.setattr(records, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(records, "user_directory", lambda: tmp_path / "user")


def test_the_report_tells_how_each_component_is_proven(unproven: None) -> None:
    with litellm_accel.accelerated() as report:
        levels = {one.name: one.proof for one in report.components if one.state == "active"}
        assert levels == {
            **dict.fromkeys(("tokens", "cost"), "at start"),
            **({} if seams.has_core_of_its_own() else dict.fromkeys(("routing", "rate_limit"), "at start")),
            **dict.fromkeys(("connection_pool", "chat", "streaming", "embeddings"), "own calls"),
        }
        assert "own calls" in str(report) and report.to_dict()["components"][4]["proof"] == "own calls"
    with records.proving("chat"), litellm_accel.accelerated("chat") as report:
        assert report["chat"].proof == "recorded"


def test_records_can_be_demanded(unproven: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "recorded")
    with litellm_accel.accelerated() as report:
        for name in ("connection_pool", "chat", "streaming", "embeddings"):
            assert report[name].state == "unproven" and "litellm-accel verify" in report[name].reason


def test_a_component_that_differs_is_off_with_its_reasons(
    unproven: None, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = comparison.Comparison._judge_result

    def differing(self: Any, sent: Any) -> None:
        judge(self, sent)
        raise Differs("result 'moon'")

    monkeypatch.setattr(comparison.Comparison, "_judge_result", differing)
    with litellm_accel.accelerated("chat"):
        for limit in (1, 2, 3):
            calls(provider, "acompletion", 3, n=limit)
        status = litellm_accel.status()["chat"]
    assert (status.state, status.served) == ("off", 0)
    assert status.reason == "not equal on your own calls: differs from stock: result 'moon'"


class Watched:
    """What the components have served, and where streams were opened."""

    def __init__(self) -> None:
        self.chat: list[int] = []
        self.chunks: list[int] = []

    def __call__(self) -> None:
        report = litellm_accel.status()
        self.chat.append(report["chat"].served)
        self.chunks.append(report["streaming"].served)


def streams(
    provider: Provider,
    mode: str,
    count: int,
    each: Callable[[], None] = lambda: None,
    noted: bool = False,
    **arguments: Any,
) -> list[Any]:
    """Read ``count`` streams, ``noted`` with other metadata each, and return what can be seen of them."""

    async def run() -> list[Any]:
        found = []
        for number in range(count):
            more = {"metadata": {"number": number, "nested": {"list": [number]}}} if noted else {}
            stream = await calling(said(number), **more)
            watched = Streamed(stream)
            if mode[0] == "a" or mode == "router":
                async for chunk in stream:
                    watched.take(chunk)
            else:
                for chunk in stream:
                    watched.take(chunk)
            found.append(masks.mask(watched.end()))
            await asyncio.sleep(0.05)
            each()
        return found

    calling = caller(provider, mode, stream=True, **arguments)
    return asyncio.run(run())


@pytest.mark.parametrize("noted", [False, True], ids=["plain", "with metadata"])
@pytest.mark.parametrize("mode", ["completion", "acompletion", "router"])
def test_streams_are_served_once_they_are_proven(unproven: None, provider: Provider, mode: str, noted: bool) -> None:
    expected = streams(provider, mode, 9, noted=noted)
    steps = Watched()
    with litellm_accel.accelerated(["chat", "streaming"]):
        found = streams(provider, mode, 9, steps, noted)
        report = litellm_accel.status()
    assert found == expected
    assert 1 in steps.chat and steps.chat.index(1) <= 6 and steps.chat[-1] >= 3, report["chat"].declined
    assert steps.chunks[0] > 0  # chunks of a shape that has come three times
    assert not report["chat"].faults and not report["streaming"].faults
    for name in ("chat", "streaming"):
        assert not [reason for reason in report[name].declined if reason.startswith("differs")]


def _chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = stream_source.ChunkTrial.__init__

    def planting(self: Any, shape: Any, made: Any, clues: Any) -> None:
        root = other(made.response.root, "object")
        begin(self, shape, streaming.ChunkTemplate(root, made.noted, made.guarded), clues)

    monkeypatch.setattr(stream_source.ChunkTrial, "__init__", planting)


def _attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = stream_source.ChunkTrial.__init__

    def planting(self: Any, shape: Any, made: Any, clues: Any) -> None:
        kind, names, nodes = made.noted.root
        root = template.Template((kind, (*names, "model"), (*nodes, (template.CONSTANT, "odd"))))
        begin(self, shape, streaming.ChunkTemplate(made.response, root, made.guarded), clues)

    monkeypatch.setattr(stream_source.ChunkTrial, "__init__", planting)


def _end(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = builder.Assembler._learned
    monkeypatch.setattr(builder.Assembler, "_learned", lambda *given: other(learned(*given).root, "object"))


def _opening(monkeypatch: pytest.MonkeyPatch) -> None:
    placed = Proof.placed

    def planting(*given: Any) -> PlanSlot:
        slot = placed(*given)
        opening = slot.plan.opening
        opening._root = other(opening._root.root, "optional_params")
        return slot

    monkeypatch.setattr(Proof, "placed", planting)


def _usage(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = litellm.Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
    odd = ModelResponseStream(choices=[], usage=usage)
    monkeypatch.setattr(streaming, "bearing_usage", lambda chunks, kind: [odd])


@pytest.mark.parametrize("mode", ["completion", "acompletion"])
@pytest.mark.parametrize(
    ("plant", "component", "said"),
    [
        (_usage, "streaming", "usage of a stream"),
        (_chunk, "streaming", "chunk 'object'"),
        (_attribute, "streaming", "stream's 'model'"),
        (_end, "streaming", "end of a stream, 'object'"),
        (_opening, "chat", "the fast path opens the stream differently: "),
    ],
)
def test_a_stream_that_differs_is_stock_s(
    unproven: None,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    plant: Any,
    component: str,
    said: str,
) -> None:
    # Later releases count the tokens of a stream whose provider does not, and that is stock's.
    counted = {"stream_options": {"include_usage": True}} if plant is _end else {}
    expected = streams(provider, mode, 7, **counted)
    plant(monkeypatch)
    with litellm_accel.accelerated(["chat", "streaming"]):
        found = streams(provider, mode, 7, **counted)
        report = litellm_accel.status()
    assert found == expected
    assert [reason for reason in report[component].declined if reason.startswith(f"differs from stock: {said}")]
    if component == "chat":
        assert report["chat"].served == 0


def test_a_record_that_comes_later_counts_at_once(
    unproven: None, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(background, "begin", begun.append)
    monkeypatch.setattr(background, "_LOOK_SECONDS", 0.0)
    with pytest.raises(ValueError, match="'foreground' is not 'background'"):
        litellm_accel.accelerate("chat", verify="foreground")  # type: ignore[arg-type]
    assert litellm_accel.accelerate("chat")["chat"].proof == "own calls"
    assert not begun  # by itself
    litellm_accel.restore()
    litellm_accel.accelerate("chat", verify="background")
    assert begun == [["chat"]]
    calls(provider, "acompletion", 2)
    assert litellm_accel.status()["chat"].served == 0
    records.user_directory().mkdir()
    monkeypatch.setattr(records, "fitting", lambda component: {})
    calls(provider, "acompletion", 2)
    status = litellm_accel.status()["chat"]
    assert (status.proof, status.served) == ("recorded", 2)
    litellm_accel.restore()
    monkeypatch.undo()
    litellm_accel.accelerate("chat")
    assert begun == [["chat"]]


def test_the_environment_can_ask_for_verify(unproven: None, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(background, "begin", begun.append)
    monkeypatch.setenv("LITELLM_ACCEL_VERIFY", "background")
    with litellm_accel.accelerated():
        assert begun == [["chat", "streaming", "embeddings"]]
    with (
        records.proving("chat"),
        records.proving("streaming"),
        records.proving("embeddings"),
        litellm_accel.accelerated(),
    ):
        assert len(begun) == 1  # there is nothing to prove


def test_a_router_call_that_comes_and_goes_beside_a_compared_one_is_noticed() -> None:
    running = RunningCalls()
    compared, other = (Passage(lambda: None, lambda error: None) for _ in range(2))
    running.add(compared)
    is_alone = running.alone()
    assert is_alone()
    running.add(other)
    assert not is_alone() and not running.alone()()
    running.discard(other)
    assert not is_alone()  # it may have been counted meanwhile
    assert running.alone()()


# --- a LiteLLM that nobody knows --------------------------------------------------------------------------------------


@pytest.fixture
def strange(switch: Switch) -> Switch:
    """As where LiteLLM's source is of no known release."""
    switch.pipeline.proof.is_strange = True
    return switch


def worded(number: int) -> list[dict[str, Any]]:
    """Messages of one outline, and every fifth one of another."""
    word = ("red", "one", "two", "six")[number % 4]
    return [{"role": "user", "content": f"Say {word} and {number % 5}" + " more" * 20 * (number % 5 == 4)}]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listens", [False, True], ids=["alone", "with a listener"])
def test_a_conversation_of_another_outline_is_compared_first(
    provider: Provider, strange: Switch, mode: str, listens: bool
) -> None:
    if listens:
        litellm.callbacks.append(Reader())
    steps = Steps(strange)
    with strange.on():
        calls(provider, mode, 35, steps, messages=worded)
    assert not strange.gate.faults
    served = [after > before for before, after in zip([0, *steps.served], steps.served, strict=False)]
    assert not any(served[:4])
    assert not served[4]
    assert sum(served[-6:]) >= 4 and sum(served) >= 12  # one call is compared whenever twice as many were served


def test_one_difference_at_another_outline_refuses_the_kind(
    provider: Provider, strange: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = comparison.Comparison.judge

    def judged(self: comparison.Comparison) -> None:
        judge(self)
        if len(self._call.encoded) > 100:
            raise Differs("request body 'store'")

    monkeypatch.setattr(comparison.Comparison, "judge", judged)
    steps = Steps(strange)
    with strange.on():
        calls(provider, "acompletion", 12, steps, messages=lambda number: said(number) if number < 8 else worded(4))
    assert steps.served[7] > 0
    assert steps.served[-1] == steps.served[7]
    assert strange.gate.declined["differs from stock: request body 'store'"] == 4


def test_one_call_is_compared_whenever_twice_as_many_were_served(provider: Provider, strange: Switch) -> None:
    with strange.on():
        calls(provider, "completion", 45, messages=lambda number: worded(number % 4))
    assert strange.gate.declined["being proven"] == 3 + 3  # the eighth, the sixteenth and the thirty-second


def test_a_router_of_a_litellm_that_nobody_knows_is_left_to_itself(provider: Provider, strange: Switch) -> None:
    """Its attempts are calls of LiteLLM's functions, which are served."""
    with strange.on():
        calls(provider, "router", 20, messages=lambda number: worded(number % 4))
    assert strange.gate.served >= 10
    assert strange.pipeline.plans


@pytest.fixture
def partly(monkeypatch: pytest.MonkeyPatch) -> Switch:
    """As where a record fits, but a module is strange of which it says nothing."""
    odd = "litellm.litellm_core_utils.rules"
    switch = Switch(pooled=False)
    switch.pipeline.proof._relied -= {odd}
    monkeypatch.setattr(releases, "strange", lambda modules: odd if odd in modules else None)
    return switch


def test_a_record_says_nothing_of_other_source_that_ran(provider: Provider, partly: Switch) -> None:
    proof = partly.pipeline.proof
    assert proof.is_recorded
    with partly.on():
        calls(provider, "acompletion", 3)
        assert partly.gate.served == 0
        assert not proof.is_recorded and not proof.is_known and proof.refusal is None
        calls(provider, "acompletion", 5)
    assert partly.gate.served >= 3


def test_where_records_are_demanded_other_source_that_ran_ends_all(
    provider: Provider, partly: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "recorded")
    with partly.on():
        calls(provider, "acompletion", 9)
    assert partly.gate.served == 0
    assert partly.pipeline.proof.refusal == "litellm.litellm_core_utils.rules is of no LiteLLM release that is known"


def test_what_is_made_at_the_end_is_always_stocks(strange: Switch) -> None:
    proof = strange.pipeline.proof
    trial = Trial(proof, lambda difference: None)
    for _ in range(5):
        assert trial.is_on
        trial.agreed()
    proof.is_strange = False
    assert not trial.is_on
