"""Routing: strategies, limits, retries, fallbacks, cooldowns, and the state they leave."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from litellm_accel.verify.scenario import GROUP, HELLO, ROUTED, Scenario, deployment, themed, with_fields

ONCE_LATER = 'error-500{"plain_first": 4, "times": 1, "headers": {"retry-after-ms": "20"}}'
ONCE_SOON = 'error-500{"plain_first": 2, "times": 1, "headers": {"retry-after-ms": "20"}}'
TEN = tuple(deployment("plain", rpm=1000 + i, tpm=100_000 + i, api_key=f"sk-{i}") for i in range(10))
LIMITED = (deployment("plain", rpm=3, tpm=10_000),)
MEASURED = (deployment("plain", rpm=30, tpm=10_000), deployment("echo", rpm=40, tpm=10_000))
# Strategies that choose by what can be told in advance: not by how long something took.
MEASURING = ("least-busy", "usage-based-routing", "usage-based-routing-v2", "cost-based-routing")
STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "usage-based-routing",
    "usage-based-routing-v2",
    "latency-based-routing",
    "cost-based-routing",
)
# Strategies that take part in a call after the choice, too.
ACTING = ("least-busy", "latency-based-routing", "usage-based-routing-v2")
PAIR = (deployment("plain", weight=1), deployment("echo", weight=0))
OTHER = deployment("echo", group="other")


def failing(answer: str, *, model: str = "openai/gpt-4o") -> tuple[Any, ...]:
    """A group whose only deployment fails after two answers, and another group that works."""
    return (deployment(with_fields(answer, plain_first=2), model=model, max_retries=0), OTHER)


async def _distribution(stage: Any) -> None:
    """The choice follows the weights: 8 to 2, within what chance allows in 60 calls."""
    router = stage.router((deployment("plain", weight=8), deployment("echo", weight=2)))
    chosen: Counter[str] = Counter()
    for _ in range(60):
        response = await router.acompletion(**stage.arguments())
        chosen["echo" if response.choices[0].message.content.startswith("Say") else "plain"] += 1
    stage.observe("share of the heavier one", "about 0.8" if 0.6 <= chosen["plain"] / 60 <= 0.97 else dict(chosen))


async def _same_deployment(stage: Any) -> None:
    """Calls at the same time through one deployment, and the usage they leave."""
    router = stage.router()
    for _ in range(3):
        await router.acompletion(**stage.arguments())
        await stage.settled()
    responses = await asyncio.gather(*(router.acompletion(**stage.arguments()) for _ in range(8)))
    await stage.settled()
    stage.observe("contents", [r.choices[0].message.content for r in responses])


async def _counted(router: Any) -> dict[str, int]:
    """What strategies have counted, requests in flight and those of the minute, when it no longer changes."""
    shown: list[dict[str, int]] = []
    while len(shown) < 4 or shown[-1] != shown[-4]:
        counts: Counter[str] = Counter()
        for name, count in router.cache.in_memory_cache.cache_dict.items():
            if "request_count" in name or ":rpm:" in name:
                counts[name.rpartition(":")[0]] += count  # in this minute and the one before
        shown.append(dict(counts))
        await asyncio.sleep(0.05)
    return shown[-1]


async def _in_flight(stage: Any) -> None:
    """What strategies count while calls are on their way, and when they are cancelled; the provider never answers.

    Each deployment of the router is called once by each.
    """
    router = stage.router()
    for _ in range(4):
        await stage.acall(router.acompletion, stage.arguments())
        await stage.settled()
    tasks = [asyncio.ensure_future(router.acompletion(**stage.arguments())) for _ in range(3)]
    await stage.requested(4 + len(tasks) * len(router.model_list))
    stage.observe("in flight", await _counted(router))
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        stage.finished(result)
    await stage.settled()
    stage.observe("in the end", await _counted(router))


async def _strategies_together(stage: Any) -> None:
    """Three routers with three strategies, which hear of each other's calls."""
    routers = [stage.router(routing_strategy=strategy) for strategy in ACTING]
    for router in routers * 4:
        await stage.acall(router.acompletion, stage.arguments())
        await stage.settled()


async def _same_metadata(stage: Any) -> None:
    """A dictionary of metadata that is used again, in which the router notes how it has chosen."""
    router, metadata = stage.router(), {"team": "blue"}
    for _ in range(5):
        await stage.acall(router.acompletion, stage.arguments(metadata=metadata))
        await stage.settled()


async def _cooldown(stage: Any) -> None:
    """A deployment that fails is left alone, and the other one serves."""
    router = stage.router()
    for _ in range(4):
        await stage.acall(router.acompletion, stage.arguments())
        await stage.settled()


async def _max_parallel(stage: Any) -> None:
    """A deployment with max_parallel_requests lets the others wait."""
    router = stage.router()
    await asyncio.gather(*(stage.acall(router.acompletion, stage.arguments()) for _ in range(4)))


async def _deployments_change(stage: Any) -> None:
    """Deployments are added, replaced and removed between calls."""
    router = stage.router()
    await stage.acall(router.acompletion, stage.arguments())
    await stage.settled()
    router.set_model_list(stage.resolve([deployment("echo", api_key="sk-second")]))
    await stage.acall(router.acompletion, stage.arguments())
    await stage.settled()
    identity = router.model_list[0]["model_info"]["id"]
    router.delete_deployment(identity)
    await stage.acall(router.acompletion, stage.arguments())


async def _changed_inside(stage: Any) -> None:
    """What deployments and defaults hold is changed where it is."""
    router = stage.router(default_litellm_params={"temperature": 0.5, "metadata": {"a": "b"}})
    function, parameters = router.acompletion, router.model_list[0]["litellm_params"]
    changes = (
        lambda: None,
        lambda: parameters["extra_headers"].update({"X-Dep": "new"}),
        lambda: router.default_litellm_params.update(temperature=0.9),
        lambda: router.default_litellm_params["metadata"].update(a="c"),
        lambda: parameters.update(api_key="sk-rotated"),
    )
    for change in changes:
        change()
        for _ in range(4):
            await stage.acall(function, stage.arguments())
            await stage.settled()


async def _settings_change(stage: Any) -> None:
    """Router settings that are changed between calls take effect."""
    router = stage.router()
    await stage.acall(router.acompletion, stage.arguments())
    await stage.settled()
    router.fallbacks = [{GROUP: ["other"]}]
    router.num_retries = 1
    router.timeout = 7.0
    await stage.acall(router.acompletion, stage.arguments())


async def _two_routers(stage: Any) -> None:
    """Two routers with the same group keep their own state."""
    first, second = stage.router(), stage.router((deployment("echo"),))
    for router in (first, second) * 4:
        await stage.acall(router.acompletion, stage.arguments())
        await stage.settled()


async def _by_id(stage: Any) -> None:
    """A deployment called by its id."""
    router = stage.router()
    await stage.acall(router.acompletion, stage.arguments(model="deployment-1"))


SCENARIOS = themed(
    "router",
    *(
        Scenario(
            f"strategy-{strategy}",
            via=ROUTED,
            router={"routing_strategy": strategy},
            deployments=MEASURED
            if strategy in MEASURING
            else LIMITED
            if strategy == "simple-shuffle"
            else MEASURED[:1],
            way="either" if strategy == "cost-based-routing" else "served",
            calls=9 if strategy in MEASURING else 5,
        )
        for strategy in STRATEGIES
    ),
    *(
        Scenario(
            f"{strategy}-{name}",
            via=via,
            router={"routing_strategy": strategy, **router},
            crossing=strategy != ACTING[0],
            **changes,
        )
        for strategy in ACTING
        for name, via, router, changes in (
            ("logged", ROUTED, {}, {"callbacks": {"callbacks": ("payload",)}, "calls": 5}),
            ("tools", ROUTED, {}, {"answer": "tools", "calls": 4}),
            ("metadata", ROUTED, {}, {"arguments": {"metadata": {"team": "blue"}}, "calls": 5}),
            ("litellm-metadata", ROUTED, {}, {"arguments": {"litellm_metadata": {"team": "blue"}}, "calls": 5}),
            ("same-metadata", ROUTED[1:], {}, {"script": _same_metadata}),
            ("at-once", ROUTED[1:], {}, {"script": _same_deployment, "ordered": False, "answer": "echo"}),
            (
                "in-flight",
                ROUTED[1:],
                {},
                {"script": _in_flight, "ordered": False, "answer": 'stall{"plain_first": 4}'},
            ),
            (
                "in-flight-again",
                ROUTED[1:],
                {"fallbacks": [{GROUP: ["other"]}]},
                {
                    "script": _in_flight,
                    "ordered": False,
                    "deployments": (
                        deployment('error-500{"plain_first": 4}', max_retries=0),
                        deployment("stall", group="other"),
                    ),
                },
            ),
            (
                "retry",
                ROUTED,
                {"num_retries": 1},
                {"deployments": (deployment(ONCE_LATER, max_retries=0),), "calls": 5},
            ),
            (
                "fallback",
                ROUTED,
                {"fallbacks": [{GROUP: ["other"]}]},
                {"deployments": (deployment('error-500{"plain_first": 4}', max_retries=0), OTHER), "calls": 5},
            ),
            (
                "cooldown",
                ROUTED[1:],
                {"allowed_fails": 0, "cooldown_time": 60},
                {
                    "script": _cooldown,
                    "deployments": (deployment('error-500{"plain_first": 2}', max_retries=0),),
                    "way": "either",
                },
            ),
            (
                "timeout",
                ROUTED,
                {"timeout": 0.3},
                {"deployments": (deployment('stall{"plain_first": 4}', max_retries=0),), "calls": 4, "seconds": 0.5},
            ),
            ("limit", ROUTED, {}, {"deployments": (deployment("plain", rpm=6),), "calls": 8}),
            (
                "parallel",
                ROUTED[1:],
                {},
                {
                    "script": _max_parallel,
                    "ordered": False,
                    "deployments": (deployment("delay-0.03", max_parallel_requests=1),),
                    "way": "either",
                },
            ),
        )
    ),
    Scenario("strategies-together", via=("arouter",), script=_strategies_together),
    *(
        Scenario(
            f"strategy-{strategy}-failure",
            via=ROUTED,
            router={"routing_strategy": strategy},
            deployments=(deployment('error-400{"plain_first": 2}', rpm=3, max_retries=0),),
            way="either",
        )
        for strategy in ("simple-shuffle", "least-busy", "usage-based-routing-v2", "latency-based-routing")
    ),
    Scenario("ten-deployments", via=ROUTED, way="either", deployments=TEN, calls=6),
    Scenario("weights", via=ROUTED, deployments=PAIR, calls=4),
    Scenario("distribution", via=("arouter",), script=_distribution),
    Scenario("unknown-group", {"model": "nobody"}, via=ROUTED, way="either"),
    Scenario("no-deployments", via=ROUTED, deployments=(OTHER,), way="either"),
    Scenario(
        "wildcard",
        {"model": "openai/gpt-4o-mini"},
        via=ROUTED,
        way="either",
        deployments=(deployment("plain", group="openai/*", model="openai/*"),),
    ),
    Scenario("alias", {"model": "nick"}, via=ROUTED, router={"model_group_alias": {"nick": GROUP}}, way="either"),
    Scenario(
        "by-id",
        via=("arouter",),
        deployments=(deployment("plain", info={"id": "deployment-1"}),),
        script=_by_id,
        way="either",
    ),
    Scenario(
        "model-info",
        via=ROUTED,
        deployments=(deployment("plain", info={"id": "fixed-id", "base_model": "gpt-4o-mini", "team": "blue"}),),
    ),
    Scenario(
        "custom-price",
        via=ROUTED,
        way="either",
        deployments=(deployment("details", input_cost_per_token=1e-3, output_cost_per_token=2e-3),),
    ),
    Scenario(
        "price-in-info",
        via=ROUTED,
        way="either",
        deployments=(deployment("details", info={"input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3}),),
    ),
    Scenario(
        "deployment-parameters",
        {"temperature": 0.5},
        via=ROUTED,
        deployments=(deployment("plain", temperature=0.1, max_tokens=5, extra_headers={"X-Deployment": "1"}),),
    ),
    Scenario("deployment-timeout", via=ROUTED, deployments=(deployment("plain", timeout=9.5),)),
    Scenario(
        "deployment-organization", via=ROUTED, deployments=(deployment("plain", organization="org-9"),), way="either"
    ),
    Scenario(
        "deployment-tags",
        {"metadata": {"tags": ["paid"]}},
        via=ROUTED,
        way="either",
        router={"enable_tag_filtering": True},
        deployments=(deployment("echo", tags=["free"]), deployment("plain", tags=["paid"])),
    ),
    Scenario(
        "tags-no-match",
        {"metadata": {"tags": ["none"]}},
        via=ROUTED,
        way="either",
        router={"enable_tag_filtering": True},
        deployments=(deployment("echo", tags=["free"]),),
    ),
    Scenario(
        "order", via=ROUTED, way="either", deployments=(deployment("echo", order=2), deployment("plain", order=1))
    ),
    Scenario("default-parameters", via=ROUTED, router={"default_litellm_params": {"temperature": 0.3}}, way="either"),
    Scenario("default-metadata", via=ROUTED, router={"default_litellm_params": {"metadata": {"a": "b"}}}, way="either"),
    Scenario("timeout", via=ROUTED, router={"timeout": 11.0}),
    Scenario("call-timeout", {"timeout": 4.0}, via=ROUTED, router={"timeout": 11.0}),
    Scenario("pre-call-checks", via=ROUTED, router={"enable_pre_call_checks": True}, deployments=LIMITED, way="either"),
    Scenario(
        "pre-call-checks-window",
        {"messages": [{"role": "user", "content": "word " * 9000}]},
        via=ROUTED,
        way="either",
        router={"enable_pre_call_checks": True},
        deployments=(deployment("plain", model="openai/gpt-4"),),
    ),
    Scenario(
        "rpm-limit",
        via=ROUTED,
        calls=5,
        way="either",
        router={"routing_strategy": "usage-based-routing-v2"},
        deployments=(deployment("plain", rpm=2),),
    ),
    Scenario(
        "enforced-limit",
        via=ROUTED,
        calls=5,
        way="either",
        router={"optional_pre_call_checks": ["enforce_model_rate_limits"]},
        deployments=(deployment("plain", rpm=2),),
    ),
    Scenario(
        "budget",
        via=("arouter",),
        way="either",
        deployments=(deployment("plain", max_budget=10.0, budget_duration="1d"),),
    ),
    Scenario("cached-responses", {"messages": HELLO}, via=ROUTED, router={"cache_responses": True}, way="either"),
    Scenario(
        "max-parallel",
        via=("arouter",),
        way="either",
        script=_max_parallel,
        ordered=False,
        deployments=(deployment("delay-0.03", max_parallel_requests=1),),
    ),
    Scenario(
        "default-max-parallel",
        via=("arouter",),
        way="either",
        router={"default_max_parallel_requests": 2},
        script=_max_parallel,
        ordered=False,
        deployments=(deployment("delay-0.03"),),
    ),
    Scenario("priority", {"priority": 0}, via=("arouter",), way="either"),
    Scenario("metadata", {"metadata": {"a": "b"}}, via=ROUTED, way="either"),
    Scenario("litellm-metadata", {"litellm_metadata": {"a": "b"}}, via=ROUTED, way="either"),
    Scenario("mock-response", {"mock_response": "hi"}, via=ROUTED, way="declined"),
    Scenario("mock-in-deployment", via=ROUTED, deployments=(deployment("plain", mock_response="hi"),), way="declined"),
    # retries
    Scenario(
        "retry",
        via=ROUTED,
        router={"num_retries": 1},
        way="either",
        calls=3,
        seconds=1.0,
        deployments=(deployment(ONCE_SOON, max_retries=0),),
    ),
    Scenario(
        "retry-429",
        via=ROUTED,
        router={"num_retries": 1},
        way="either",
        calls=3,
        seconds=1.0,
        deployments=(
            deployment('error-429{"plain_first": 2, "times": 1, "headers": {"retry-after": "0.1"}}', max_retries=0),
        ),
    ),
    Scenario(
        "retry-exhausted",
        via=ROUTED,
        router={"num_retries": 1},
        way="either",
        calls=3,
        seconds=5.0,
        deployments=(deployment('error-500{"plain_first": 2}', max_retries=0),),
    ),
    Scenario(
        "retry-other-deployment",
        via=ROUTED,
        router={"num_retries": 3, "disable_cooldowns": True},
        way="either",
        calls=3,
        deployments=(
            deployment('error-500{"plain_first": 2, "times": 1}', max_retries=0, weight=1),
            deployment("plain", weight=1),
        ),
    ),
    Scenario(
        "retry-argument",
        {"num_retries": 1},
        via=ROUTED,
        way="either",
        calls=3,
        seconds=1.0,
        deployments=(deployment('error-500{"plain_first": 2, "times": 1}', max_retries=0),),
    ),
    Scenario(
        "retry-policy",
        via=ROUTED,
        way="either",
        calls=3,
        seconds=1.0,
        router={"retry_policy": {"InternalServerErrorRetries": 1, "BadRequestErrorRetries": 0}},
        deployments=(deployment('error-500{"plain_first": 2, "times": 1}', max_retries=0),),
    ),
    Scenario(
        "retry-after-setting",
        via=("arouter",),
        router={"num_retries": 1, "retry_after": 1},
        way="either",
        calls=3,
        seconds=1.2,
        deployments=(deployment('error-500{"plain_first": 2, "times": 1}', max_retries=0),),
    ),
    Scenario(
        "sdk-retries",
        via=ROUTED,
        way="either",
        deployments=(deployment(ONCE_SOON, max_retries=1),),
    ),
    # fallbacks
    *(
        Scenario(
            f"fallback-{answer}",
            via=ROUTED,
            router={"fallbacks": [{GROUP: ["other"]}]},
            way="either",
            deployments=failing(answer),
        )
        for answer in (
            "error-400",
            "error-401",
            "error-404",
            "error-429",
            "error-500",
            "drop-request",
            "no-choices",
            "not-json",
        )
    ),
    Scenario(
        "fallback-fails",
        via=ROUTED,
        router={"fallbacks": [{GROUP: ["other"]}]},
        way="either",
        deployments=(
            deployment('error-500{"plain_first": 2}', max_retries=0),
            deployment('error-503{"plain_first": 2}', group="other", max_retries=0),
        ),
    ),
    Scenario(
        "fallback-chain",
        via=ROUTED,
        router={"fallbacks": [{GROUP: ["other", "third"]}]},
        way="either",
        deployments=(
            deployment('error-500{"plain_first": 2}', max_retries=0),
            deployment('error-503{"plain_first": 2}', group="other", max_retries=0),
            deployment("plain", group="third"),
        ),
    ),
    Scenario(
        "fallback-limit",
        via=ROUTED,
        router={"fallbacks": [{GROUP: ["other"]}, {"other": [GROUP]}], "max_fallbacks": 1},
        way="either",
        deployments=(
            deployment('error-500{"plain_first": 2}', max_retries=0),
            deployment('error-503{"plain_first": 2}', group="other", max_retries=0),
        ),
    ),
    Scenario(
        "fallback-default",
        via=ROUTED,
        router={"default_fallbacks": ["other"]},
        way="either",
        deployments=failing("error-500"),
    ),
    Scenario("fallback-argument", {"fallbacks": ["other"]}, via=ROUTED, way="either", deployments=failing("error-500")),
    Scenario(
        "fallback-context-window",
        via=ROUTED,
        router={"context_window_fallbacks": [{GROUP: ["other"]}]},
        way="either",
        deployments=failing("context-window"),
    ),
    Scenario(
        "fallback-content-policy",
        via=ROUTED,
        router={"content_policy_fallbacks": [{GROUP: ["other"]}]},
        way="either",
        deployments=failing("content-policy"),
    ),
    Scenario(
        "fallback-content-filter",
        via=ROUTED,
        router={"content_policy_fallbacks": [{GROUP: ["other"]}]},
        way="either",
        deployments=failing("content-filter"),
    ),
    Scenario(
        "fallback-unused",
        via=ROUTED,
        router={"fallbacks": [{GROUP: ["other"]}]},
        deployments=(deployment("plain"), OTHER),
    ),
    Scenario(
        "fallback-disabled",
        {"disable_fallbacks": True},
        via=ROUTED,
        router={"fallbacks": [{GROUP: ["other"]}]},
        way="either",
        deployments=failing("error-500"),
    ),
    Scenario(
        "mock-testing-fallbacks",
        {"mock_testing_fallbacks": True},
        via=ROUTED,
        way="either",  # cores serve the attempt to fall back
        router={"fallbacks": [{GROUP: ["other"]}]},
        deployments=(deployment("plain"), OTHER),
    ),
    Scenario(
        "mock-testing-context-window",
        {"mock_testing_context_window_fallbacks": True},
        via=ROUTED,
        way="either",
        router={"context_window_fallbacks": [{GROUP: ["other"]}]},
        deployments=(deployment("plain"), OTHER),
    ),
    # cooldowns
    Scenario(
        "cooldown",
        via=("arouter",),
        way="either",
        script=_cooldown,
        router={"allowed_fails": 1, "cooldown_time": 30},
        deployments=(
            deployment('error-500{"plain_first": 2}', max_retries=0),
            deployment('error-503{"plain_first": 2}', api_key="sk-b", max_retries=0),
        ),
    ),
    Scenario(
        "cooldown-401",
        via=("arouter",),
        way="either",
        script=_cooldown,
        deployments=(deployment('error-401{"plain_first": 2}', max_retries=0),),
    ),
    Scenario(
        "cooldown-429",
        via=("arouter",),
        way="either",
        script=_cooldown,
        deployments=(
            deployment("error-429-retry-after-9", max_retries=0),
            deployment('error-429{"plain_first": 2}', api_key="sk-b", max_retries=0),
        ),
    ),
    Scenario(
        "cooldown-disabled",
        via=("arouter",),
        way="either",
        script=_cooldown,
        router={"disable_cooldowns": True},
        deployments=(deployment('error-500{"plain_first": 2}', max_retries=0),),
    ),
    Scenario(
        "cooldown-policy",
        via=("arouter",),
        way="either",
        script=_cooldown,
        router={"allowed_fails_policy": {"InternalServerErrorAllowedFails": 1}},
        deployments=(
            deployment('error-500{"plain_first": 2}', max_retries=0),
            deployment('error-500{"plain_first": 2}', api_key="sk-b", max_retries=0),
        ),
    ),
    # state and change
    Scenario("usage", via=("arouter",), script=_same_deployment, ordered=False),
    Scenario("deployments-change", via=("arouter",), way="either", script=_deployments_change),
    Scenario(
        "changed-inside",
        via=("arouter",),
        script=_changed_inside,
        deployments=(deployment("plain", extra_headers={"X-Dep": "old"}),),
    ),
    Scenario(
        "changed-inside-told",
        via=("arouter",),
        script=_changed_inside,
        callbacks={"callbacks": ("payload",)},
        deployments=(deployment("plain", extra_headers={"X-Dep": "old"}),),
    ),
    Scenario(
        "wildcard-without-price",
        {"model": "nobody-knows-me"},
        via=ROUTED,
        deployments=(deployment("plain", group="*", model="openai/*"),),
        way="either",
    ),
    Scenario(
        "settings-change",
        via=("arouter",),
        way="either",
        script=_settings_change,
        deployments=(deployment("plain"), OTHER),
    ),
    Scenario("two-routers", via=("arouter",), script=_two_routers),
    Scenario(
        "providers-mixed",
        via=ROUTED,
        calls=5,
        way="either",
        deployments=(deployment("plain", model="openai/gpt-4o"), deployment("plain", model="hosted_vllm/qwen")),
    ),
)
