"""What the proxy does once a call is done: the guardrails that LiteLLM finds are found with less work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from litellm import Router

from litellm_accel import hot, patching
from litellm_accel.gateway import guardrail_entries, model_guardrails

_NOTED = "standard_logging_guardrail_information"


def made(module: ModuleType, kind: str, door: str, switched: bool = True) -> tuple[Callable[..., Any], Any, list[Any]]:
    """Return what is tested, LiteLLM's function, and a list of what that is asked meanwhile."""
    try:
        stock = patching.stock_copy(patching.resolve(module.TARGET))
    except patching.PatchError:
        pytest.skip("a release without it, or without a proxy")
    if not module.is_known(stock):
        pytest.skip("a release in which it is another")
    gate = hot.gate.Gate("proxy")
    gate.switch(switched)
    asked: list[Any] = []

    def asking(*given: Any) -> Any:
        asked.append(given)
        return stock(*given)

    answering = getattr(module, kind)(gate, stock)
    answering._stock = asking
    return getattr(answering, door), stock, asked


_BUCKETS: tuple[Any, ...] = (None, {}, {"a": 1}, {1: 2}, {_NOTED: None}, {_NOTED: {"a": 1}}, {_NOTED: [{"a": 1}]}, 1)


@pytest.mark.parametrize("switched", [True, False])
def test_entries_of_guardrails_are_the_same(switched: bool) -> None:
    find, stock, asked = made(guardrail_entries, "GuardrailEntries", "find", switched)
    times = 0
    for bucket in _BUCKETS:
        for params in (
            None,
            1,
            {},
            *({"metadata": one, "litellm_metadata": two} for one in _BUCKETS for two in _BUCKETS),
        ):
            held = SimpleNamespace(model_call_details={"litellm_params": params})
            assert find(bucket, held) == stock(bucket, held)
            times += 1
    assert (len(asked) < times) is switched


def test_guardrails_of_deployments_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    merge, stock, asked = made(model_guardrails, "ModelGuardrails", "merge")
    params = {"model": "openai/gpt-4o-mini", "api_key": "sk-a"}
    rows = [
        {"model_name": "gpt", "litellm_params": params, "model_info": {"id": "without"}},
        {"model_name": "gpt", "litellm_params": {**params, "guardrails": ["a"]}, "model_info": {"id": "with"}},
        {"model_name": "gpt", "litellm_params": {**params, "guardrails": "b"}, "model_info": {"id": "text"}},
    ]
    router = Router(model_list=rows)

    def told(number: Any, *more: Any, to: Any = router) -> bool:
        """Return whether LiteLLM was asked."""
        data = {"model": "gpt", "metadata": {"model_info": {"id": number}, "guardrails": ["c"]}}
        asked.clear()
        got, expected = merge(data, to, *more), stock(copy.deepcopy(data), to, *more)
        assert got == expected
        return bool(asked)

    assert told("with")
    assert told("text")
    assert told("another")
    assert told(None)
    assert told("without", False)
    assert told("without", to=None)
    if type(router.registry()._router).__name__ != "HostRegistry":
        return
    assert not told("without")
    monkeypatch.setattr(type(router.registry()), "deployment", lambda self, id: None, raising=False)
    assert told("without")
