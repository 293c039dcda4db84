"""Every choice of a router, and the state it leaves, in stock and accelerated LiteLLM."""

from __future__ import annotations

import asyncio
import copy
import datetime as datetimes
import random
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm import ModelResponse, Router, Usage
from litellm.types.router import AllowedFailsPolicy, Deployment

import litellm_accel
from litellm_accel import _backend, activation
from litellm_accel.components import routing
from litellm_accel.routing import accounting, filters, listings
from releases import routers_in_python

pytestmark = routers_in_python

STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "cost-based-routing",
    "latency-based-routing",
    "usage-based-routing-v2",
    "usage-based-routing",
)
MODELS = ("openai/gpt-4o-mini", "openai/gpt-4o", "openai/gpt-4.1-nano", "openai/unpriced-model", "gpt-3.5-turbo")
MESSAGES = [{"role": "user", "content": "How many roads must a man walk down?"}]
LONG_MESSAGES = [{"role": "user", "content": "How many roads must a man walk down? " * 8}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "How many roads must a man walk down?"}], "name": None}]


class Clock:
    """One clock for everything LiteLLM reads while routing."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def datetime(self) -> type[datetimes.datetime]:
        clock = self

        class Frozen(datetimes.datetime):
            @classmethod
            def now(cls, tz: datetimes.tzinfo | None = None) -> datetimes.datetime:
                return datetimes.datetime.fromtimestamp(clock.now, tz)

        return Frozen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    frozen = clock.datetime()
    for module in ("lowest_cost", "lowest_latency", "lowest_tpm_rpm"):
        monkeypatch.setattr(f"litellm.router_strategy.{module}.datetime", frozen)
    monkeypatch.setattr(litellm.utils, "datetime", SimpleNamespace(**{**vars(datetimes), "datetime": frozen}))
    return clock


@pytest.fixture
def gate(restored: None, hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The gate of the active component: off runs stock, on runs the accelerated choice."""
    saved = [(name, list(getattr(litellm, name))) for name in ("callbacks", "input_callback", "success_callback")]
    saved += [(name, list(getattr(litellm, name))) for name in ("failure_callback", "_async_success_callback")]
    for module in (routing, filters, accounting, listings):
        monkeypatch.setattr(module, "_hot", hot("routing"))
    monkeypatch.setitem(_backend._modules, "gate", hot("gate"))
    monkeypatch.setattr(activation, "_activations", {})
    litellm_accel.accelerate("routing", strict=True)
    yield activation._activations["routing"].gate
    litellm_accel.restore()
    for name, value in saved:
        setattr(litellm, name, value)


def deployment(rng: random.Random, model_id: str, group: str, traits: set[str]) -> dict[str, Any]:
    params: dict[str, Any] = {"model": rng.choice(MODELS), "api_key": "sk-test"}
    info: dict[str, Any] = {"id": model_id}
    if rng.random() < 0.8:
        params["api_base"] = f"http://{rng.choice(('one', 'two', model_id))}.test/v1"
    if "weights" in traits and rng.random() < 0.7:
        params[rng.choice(("weight", "rpm", "tpm"))] = rng.choice((0, 1, 2, 5, 10))
    if "limits" in traits and rng.random() < 0.6:
        params["rpm"] = rng.choice((1, 2, 3, 100))
        if rng.random() < 0.6:
            rng.choice((params, info))["tpm"] = rng.choice((5, 40, 100, 1000))
    if "orders" in traits and rng.random() < 0.7:
        rng.choice((params, info))["order"] = rng.choice((1, 2, 3))
    if "costs" in traits and rng.random() < 0.5:
        params["input_cost_per_token"] = rng.choice((0.0, 1e-7, 3e-6))
        params["output_cost_per_token"] = rng.choice((1e-7, 3e-6))
    if "blocked" in traits and rng.random() < 0.3:
        info["blocked"] = True
    if "tags" in traits:
        if rng.random() < 0.6:
            params["tags"] = rng.choice((["free"], ["default"], ["paid", "free"], ["eu", "paid"], []))
        if rng.random() < 0.2:
            params["tag_regex"] = rng.choice((["^User-Agent: claude"], ["curl", "wget"]))
        if rng.random() < 0.1:
            info["allow_fail_open"] = True
        if rng.random() < 0.05:
            info["enable_tag_filtering"] = rng.choice((True, False))
    if "access" in traits and rng.random() < 0.7:
        info["access_groups"] = rng.choice((["beta"], ["gamma"], ["beta", "gamma"], []))
    if "checks" in traits:
        if params["model"] == "openai/unpriced-model":
            params["model"] = "openai/gpt-4o"
        if rng.random() < 0.4:
            info["max_input_tokens"] = rng.choice((5, 20, 100))
        if rng.random() < 0.3:
            params["rpm"] = rng.choice((0, 1, 3))
        if rng.random() < 0.4:
            params["region_name"] = rng.choice(("eu", "us"))
        if rng.random() < 0.2:
            params["model"] = "azure/gpt-4o"
            info["base_model"] = "azure/gpt-4o"
    if group == "openai/*" and rng.random() < 0.7:
        params["model"] = rng.choice(("openai/*", "mistral/*", "openai/gpt-4*"))
    if group == "ours":
        info.update(team_id="team", team_public_model_name="ours")
        return {"model_name": f"model_name_team_{model_id}", "litellm_params": params, "model_info": info}
    if group == "theirs":
        info.update(team_id="team", team_public_model_name="groq/*")
        return {"model_name": f"model_name_team_{model_id}", "litellm_params": params, "model_info": info}
    return {"model_name": group, "litellm_params": params, "model_info": info}


class World:
    """Two routers that live through the same events: one is asked with the gate off, one with the gate on."""

    def __init__(self, rng: random.Random, gate: Any, clock: Clock, strategy: str) -> None:
        self.rng, self.gate, self.clock, self.strategy = rng, gate, clock, strategy
        plain, narrowing = (
            ("weights", "limits", "orders", "costs", "blocked"),
            ("tags", "checks", "health", "wild", "teams", "access"),
        )
        self.traits = {trait for trait in (*plain, *narrowing) if rng.random() < 0.25} | {rng.choice(narrowing)}
        if rng.random() < 0.15:
            self.traits.add("odd")
        self.groups = ["chat", "chat", "other"]
        self.names = ["chat", "chat", "chat", "chat", "other", "nick", "hidden", "unknown"]
        if "wild" in self.traits:
            self.groups += ["openai/*", "vllm-*"]
            self.names += [
                "openai/gpt-4o",
                "openai/gpt-4o",
                "gpt-4o",
                "vllm-7b",
                "openai/o1*",
                "groq/llama",
                "openai/*",
            ]
        if "teams" in self.traits:
            self.groups += ["ours", "theirs"]
            self.names += ["ours", "ours", "groq/llama"]
        self.serial = 0
        models = [
            self.make(group)
            for group in dict.fromkeys(self.groups)
            for _ in range(rng.randint(1, 12 if group == "chat" else 3))
        ]
        arguments: dict[str, Any] = {}
        if strategy == "latency-based-routing":
            arguments["routing_strategy_args"] = {
                "lowest_latency_buffer": rng.choice((0, 0, 0.2, 1.0)),
                "ttl": rng.choice((30, 3600)),
                "max_latency_list_size": rng.choice((2, 10)),
                "ttft_percentile": rng.choice((None, 0.5, 0.9)),
            }
        elif strategy.startswith("usage"):
            arguments["routing_strategy_args"] = {"ttl": rng.choice((5, 60))}
        if "tags" in self.traits:
            arguments["enable_tag_filtering"] = rng.random() < 0.7
            arguments["tag_filtering_match_any"] = rng.random() < 0.6
            arguments["tag_routing_prefix"] = rng.choice((None, None, "route:"))
        if "checks" in self.traits:
            arguments["enable_pre_call_checks"] = True
        if "health" in self.traits:
            arguments["enable_health_check_routing"] = True
            arguments["background_health_check_model_groups"] = rng.choice((None, None, ["chat"]))
            if rng.random() < 0.2:
                arguments["allowed_fails_policy"] = AllowedFailsPolicy(RateLimitErrorAllowedFails=1000)
        self.routers = [
            Router(
                model_list=copy.deepcopy(models),
                routing_strategy=strategy,
                model_group_alias={"nick": "chat", "hidden": {"model": "other", "hidden": True}},
                cooldown_time=20,
                num_retries=0,
                **copy.deepcopy(arguments),
            )
            for _ in range(2)
        ]
        self.chosen: list[str] = []
        self.counts = False

    def make(self, group: str) -> dict[str, Any]:
        self.serial += 1
        return deployment(self.rng, f"d{self.serial}", group, self.traits)

    @property
    def ids(self) -> list[str]:
        return [model["model_info"]["id"] for model in self.routers[0].model_list]

    def both(self, action: Callable[[Router], Any]) -> None:
        """Let the same thing happen to both routers, by LiteLLM's own code."""
        self.gate.switch(False)
        outcomes = []
        for router in self.routers:
            state = random.getstate()
            try:
                action(router)
                outcomes.append("done")
            except Exception as error:
                outcomes.append(f"{type(error).__name__}: {error}")
            if router is self.routers[0]:
                random.setstate(state)
        assert outcomes[0] == outcomes[1]

    def each(self, action: Callable[[Router], Any]) -> None:
        """Let the same thing happen in stock and accelerated LiteLLM and compare what it gives and leaves behind."""
        outcomes = []
        for accelerated, router in enumerate(self.routers):
            self.gate.switch(bool(accelerated))
            try:
                outcome = ("done", repr(action(router)))
            except Exception as error:
                outcome = (type(error).__name__, str(error))
            outcomes.append((outcome, self.state(router)))
        assert outcomes[1] == outcomes[0]

    def request(self) -> dict[str, Any]:
        rng = self.rng
        request: dict[str, Any] = {"stream": rng.choice((True, False)), "temperature": 0.5}
        if rng.random() < 0.8:
            request["metadata"] = {"model_group": "chat"}
        if rng.random() < (0.5 if "teams" in self.traits else 0.1):
            request["litellm_metadata"] = {"user_api_key_team_id": rng.choice(("team", "team", "others"))}
        for metadata in (request.get("metadata"), request.get("litellm_metadata")):
            if metadata is not None and "tags" in self.traits:
                tags = ("free", "paid", "eu", "new", "&eu", "!free", "route:paid", "&paid", "default", "!")
                if rng.random() < 0.7:
                    metadata["tags"] = rng.choices(tags, k=rng.randint(0, 2))
                if rng.random() < 0.3:
                    metadata["user_agent"] = rng.choice(("claude-cli/1", "curl/8", "", None))
                if rng.random() < 0.2:
                    metadata["inherited_tags"] = rng.choices(tags, k=1)
                if rng.random() < 0.1:
                    metadata["tag_routing"] = {"earlier": True}
        if "checks" in self.traits:
            if rng.random() < 0.3:
                request["response_format"] = {"type": "json_object"}
            if rng.random() < 0.2:
                request["allowed_model_region"] = rng.choice(("eu", "us", None))
            if rng.random() < 0.2:
                request["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        if "access" in self.traits and rng.random() < 0.7:
            models = rng.choice(([], ["beta"], ["gamma", "unrelated"], ["beta", "gamma"], ["chat", "beta"], ["none"]))
            caller = SimpleNamespace(models=models, team_models=rng.choice(([], ["beta"], ["*"], None)))
            request.setdefault("metadata", {})["user_api_key_auth"] = caller
        if rng.random() < 0.1:
            request["tools"] = [{"type": "web_search"}]
        if rng.random() < 0.1 and self.ids:
            tried = rng.sample(self.ids, min(3, len(self.ids)))
            request.update(
                rng.choice(
                    (
                        {"_excluded_deployment_ids": tried},
                        {"_retry_skipped_deployment_ids": tuple(tried)},
                        {"_target_order": rng.choice((1, 2, None))},
                        {"_excluded_deployment_ids": set(tried), "_target_order": 2},
                    )
                )
            )
        if "odd" in self.traits:
            oddity = rng.choice(
                (
                    {"_excluded_deployment_ids": "d1"},
                    {"_target_order": "1"},
                    {"enable_tag_filtering": True},
                    {"tools": [{"type": "function", "function": {"name": "f"}}]},
                    {"metadata": {"routing_decision": {"x": 1}, "tags": ["free"]}},
                    {"metadata": {"user_api_key_auth": SimpleNamespace(models=["chat"], team_models=[])}},
                    {"metadata": {"user_api_key_auth": SimpleNamespace(models=["beta"], team_models=[])}},
                    {"routing_strategy": "simple-shuffle"},
                    {"_router_weights": {"chat": {self.ids[0]: 1.0}}} if self.ids else {},
                    {"metadata": None},
                )
            )
            request.update(copy.deepcopy(oddity))
        return request

    def choose(self) -> None:
        """Ask both routers for a deployment and compare what they say and what they leave behind."""
        rng = self.rng
        model = rng.choice((*self.names, *self.ids[:1]))
        messages = rng.choice((MESSAGES, None, LONG_MESSAGES, PARTS))
        text = None if messages else rng.choice(("some text", ["a", "b"], None))
        specific = rng.random() < 0.05 or rng.choice((None, False))
        if specific:
            model = rng.choice((model, *MODELS))
        asynchronous = rng.random() < 0.7
        without = not asynchronous and rng.random() < 0.3
        request = None if without else self.request()
        state = random.getstate()
        results = []
        for accelerated, router in enumerate(self.routers):
            random.setstate(state)
            self.gate.switch(bool(accelerated))
            mine = copy.copy(request)
            if mine:
                mine = {key: dict(value) if isinstance(value, dict) else value for key, value in mine.items()}
            try:
                if asynchronous:
                    found = asyncio.run(router.async_get_available_deployment(model, mine, messages, text, specific))
                else:
                    found = router.get_available_deployment(model, messages, text, specific, mine)
                outcome = ("chosen", found)
                if specific is not True and model in ("chat", "other", "nick", "hidden"):
                    assert any(found is listed for listed in router.model_list)
            except AssertionError:
                raise
            except Exception as error:
                outcome = (type(error).__name__, str(error))
            results.append((outcome, mine, random.getstate(), self.state(router)))
        stock, fast = results
        assert fast[0] == stock[0]
        assert repr(fast[1]) == repr(stock[1])
        assert fast[2] == stock[2], "another part of the random stream was used"
        assert fast[3] == stock[3]
        if stock[0][0] == "chosen" and isinstance(stock[0][1], dict):
            self.chosen.append(stock[0][1]["model_info"]["id"])

    @staticmethod
    def state(router: Router) -> Any:
        """Everything a choice may change, order of keys included."""
        cache, cooldowns = router.cache.in_memory_cache, router.cooldown_cache.in_memory_cache
        return [
            repr(part)
            for part in (
                list(cache.cache_dict.items()),
                list(cache.ttl_dict.items()),
                sorted(cache.expiration_heap),
                list(cooldowns.cache_dict.items()),
                list(cooldowns.ttl_dict.items()),
                sorted(cooldowns.expiration_heap),
                router.model_list,
                router.model_name_to_deployment_indices,
                router.model_id_to_deployment_index_map,
            )
        ]

    def selector(self, router: Router) -> Any:
        attribute = Router._DEFAULT_SELECTOR_ATTR_BY_STRATEGY.get(self.strategy)
        return getattr(router, attribute) if attribute else None

    def step(self) -> None:
        rng = self.rng
        event = rng.choice(
            ("choose",) * 12
            + ("success",) * 5
            + ("failure", "failure", "list")
            + ("begin", "begin", "limit", "limit", "timeout", "cool", "cool", "clock", "clock", "clock")
            + ("add", "delete", "upsert", "edit", "write", "alias", "uncool", "price", "retag", "health", "wild")
        )
        getattr(self, f"on_{event}")()

    def on_choose(self) -> None:
        self.choose()

    def event(self) -> tuple[dict[str, Any], ModelResponse, float, float]:
        rng = self.rng
        model_id = rng.choice(self.chosen[-5:] or self.ids or ["d1"])
        listed = {model["model_info"]["id"]: model["litellm_params"]["model"] for model in self.routers[0].model_list}
        model = listed.get(model_id, "gone")
        tokens = rng.choice((0, 3, 20, 60))
        kwargs = {
            "litellm_params": {
                "metadata": {"model_group": rng.choice(("chat", "chat", "other")), "deployment": model},
                "model_info": {"id": model_id},
            },
            "call_type": "acompletion",
            "standard_logging_object": {
                "model_group": "chat",
                "model_id": model_id,
                "total_tokens": tokens,
                "hidden_params": {"litellm_model_name": model},
            },
            "stream": rng.choice((True, False, None)),
            "completion_start_time": self.clock.now + rng.choice((0.1, 0.2)),
            "exception": None,
        }
        usage = Usage(completion_tokens=tokens // 2, prompt_tokens=tokens - tokens // 2, total_tokens=tokens)
        response = ModelResponse(usage=usage)
        if rng.random() < 0.3:
            kwargs["litellm_params"]["metadata"]["_litellm_router_usage_counted_tokens"] = rng.choice((0, 3, 60))
        return kwargs, response, self.clock.now, self.clock.now + rng.choice((0.5, 0.5, 1.0, 2.5))

    def on_success(self) -> None:
        call = self.event()

        async def record(router: Router) -> Any:
            found = self.selector(router)
            if self.counts:
                await router.deployment_callback_on_success(*call)
                await router.increment_deployment_usage_for_response(
                    call[1], {"model": "chat", "metadata": {"model_info": call[0]["litellm_params"]["model_info"]}}
                )
            return found and await found.async_log_success_event(*call)

        if self.rng.random() < 0.3:
            self.each(lambda router: (found := self.selector(router)) and found.log_success_event(*call))
        else:
            self.counts = self.rng.random() < 0.7
            self.each(lambda router: asyncio.run(record(router)))

    def on_failure(self) -> None:
        """A call fails: the router counts it and may cool the deployment down."""
        call = self.event()
        call[0]["exception"] = self.rng.choice(
            (
                litellm.RateLimitError("slow down", "openai", "m"),
                litellm.APIConnectionError("gone", "openai", "m"),
                litellm.InternalServerError("oops", "openai", "m"),
                litellm.AuthenticationError("who", "openai", "m"),
            )
        )

        async def record(router: Router) -> Any:
            await router.async_deployment_callback_on_failure(*call)
            return router.deployment_callback_on_failure(*call)

        self.each(lambda router: asyncio.run(record(router)))

    def on_list(self) -> None:
        name = self.rng.choice(("chat", "other", "nick", "unknown"))
        team = self.rng.choice((None, "team"))
        self.each(lambda router: router.get_model_list(name, team))
        if self.ids:
            self.each(lambda router: router.get_model_group(self.ids[0]))

    def on_begin(self) -> None:
        kwargs = self.event()[0]
        self.both(lambda router: (found := self.selector(router)) and found.log_pre_api_call("m", [], kwargs))

    def on_timeout(self) -> None:
        call = self.event()
        call[0]["exception"] = litellm.Timeout("too slow", "m", "openai")
        self.both(lambda router: (found := self.selector(router)) and asyncio.run(found.async_log_failure_event(*call)))

    def on_limit(self) -> None:
        if self.chosen:
            model_id = self.chosen[-1]

            def check(router: Router) -> None:
                selector = self.selector(router)
                for model in router.model_list:
                    if selector and model["model_info"]["id"] == model_id:
                        selector.pre_call_check(model)

            self.both(check)

    def on_cool(self) -> None:
        if not self.ids:
            return
        model_id, seconds = self.rng.choice(self.ids), self.rng.choice((5.0, 20, 120))
        error = litellm.RateLimitError("slow down", "openai", "m")
        self.both(lambda router: router.cooldown_cache.add_deployment_to_cooldown(model_id, error, 429, seconds))

    def on_uncool(self) -> None:
        self.both(lambda router: router.cooldown_cache.in_memory_cache.flush_cache())

    def on_clock(self) -> None:
        self.clock.now += self.rng.choice((0.25, 1, 5, 10, 25, 61))

    def on_add(self) -> None:
        made = self.make(self.rng.choice(self.groups))
        self.both(lambda router: router.add_deployment(Deployment(**copy.deepcopy(made))))

    def on_delete(self) -> None:
        if len(self.ids) > 1:
            model_id = self.rng.choice(self.ids)
            self.both(lambda router: router.delete_deployment(model_id))

    def on_upsert(self) -> None:
        if self.ids:
            made = deployment(self.rng, self.rng.choice(self.ids), self.rng.choice(self.groups), self.traits)
            self.both(lambda router: router.upsert_deployment(Deployment(**copy.deepcopy(made))))

    def on_edit(self) -> None:
        """Somebody writes into a deployment the router lists."""
        if not self.ids:
            return
        place = self.rng.randrange(len(self.ids))
        part, key, value = self.rng.choice(
            (
                ("litellm_params", "weight", 7),
                ("litellm_params", "rpm", 2),
                ("litellm_params", "order", 1),
                ("model_info", "blocked", True),
                ("model_info", "blocked", False),
                ("model_info", "supports_web_search", False),
                ("model_info", "max_input_tokens", 12),
                ("model_info", "enable_tag_filtering", True),
                ("litellm_params", "tags", ["free"]),
                ("litellm_params", "tags", None),
                ("litellm_params", "tag_regex", ["("]),
                ("litellm_params", "input_cost_per_token", 9e-9),
                ("litellm_params", "model", "openai/gpt-4o"),
                ("model_info", "access_groups", ["beta"]),
            )
        )

        def edit(router: Router) -> None:
            router.model_list[place][part][key] = value

        self.both(edit)

    def on_retag(self) -> None:
        """Somebody changes the tags or access groups of a deployment in place."""
        place = self.rng.randrange(100)
        tag = self.rng.choice(("free", "default", "eu", "beta"))

        def retag(router: Router) -> None:
            held = [model["litellm_params"].get("tags") for model in router.model_list]
            held += [model["model_info"].get("access_groups") for model in router.model_list]
            tags = [value for value in held if isinstance(value, list)]
            if tags:
                tags[place % len(tags)].append(tag)

        self.both(retag)

    def on_health(self) -> None:
        """Background health checks find some deployments unhealthy."""
        ids = self.rng.sample(self.ids, min(len(self.ids), self.rng.randint(0, 3)))
        states = {
            name: {"is_healthy": self.rng.random() < 0.3, "timestamp": self.clock.now - self.rng.choice((0, 500, 599))}
            for name in ids
        }
        self.both(lambda router: router.health_state_cache.set_deployment_health_states(copy.deepcopy(states)))

    def on_wild(self) -> None:
        """Somebody edits the deployments behind a wildcard."""

        def edit(router: Router) -> None:
            for deployments in router.pattern_router.patterns.values():
                deployments[0]["litellm_params"]["weight"] = 5

        self.both(edit)

    def on_write(self) -> None:
        """Another part of the program writes into the router's cache."""
        minute = f"{datetimes.datetime.fromtimestamp(self.clock.now):%H-%M}"
        key, value = self.rng.choice(
            (
                ("chat_request_count:d1", 3),
                ("chat_request_count:d2", "2"),
                ("chat_request_count:d3", 0),
                ("chat_request_count:d2", -1),
                ("chat_request_count:d1", None),
                ("unrelated", {"x": 1}),
                (f"chat:rpm:{minute}", {"d1": 2}),
                (f"chat:tpm:{minute}", {"d3": 1, "gone": 0, "d1": 7}),
                (f"chat:tpm:{minute}", {"d1": 1, "d3": 1.5, "d2": 1}),
                ("d1", 3),
            )
        )
        self.both(lambda router: router.cache.in_memory_cache.set_cache(key, copy.deepcopy(value), ttl=10))

    def on_alias(self) -> None:
        target = self.rng.choice(("chat", "other"))

        def point(router: Router) -> None:
            router.model_group_alias["nick"] = target

        self.both(point)

    def on_price(self) -> None:
        """The price of a model changes."""
        row = litellm.model_cost["gpt-4o-mini"]
        row["input_cost_per_token"] = self.rng.choice((1e-9, 1.5e-7, 1e-3))


@pytest.fixture
def prices() -> Iterator[None]:
    """Give the price map back as it was: routers register what their deployments say of themselves."""
    saved = copy.deepcopy(litellm.model_cost)
    yield
    litellm.model_cost.clear()
    litellm.model_cost.update(saved)
    litellm.utils._invalidate_model_cost_lowercase_map()


def live(strategy: str, seed: int, steps: int, gate: Any, clock: Clock) -> None:
    rng = random.Random(seed)
    random.seed(seed)
    world = World(rng, gate, clock, strategy)
    try:
        for step in range(steps):
            try:
                world.step()
            except AssertionError as error:
                raise AssertionError(f"{strategy}, seed {seed}, step {step}, traits {sorted(world.traits)}") from error
    finally:
        gate.switch(False)
        for router in world.routers:
            router.discard()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_random_lives_are_equal(strategy: str, gate: Any, clock: Clock, prices: None) -> None:
    for seed in range(10):
        live(strategy, seed, 60, gate, clock)
    assert gate.faults == 0, gate.last_fault
    assert gate.served > 100, gate.declined


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1300, 50))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_thousands_of_random_lives_are_equal(strategy: str, first: int, gate: Any, clock: Clock, prices: None) -> None:
    for seed in range(first, first + 50):
        live(strategy, seed, 100, gate, clock)
    assert gate.faults == 0, gate.last_fault
    assert gate.served > 300, gate.declined
