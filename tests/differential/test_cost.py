"""What calls cost, stock against accelerated: every chat model, generated usages, prices that change; both backends."""

from __future__ import annotations

import copy
import importlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import litellm
import pytest
import wrapt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm import cost_calculator
from litellm.types.utils import (
    CacheCreationTokenDetails,
    Choices,
    CompletionTokensDetailsWrapper,
    Message,
    ModelResponse,
    PromptTokensDetailsWrapper,
    Usage,
)

import litellm_accel
from litellm_accel import _backend, patching
from litellm_accel.components import cost
from litellm_accel.components.base import Unavailable
from litellm_accel.stock import seams
from litellm_accel.stock.providers import PRICED_BY_LIST


def outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> tuple[Any, ...]:
    """What a caller can tell: the result, to the last digit, or the exception and its words."""
    try:
        result = function(*arguments.values())
    except Exception as error:
        return type(error), str(error)
    return type(result), repr(result)


class Pair:
    """LiteLLM's functions and their accelerated counterparts, side by side and not installed."""

    def __init__(self) -> None:
        self.gate = _backend.load("gate").Gate("cost")
        self.gate.switch(True)
        self.pairs = {}
        for replacement in cost.Cost().replacements(self.gate):
            stock = patching.stock_copy(patching.resolve(replacement.target))
            self.pairs[stock.__name__] = (stock, replacement.build(stock))

    def check(self, name: str, *, served: bool | None = None, **given: Any) -> Any:
        """Require one outcome of both on the first, second and third call; with ``served``, who serves the third."""
        stock, accelerated = self.pairs[name]
        names = stock.__code__.co_varnames[: stock.__code__.co_argcount]
        arguments = {**dict(zip(names, stock.__defaults__, strict=True)), **given}
        for _ in range(3):
            before = self.gate.served
            expected = outcome(stock, arguments)
            assert outcome(accelerated, arguments) == expected, (name, given)
            assert self.gate.faults == 0, self.gate.last_fault
        if served is not None:
            assert (self.gate.served > before) == served, (name, given, self.gate.declined)
        return expected[1]

    def per_token(self, model: str, served: bool | None = None, **given: Any) -> Any:
        return self.check("cost_per_token", served=served, model=model, **given)

    def completion(self, response: Any, served: bool | None = None, **given: Any) -> Any:
        return self.check("completion_cost", served=served, completion_response=response, **given)


@pytest.fixture
def pair(hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Pair:
    for name in ("bindings", "gate", "cost"):
        monkeypatch.setitem(_backend._modules, name, hot(name))
    return Pair()


@pytest.fixture
def prices() -> Iterator[dict[str, Any]]:
    """LiteLLM's price list, and as it was after the test."""
    before, entries = dict(litellm.model_cost), copy.deepcopy(litellm.model_cost)
    registered = dict(litellm.utils._runtime_registered_model_cost)
    yield litellm.model_cost
    for name, entry in before.items():
        entry.clear()
        entry.update(entries[name])
    litellm.model_cost.clear()
    litellm.model_cost.update(before)
    litellm.utils._runtime_registered_model_cost.clear()
    litellm.utils._runtime_registered_model_cost.update(registered)
    litellm.utils._invalidate_model_cost_lowercase_map()


def usage(prompt: int = 1000, completion: int = 200, **details: Any) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion, **details)


def response(
    model: str | None = "gpt-4o", provider: str | None = "openai", used: Any = None, **given: Any
) -> ModelResponse:
    hidden = given.pop("hidden", {})
    message = given.pop("message", Message(content="Hello"))
    made = ModelResponse(model=model, choices=[Choices(message=message)], usage=used or usage(), **given)
    made._hidden_params = {"custom_llm_provider": provider, **hidden} if provider else hidden
    return made


# ---- every chat model ----

USAGES = [
    usage(),
    usage(0, 0),
    usage(500_000, 3, prompt_tokens_details={"cached_tokens": 400_000, "audio_tokens": 11}),
    usage(
        150_001,
        900,
        prompt_tokens_details={"cached_tokens": 100, "cache_creation_tokens": 90, "text_tokens": 149_811},
        completion_tokens_details={"reasoning_tokens": 640, "text_tokens": 260},
    ),
    usage(cache_creation_input_tokens=300, cache_read_input_tokens=200),
]


# Stock asks these over the network.
REMOTE = ("chatgpt", "github_copilot", "ollama", "ollama_chat")
CHAT = [
    name
    for name, entry in litellm.model_cost.items()
    if entry.get("mode") in ("chat", "completion", "responses") and entry.get("litellm_provider") not in REMOTE
]


def test_every_chat_model(pair: Pair, backend: str) -> None:
    outcomes: Counter[str] = Counter()
    stock, accelerated = pair.pairs["cost_per_token"]
    names = stock.__code__.co_varnames[: stock.__code__.co_argcount]
    defaults = dict(zip(names, stock.__defaults__, strict=True))
    for model in CHAT[:: 1 if backend == "compiled" else 7]:
        provider = litellm.model_cost[model].get("litellm_provider")
        served = pair.gate.served
        for used in [USAGES[0], *USAGES]:
            arguments = {**defaults, "model": model, "custom_llm_provider": provider, "usage_object": used}
            assert outcome(accelerated, arguments) == outcome(stock, arguments), (model, provider, used)
        if provider in PRICED_BY_LIST:
            outcomes["served" if pair.gate.served - served == len(USAGES) else "left to stock"] += 1
    assert pair.gate.faults == 0, pair.gate.last_fault
    assert outcomes["served"] > 0.9 * outcomes.total(), (outcomes, pair.gate.declined)
    assert "differs from stock" not in pair.gate.declined


def test_responses_of_every_provider(pair: Pair) -> None:
    by_provider = itertools.groupby(
        sorted(CHAT, key=lambda name: litellm.model_cost[name].get("litellm_provider", "")),
        key=lambda name: litellm.model_cost[name].get("litellm_provider", ""),
    )
    served = checked = 0
    for provider, models in by_provider:
        for model in list(models)[:2] if provider in PRICED_BY_LIST else ():
            bare = model.removeprefix(f"{provider}/")
            for arguments in (
                {"response": response(bare, provider)},
                {"response": response(bare, provider), "model": model, "custom_llm_provider": provider},
                {"response": response(model, None), "model": model},
                {"response": response(None, provider), "model": bare, "call_type": "acompletion"},
            ):
                before = pair.gate.served
                pair.completion(**arguments)
                served += pair.gate.served > before
                checked += 1
    assert served > 0.6 * checked, (served, checked, pair.gate.declined)
    assert "differs from stock" not in pair.gate.declined


# ---- generated usages ----

tokens = st.one_of(
    st.integers(0, 5), st.integers(0, 2000), st.sampled_from([127_999, 128_000, 128_001, 200_000, 272_001, 10**7])
)
maybe = st.one_of(st.none(), tokens)
rarely = st.one_of(st.none(), st.none(), st.none(), tokens)
written = st.one_of(
    st.none(),
    st.builds(
        lambda short, long: CacheCreationTokenDetails(ephemeral_5m_input_tokens=short, ephemeral_1h_input_tokens=long),
        maybe,
        maybe,
    ),
)
prompt_details = st.one_of(
    st.none(),
    st.builds(
        PromptTokensDetailsWrapper,
        cached_tokens=maybe,
        text_tokens=maybe,
        audio_tokens=maybe,
        image_tokens=rarely,
        cache_write_tokens=maybe,
        cache_creation_token_details=written,
    ),
    st.builds(
        PromptTokensDetailsWrapper,
        cached_tokens=maybe,
        cache_creation_tokens=maybe,
        video_tokens=rarely,
        character_count=rarely,
        image_count=rarely,
        query_count=rarely,
        tool_use_tokens=rarely,
        video_length_seconds=st.sampled_from([None, 0.0, 2.5]),
        web_search_requests=st.sampled_from([None, None, None, 0, 2]),
    ),
)
completion_details = st.one_of(
    st.none(),
    st.builds(
        CompletionTokensDetailsWrapper,
        reasoning_tokens=maybe,
        text_tokens=maybe,
        audio_tokens=maybe,
        image_tokens=rarely,
        video_tokens=rarely,
        accepted_prediction_tokens=rarely,
    ),
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "cache_read_input_tokens": maybe,
        "cache_creation_input_tokens": maybe,
        "prompt_cache_hit_tokens": maybe,
        "cost": st.sampled_from([None, 0.25]),
        "server_tool_use": st.sampled_from([None, {"web_search_requests": 2}]),
        "inference_geo": st.sampled_from([None, "us", "global"]),
        "speed": st.sampled_from([None, "fast"]),
        "service_tier": st.sampled_from([None, "priority", "standard"]),
        "reasoning_tokens": maybe,
    },
)
usages = st.one_of(
    st.builds(usage, tokens, tokens),
    st.builds(
        usage, tokens, tokens, prompt_tokens_details=prompt_details, completion_tokens_details=completion_details
    ),
    st.builds(lambda prompt, completion, given: usage(prompt, completion, **given), tokens, tokens, extras),
)
MODELS = (
    ("gpt-4o", "openai"),
    ("gpt-5", "openai"),
    ("gpt-4o-audio-preview", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("gemini/gemini-2.5-pro", "gemini"),
    ("gemini-2.5-flash", "vertex_ai"),
    ("azure/gpt-4o", "azure"),
    ("deepseek/deepseek-chat", "deepseek"),
    ("groq/llama-3.3-70b-versatile", "groq"),
    ("xai/grok-4", "xai"),
    ("anthropic.claude-3-5-sonnet-20240620-v1:0", "bedrock"),
)
generated = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@generated
@given(
    model=st.sampled_from(MODELS),
    used=usages,
    tier=st.sampled_from([None, "auto", "default", "flex", "priority", "Priority", "odd"]),
    region=st.sampled_from([None, "us", "eu", "EU", "mars"]),
    location=st.sampled_from([None, "global", "us-east5"]),
)
def test_usages(pair: Pair, model: tuple[str, str], used: Usage, tier: Any, region: Any, location: Any) -> None:
    name, provider = model
    given = {
        "custom_llm_provider": provider,
        "service_tier": tier,
        "data_residency": region,
        "vertex_location": location,
    }
    pair.per_token(name, usage_object=used, **given)
    pair.completion(response(name, provider, used), **given)
    assert "differs from stock" not in pair.gate.declined


@generated
@given(
    model=st.sampled_from(MODELS),
    prompt=tokens,
    completion=tokens,
    read=st.one_of(st.none(), tokens),
    written=st.one_of(st.none(), tokens),
    call_type=st.sampled_from(["completion", "acompletion", "text_completion", "embedding", "responses"]),
)
def test_numbers(
    pair: Pair, model: tuple[str, str], prompt: int, completion: int, read: Any, written: Any, call_type: str
) -> None:
    name, provider = model
    for more in ({}, {"custom_llm_provider": provider}):
        pair.per_token(
            name,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cache_read_input_tokens=read,
            cache_creation_input_tokens=written,
            call_type=call_type,
            **more,
        )


# ---- what is served, and what is not ----


def test_ordinary_calls_are_served(pair: Pair) -> None:
    assert pair.completion(response(), served=True) == "0.0045000000000000005"
    pair.completion(response(), served=True, model="gpt-4o", custom_llm_provider="openai", call_type="acompletion")
    pair.completion(response(), served=True, optional_params={"temperature": 0.2, "service_tier": "priority"})
    pair.completion(response(service_tier="flex"), served=True)
    pair.completion(response("my-deployment", "azure"), served=True, base_model="azure/gpt-4o")
    pair.completion(response("claude-sonnet-4-5", "anthropic"), served=True)
    pair.completion(response(used=usage(prompt_tokens_details={"cached_tokens": 512})), served=True)
    pair.per_token("gpt-4o", prompt_tokens=1000, completion_tokens=200, served=True)
    pair.per_token("gpt-4o", usage_object=usage(), custom_llm_provider="openai", served=True)
    assert set(pair.gate.declined) == {"first call of its kind"}


ANNOTATED = Message(content="a", annotations=[{"type": "url_citation", "url_citation": {"url": "u"}}])
XAI = next(name for name in CHAT if litellm.model_cost[name].get("litellm_provider") == "xai")
TRAFFIC = {"provider_specific_fields": {"traffic_type": "ON_DEMAND_PRIORITY"}}
BY_HAND = {"input_cost_per_token": 0.1, "output_cost_per_token": 0.2}
DECLINED: list[tuple[str, str, dict[str, Any]]] = [
    ("no chat completion", "completion_cost", {"model": "gpt-4o", "prompt": "a", "completion": "b"}),
    ("no chat completion", "completion_cost", {"completion_response": {"model": "gpt-4o", "usage": {}}}),
    ("custom pricing", "completion_cost", {"completion_response": response(), "custom_cost_per_token": BY_HAND}),
    ("custom pricing", "completion_cost", {"completion_response": response(), "custom_pricing": True}),
    ("custom pricing", "cost_per_token", {"model": "gpt-4o", "custom_cost_per_second": 0.1, "response_time_ms": 10.0}),
    (
        "unusual argument messages",
        "completion_cost",
        {"completion_response": response(), "messages": [{"content": "a"}]},
    ),
    (
        "unusual argument optional_params",
        "completion_cost",
        {"completion_response": response(), "optional_params": {"model_id": "a"}},
    ),
    ("unusual argument prompt_characters", "cost_per_token", {"model": "gpt-4o", "prompt_characters": 3}),
    ("unusual argument model", "cost_per_token", {"model": 3}),
    ("unusual argument service_tier", "cost_per_token", {"model": "gpt-4o", "service_tier": 3}),
    ("other call type", "cost_per_token", {"model": "whisper-1", "call_type": "transcription"}),
    ("other call type", "cost_per_token", {"model": "gpt-4o", "call_type": "speech"}),
    ("unusual choices", "completion_cost", {"completion_response": response(message=ANNOTATED)}),
    ("unusual hidden params", "completion_cost", {"completion_response": response(hidden=TRAFFIC)}),
    ("other provider", "cost_per_token", {"model": XAI, "custom_llm_provider": "xai"}),
    ("first call of its kind", "completion_cost", {"completion_response": response("nobody/knows", "nobody")}),
]


@pytest.mark.parametrize(("reason", "name", "given"), DECLINED)
def test_unusual_calls_are_declined(pair: Pair, reason: str, name: str, given: dict[str, Any]) -> None:
    pair.check(name, served=False, **given)
    assert pair.gate.declined[reason] >= 2
    assert set(pair.gate.declined) <= {reason, "first call of its kind"}


def test_a_usage_we_do_not_know_is_left_to_stock(pair: Pair) -> None:
    for used in (
        usage(server_tool_use={"web_search_requests": 2}),
        usage(inference_geo="us"),
        usage(prompt_tokens_details={"web_search_requests": 1}),
        usage(prompt_tokens_details={"character_count": 5}),
        usage(completion_tokens_details={"video_tokens": 5}),
    ):
        pair.completion(response("claude-sonnet-4-5", "anthropic", used), served=False)
        pair.per_token("claude-sonnet-4-5", usage_object=used, custom_llm_provider="anthropic", served=False)
    negative = usage()
    negative.prompt_tokens = -5
    pair.completion(response(used=negative), served=False)


def test_a_logging_object_gets_its_breakdown_from_stock(pair: Pair) -> None:
    from litellm.litellm_core_utils.litellm_logging import Logging

    logging_object = Logging("gpt-4o", [], False, "completion", None, "id", "function")
    pair.completion(response(), served=False, litellm_logging_obj=logging_object)
    assert pair.gate.declined["logging object"] == 3
    assert logging_object.cost_breakdown["input_cost"] == 0.0025


# ---- prices that change ----


def test_registered_models(pair: Pair, prices: dict[str, Any]) -> None:
    before = pair.completion(response(), served=True)
    litellm.register_model({"gpt-4o": {"input_cost_per_token": 0.5, "litellm_provider": "openai", "mode": "chat"}})
    assert pair.completion(response(), served=True) != before
    mine = {"input_cost_per_token": 0.25, "output_cost_per_token": 2, "litellm_provider": "openai", "mode": "chat"}
    pair.completion(response("mine"), served=False)
    litellm.register_model({"mine": mine})
    assert pair.completion(response("mine"), served=True) == "650.0"
    assert pair.per_token("mine", prompt_tokens=4, completion_tokens=1, served=True) == "(1.0, 2.0)"
    litellm.register_model({"mine": {**mine, "input_cost_per_token_above_500_tokens": 1.0}})
    assert pair.completion(response("mine"), served=True) == "1400.0"


def test_a_replaced_price_list(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pair.completion(response(), served=True)
    replaced = {**litellm.model_cost, "gpt-4o": {**litellm.model_cost["gpt-4o"], "input_cost_per_token": 0.5}}
    with monkeypatch.context() as patched:
        patched.setattr(litellm, "model_cost", replaced)
        pair.completion(response())
        litellm.utils._invalidate_model_cost_lowercase_map()
        assert pair.completion(response(), served=True) != before
    pair.completion(response())
    litellm.utils._invalidate_model_cost_lowercase_map()
    assert pair.completion(response(), served=True) == before


def test_prices_changed_in_place(pair: Pair, prices: dict[str, Any]) -> None:
    """LiteLLM remembers what it read, so that such a change may or may not be seen; what stock bills is billed."""
    pair.completion(response(), served=True)
    prices["gpt-4o"]["input_cost_per_token"] = 0.5
    pair.completion(response())
    prices["gpt-4o"] = {**prices["gpt-4o"], "output_cost_per_token": 0.5}
    pair.completion(response())
    litellm.utils._invalidate_model_cost_lowercase_map()
    assert float(pair.completion(response(), served=True)) > 100
    del prices["gpt-4o"]
    pair.completion(response())
    prices["openai/gpt-4o"] = {"input_cost_per_token": 3.0, "litellm_provider": "openai", "mode": "chat"}
    pair.completion(response())


def test_a_price_by_time_is_left_to_stock(pair: Pair, prices: dict[str, Any]) -> None:
    off_peak = {"hours_utc": "00:00-23:59", "input_cost_per_token": 0.1}
    litellm.register_model({"gpt-4o": {"off_peak_pricing": off_peak, "litellm_provider": "openai"}})
    pair.completion(response(), served=False)
    assert pair.gate.declined["prices by time or table"] == 2


def test_discounts_and_margins(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pair.completion(response(), served=True)
    monkeypatch.setitem(litellm.cost_discount_config, "openai", 0.5)
    assert pair.completion(response(), served=False) != before
    monkeypatch.delitem(litellm.cost_discount_config, "openai")
    assert pair.completion(response(), served=True) == before
    monkeypatch.setattr(litellm, "cost_margin_config", {"global": 0.1})
    assert pair.completion(response(), served=False) != before


def test_a_model_that_moves_to_another_provider(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pair.per_token("gpt-4o", prompt_tokens=10, served=True)
    with monkeypatch.context() as patched:
        patched.setattr(litellm, "open_ai_chat_completion_models", litellm.open_ai_chat_completion_models - {"gpt-4o"})
        patched.setattr(litellm, "anthropic_models", {*litellm.anthropic_models, "gpt-4o"})
        pair.per_token("gpt-4o", prompt_tokens=10)
    litellm.open_ai_chat_completion_models.discard("gpt-4o")
    litellm.anthropic_models.add("gpt-4o")
    try:
        pair.per_token("gpt-4o", prompt_tokens=10)
    finally:
        litellm.open_ai_chat_completion_models.add("gpt-4o")
        litellm.anthropic_models.discard("gpt-4o")
    assert pair.per_token("gpt-4o", prompt_tokens=10, served=True) == before


def test_whoever_replaces_what_we_bypass_wins(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pair.completion(response(), served=True)
    with monkeypatch.context() as patched:
        name = seams.name_of(cost_calculator, "select_model_name_for_cost_calc")
        patched.setattr(cost_calculator, name, lambda **keywords: "gpt-4")
        assert pair.completion(response(), served=False) != before
    own = cost._module(cost._ARITHMETIC)._get_token_base_cost

    def dear(model_info: Any, **keywords: Any) -> Any:
        return own(model_info={**model_info, "input_cost_per_token": 1.0, "output_cost_per_token": 1.0}, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(cost._module(cost._ARITHMETIC), "_get_token_base_cost", dear)
        assert pair.completion(response(), served=False) == "1200.0"
    with mock.patch.object(litellm.utils, "get_model_info", wraps=litellm.utils.get_model_info) as spy:
        assert pair.completion(response(), served=False) == before
        assert not spy.call_count  # stock does not ask it
    with mock.patch("litellm.llms.openai.cost_calculation.generic_cost_per_token", return_value=(1.0, 2.0)) as last:
        assert pair.completion(response(), served=False) == "3.0"
        assert last.call_count == 6  # three calls of each
    tools = "litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking.StandardBuiltInToolCostTracking"
    with mock.patch(f"{tools}.get_cost_for_built_in_tools", side_effect=[0.0, 0.0, 5.0, 5.0, 7.0, 7.0]):
        assert float(pair.completion(response(), served=False)) == float(before) + 7.0
    assert pair.completion(response(), served=True) == before


@pytest.mark.parametrize(
    "place",
    ["litellm.cost_calculator.generic_cost_per_token", "litellm.llms.openai.cost_calculation.generic_cost_per_token"],
)
@pytest.mark.parametrize(
    "wrap", [lambda function: wrapt.FunctionWrapper(function, _through), lambda function: mock.Mock()]
)
def test_what_was_wrapped_before_is_asked(place: str, wrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, name = place.rpartition(".")
    monkeypatch.setattr(place, wrap(getattr(importlib.import_module(module), name)))
    with pytest.raises(Unavailable, match="generic_cost_per_token of LiteLLM's pricing has been replaced"):
        Pair()


def _through(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def test_debug_logging_goes_on(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    pair.completion(response(), served=True)
    with caplog.at_level(logging.DEBUG, logger="LiteLLM"):
        pair.completion(response(), served=False)
    assert any("selected model name for cost calculation" in record.message for record in caplog.records)


# ---- installed ----


def test_installed(restored: None) -> None:
    expected = litellm.completion_cost(response()), litellm.cost_per_token("gpt-4o", 10, 5)
    litellm_accel.accelerate("cost", strict=True)
    for _ in range(3):
        assert (litellm.completion_cost(response()), litellm.cost_per_token("gpt-4o", 10, 5)) == expected
    status = litellm_accel.status()["cost"]
    assert status.served >= 4
    assert set(status.declined) == {"first call of its kind"}
    with pytest.raises(Exception, match="isn't mapped yet"):
        litellm.completion_cost(response("nobody/knows", "nobody"))
    assert not litellm_accel.status()["cost"].faults
