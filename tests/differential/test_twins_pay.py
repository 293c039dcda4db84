"""Without compiled modules too, a declined call costs next to nothing and a served one less than stock."""

from __future__ import annotations

import json

from forked import Imported

# Processor time, the least of many short rounds in which both sides take turns: what else runs cannot make it less.
PROGRAM = """
import asyncio, json, os, time

os.environ["LITELLM_ACCEL_PURE"] = "1"
import litellm
import litellm_accel
from litellm_accel.components.chat import COMPONENT
from litellm_accel.provider import Provider
from litellm_accel.stock import seams
from litellm_accel.verify import records

MESSAGES = [{"role": "user", "content": "Hello"}]


def least(times, *works):
    for work in works:
        work()
        work()
    found = [[] for _ in works]
    for _ in range(8):
        for work, spent in zip(works, found):
            begin = time.process_time()
            for _ in range(times):
                work()
            spent.append((time.process_time() - begin) / times)
    return [min(spent) for spent in found]


def accelerated(*names):
    with records.proving("chat"):
        report = litellm_accel.accelerate(names, strict=True)
    assert all(report[name].state == "native" or report[name].backend == "pure" for name in names), str(report)


with Provider() as provider:
    asked = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "messages": MESSAGES}
    stock, = least(4, lambda: litellm.completion(**asked))
    accelerated("chat")
    served, = least(4, lambda: litellm.completion(**asked))
    assert litellm_accel.status()["chat"].served > 20
    for odd in ({**asked, "caching": True}, {**asked, "messages": [{"role": "user", "content": object()}]}):
        before = sum(litellm_accel.status()["chat"].declined.values())
        declined, = least(100, lambda: COMPONENT.pipeline.admit("sync", (), odd, time.time()))
        assert sum(litellm_accel.status()["chat"].declined.values()) == before + 802
        print(json.dumps(["declined", declined / stock]))
    print(json.dumps(["completion", served / stock]))
litellm_accel.restore()

pairs = {}
accelerated("cost", "tokens", "routing", "rate_limit")
from litellm_accel import activation

gate = {name: activation.activations()[name].gate for name in ("cost", "tokens", "routing", "rate_limit")}
usage = litellm.Usage(prompt_tokens=9, completion_tokens=3, total_tokens=12)
response = litellm.ModelResponse(model="gpt-4o", usage=usage)
pairs["cost"] = lambda: litellm.completion_cost(response, model="gpt-4o", custom_llm_provider="openai")
pairs["tokens"] = lambda: litellm.token_counter(model="gpt-4o", text="How many tokens are these?")
if not seams.has_core_of_its_own():
    from litellm.caching.dual_cache import DualCache
    from litellm.router_utils.pre_call_checks.model_rate_limit_check import ModelRateLimitingCheck

    params = {"model": "openai/gpt-4o-mini", "api_key": "sk-1"}
    names = [str(number) for number in range(10)]
    router = litellm.Router(
        [{"model_name": "g", "litellm_params": dict(params), "model_info": {"id": name}} for name in names]
    )
    check = ModelRateLimitingCheck(DualCache())
    limited = {"litellm_params": {**params, "rpm": 10**9}, "model_info": {"id": "one"}}

    def choose():
        choice = router.async_get_available_deployment("g", {"metadata": {}}, MESSAGES).__await__()
        try:
            while True:
                next(choice)
        except StopIteration as chosen:
            assert chosen.value

    pairs["routing"] = choose
    pairs["rate_limit"] = lambda: check.pre_call_check(limited)
for name, work in pairs.items():
    def left():
        gate[name].switch(False)
        work()
        gate[name].switch(True)

    for _ in range(3):
        work()
    before = gate[name].served
    fast, slow = least(60, work, left)
    assert gate[name].served == before + 482, (name, dict(gate[name].declined))
    print(json.dumps([name, fast / slow]))
"""


def test_twins_pay(imported: Imported) -> None:
    ran = imported.run(PROGRAM)
    assert ran.returncode == 0, ran.stderr
    ratios = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[")]
    assert [name for name, _ in ratios[:3]] == ["declined", "declined", "completion"]
    for name, ratio in ratios:  # 30 µs are a hundredth of LiteLLM's call
        assert ratio < (0.02 if name == "declined" else 1.0), (name, ratio)
    assert len(ratios) >= 5
