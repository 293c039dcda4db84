"""The response cache: hits, stores, controls, and what callbacks and cost say of a hit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, HELLO, Made, Scenario, themed


def _local() -> Any:
    import litellm

    return litellm.Cache(type="local")


def _opt_in() -> Any:
    import litellm

    return litellm.Cache(type="local", mode="default_off")


def _embeddings_only() -> Any:
    import litellm

    return litellm.Cache(type="local", supported_call_types=["embedding", "aembedding"])


def _disk_free() -> Any:
    import litellm

    return litellm.Cache(type="local", ttl=60, namespace="space")


CACHED = {"cache": Made(_local)}

CACHES = (
    Scenario("hit", settings=CACHED, via=ALL, lane="either"),
    Scenario("hit-with-parameters", {"temperature": 0.1, "user": "u"}, settings=CACHED, lane="either"),
    Scenario("hit-tools", settings=CACHED, answer="tools", lane="either"),
    Scenario("hit-callbacks", settings=CACHED, callbacks={"callbacks": ("both",)}, via=ALL, lane="either"),
    Scenario("no-cache", {"cache": {"no-cache": True}}, settings=CACHED, lane="either"),
    Scenario("no-store", {"cache": {"no-store": True}}, settings=CACHED, lane="either"),
    Scenario("ttl", {"cache": {"ttl": 30}}, settings=CACHED, lane="either"),
    Scenario("s-maxage", {"cache": {"s-maxage": 0}}, settings=CACHED, lane="either"),
    Scenario("namespace", {"cache": {"namespace": "mine"}}, settings=CACHED, lane="either"),
    Scenario("caching-false", {"caching": False}, settings=CACHED, lane="either"),
    Scenario("caching-true", {"caching": True}, settings=CACHED, lane="either"),
    Scenario("opt-in", settings={"cache": Made(_opt_in)}, lane="either"),
    Scenario("opt-in-used", {"cache": {"use-cache": True}}, settings={"cache": Made(_opt_in)}, lane="either"),
    Scenario("other-call-types", settings={"cache": Made(_embeddings_only)}, lane="either"),
    Scenario("namespace-ttl", settings={"cache": Made(_disk_free)}, via=DIRECT, lane="either"),
    Scenario("error-not-stored", {"max_retries": 0}, settings=CACHED, answer="error-500-then-ok", lane="either"),
    Scenario("preset-key", {"preset_cache_key": "mine"}, settings=CACHED, lane="either"),
)

# The same messages each time: the second call finds what the first one stored.
SCENARIOS = themed(
    "caching",
    *(replace(scenario, arguments={"messages": HELLO, **scenario.arguments}) for scenario in CACHES),
)
