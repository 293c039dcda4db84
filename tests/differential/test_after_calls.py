"""What the proxy does once a call is done: LiteLLM's own prices, guardrails and limits, found with less work."""

from __future__ import annotations

import copy
import datetime
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from litellm import Router
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.types.utils import Choices, EmbeddingResponse, Message, ModelResponse, Usage

from answering import made
from litellm_accel.gateway import guardrail_entries, model_guardrails, owned_limits, prepared_costs

_NOTED = "standard_logging_guardrail_information"


class Answer(ModelResponse):
    """An answer of a class of its own."""


def usage(**more: Any) -> Usage:
    return Usage(prompt_tokens=9, completion_tokens=3, total_tokens=12, **more)


def answer(kind: type = ModelResponse, cost: float | None = 0.25, **more: Any) -> Any:
    found = kind(
        id="d",
        created=1,
        model="gpt-4o-mini",
        choices=[Choices(message=Message(content="a"))],
        **{"usage": usage(), **more},
    )
    found._hidden_params = {"model_id": "d-1"} if cost is None else {"model_id": "d-1", "response_cost": cost}
    return found


def logging(**state: Any) -> Any:
    start = datetime.datetime(2026, 1, 1)
    messages = [{"role": "user", "content": "question"}]
    found = Logging(
        model="gpt-4o-mini",
        messages=messages,
        stream=False,
        call_type="acompletion",
        start_time=start,
        litellm_call_id="a",
        function_id="b",
        litellm_trace_id="c",
    )
    found.update_environment_variables(
        model="gpt-4o-mini",
        user="",
        optional_params={},
        litellm_params={"metadata": {"deployment": "openai/gpt-4o-mini"}},
        custom_llm_provider="openai",
    )
    details = state.pop("details", {})
    found.model_call_details.update(details)
    vars(found).update(state)
    return found


_END = datetime.datetime(2026, 1, 1, 0, 0, 1)
_NOW = _END.replace(tzinfo=datetime.UTC)
_DEFERRED = "deferred_success_result"
_CALLS: dict[str, tuple[Callable[[], Any], Callable[[], Any], bool]] = {
    "plain": (logging, answer, True),
    "details of tokens": (
        logging,
        lambda: answer(usage=usage(prompt_tokens_details={"cached_tokens": 4}, cost=1.0)),
        True,
    ),
    "deferred": (lambda: logging(**{_DEFERRED: (answer(), datetime.datetime(2026, 1, 1), _END)}), lambda: None, True),
    "not priced": (logging, lambda: answer(cost=None), True),
    "for nothing": (logging, lambda: answer(cost=0.0), True),
    "from a cache": (lambda: logging(details={"cache_hit": True}), answer, True),
    "counted": (lambda: logging(details={"combined_usage_object": usage()}), answer, True),
    "no payload": (lambda: logging(stream=True), answer, True),
    "no usage": (logging, lambda: answer(usage=None), False),
    "an empty usage": (logging, lambda: answer(usage=Usage()), True),
    "a class of its own": (logging, lambda: answer(Answer), False),
    "embeddings": (logging, lambda: EmbeddingResponse(model="a", usage=usage()), False),
    "a dictionary": (logging, lambda: {"usage": {"prompt_tokens": 1}}, False),
    "nothing": (logging, lambda: None, False),
}


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.0)


def settled(prepare: Callable[..., Any], call: str) -> Any:
    make_logging, make_answer, _ = _CALLS[call]
    held, response = make_logging(), make_answer()
    returned: Any = None
    try:
        returned = prepare(held, response, _NOW)
    except Exception as error:
        returned = type(error), str(error)
    prepared = held.prepared_cost
    parts = (
        None
        if prepared is None
        else (prepared.amount, list(prepared.payload.items()), prepared.usage, prepared.price_known)
    )
    hidden = getattr(response, "_hidden_params", None)
    return (
        returned is prepared or repr(returned),
        repr(parts),
        repr({name: value for name, value in held.model_call_details.items() if name != "litellm_logging_obj"}),
        repr(hidden),
        repr(held.cost_breakdown),
    )


def preparing(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Any], Any, list[Any]]:
    """Return what is tested, LiteLLM's method, and a list of what that is asked or made into a dictionary meanwhile."""
    prepare, stock, asked = made(prepared_costs, "PreparedCosts", "prepare")
    own: Any = prepare.__self__  # type: ignore[attr-defined]
    extract = own._extract
    monkeypatch.setattr(own, "_extract", lambda *given: (asked.append(given), extract(*given))[1])
    return prepare, stock, asked


@pytest.mark.parametrize("call", _CALLS)
def test_prices_are_the_same(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, stock, asked = preparing(monkeypatch)
    assert settled(prepare, call) == settled(stock, call)
    assert bool(asked) is not _CALLS[call][2]


def test_a_price_is_settled_once_and_shares_nothing_with_the_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, _, asked = preparing(monkeypatch)
    held, response = logging(), answer()
    prepared = prepare(held, response, _NOW)
    assert not asked
    assert prepare(held, response, _NOW) is prepared
    known = prepared.payload["model_map_information"]["model_map_value"]
    assert prepared.usage is not response.usage
    assert known == (
        known_now := held.prepare_success_logging(
            result=response,
            start_time=held.start_time,
            end_time=_END,
            cache_hit=None,
            standard_logging_object=None,
            build_logging_payload=True,
            publish_logging_payload=False,
        )[3]["model_map_information"]["model_map_value"]
    )
    assert known is not known_now


def test_somebody_s_methods_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, _, asked = preparing(monkeypatch)
    monkeypatch.setattr(ModelResponse, "model_dump", lambda self, **more: {})
    prepare(logging(), answer(), _NOW)
    assert len(asked) == 1  # LiteLLM's method


def test_a_fault_leaves_the_step_to_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, stock, asked = preparing(monkeypatch)
    own: Any = prepare.__self__  # type: ignore[attr-defined]
    monkeypatch.delattr(own, "_usage")
    monkeypatch.setattr(prepared_costs, "copied", None)
    assert settled(prepare, "plain") == settled(stock, "plain")
    assert len(asked) == 2
    assert own._gate.faults == 4


_TWICE = [1]


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ({"a": 1, "b": [1.5, None, {"c": True}], "d": {}}, True),
        ([], True),
        (None, True),
        ("text", True),
        ({"one": _TWICE, "two": _TWICE}, False),
        ({"tuple": (1, [2])}, False),
        ({(1, 2): 3}, False),
        ({"set": {1}}, False),
        ({"deep": [[[[[[[[[[[[1]]]]]]]]]]]]}, False),
    ],
)
def test_copies_are_deepcopys(value: Any, is_plain: bool) -> None:
    one, two = prepared_costs.copied(value, set(), 0), copy.deepcopy(value)
    assert (one is not prepared_costs.NOT_PLAIN) is is_plain
    if is_plain:
        assert one == two
        assert _shape(one) == _shape(two)
        assert not {id(held) for held in _containers(one)} & {id(held) for held in _containers(value)}


def _containers(value: Any) -> Iterator[Any]:
    if type(value) in (dict, list):
        yield value
        for held in value.values() if type(value) is dict else value:
            yield from _containers(held)


def _shape(value: Any) -> list[int]:
    """Return which of the containers in ``value`` are the same one."""
    ids = [id(held) for held in _containers(value)]
    return [ids.index(number) for number in ids]


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


_LIMIT = "model_tpm_limit"


@pytest.mark.parametrize(
    ("own", "budgets", "is_seen"),
    [
        (None, None, True),
        ({}, {}, True),
        ({"a": 1, "tags": ["b"]}, None, True),
        ({_LIMIT: {"gpt": 1}}, None, False),
        ({_LIMIT: {"other": 1}}, None, False),
        ({_LIMIT: None}, {}, False),
        ({1: 2}, None, False),
        ("text", None, False),
        (None, {"gpt": {"tpm_limit": 1}}, False),
        (None, {"gpt": {"rpm_limit": 1}}, False),
        (None, 1, False),
    ],
)
def test_limits_of_keys_are_the_same(own: Any, budgets: Any, is_seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    owns, stock, asked = made(owned_limits, "OwnedLimits", "owns")
    kind, model_of = owns.__self__._limiter, owns.__self__._model  # type: ignore[attr-defined]
    limiter, model = object.__new__(kind), model_of("gpt", "gpt")

    def found(ask: Callable[..., Any], *given: Any) -> Any:
        try:
            return ask(*given)
        except Exception as error:
            return type(error), str(error)

    metadata = {"user_api_key_metadata": own, "user_api_key_model_max_budget": budgets}
    assert found(owns, limiter, metadata, model) == found(stock, limiter, metadata, model)
    assert bool(asked) is not is_seen
    assert owns(limiter, metadata, None) is False
    asked.clear()
    owns(object.__new__(type("Limiter", (kind,), {})), {}, model)
    monkeypatch.setattr(kind, "_key_owns_model_limit", lambda *given: True)
    assert owns(limiter, {}, model) is True
    assert len(asked) == 2
