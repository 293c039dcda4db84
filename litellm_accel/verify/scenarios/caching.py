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
    Scenario("hit", settings=CACHED, via=ALL, way="either"),
    Scenario("hit-with-parameters", {"temperature": 0.1, "user": "u"}, settings=CACHED, way="either"),
    Scenario("hit-tools", settings=CACHED, answer="tools", way="either"),
    Scenario("hit-callbacks", settings=CACHED, callbacks={"callbacks": ("both",)}, via=ALL, way="either"),
    Scenario("no-cache", {"cache": {"no-cache": True}}, settings=CACHED, way="either"),
    Scenario("no-store", {"cache": {"no-store": True}}, settings=CACHED, way="either"),
    Scenario("ttl", {"cache": {"ttl": 30}}, settings=CACHED, way="either"),
    Scenario("s-maxage", {"cache": {"s-maxage": 0}}, settings=CACHED, way="either"),
    Scenario("namespace", {"cache": {"namespace": "mine"}}, settings=CACHED, way="either"),
    Scenario("caching-false", {"caching": False}, settings=CACHED, way="either"),
    Scenario("caching-true", {"caching": True}, settings=CACHED, way="either"),
    Scenario("opt-in", settings={"cache": Made(_opt_in)}, way="either"),
    Scenario("opt-in-used", {"cache": {"use-cache": True}}, settings={"cache": Made(_opt_in)}, way="either"),
    Scenario("other-call-types", settings={"cache": Made(_embeddings_only)}, way="either"),
    Scenario("namespace-ttl", settings={"cache": Made(_disk_free)}, via=DIRECT, way="either"),
    Scenario("error-not-stored", {"max_retries": 0}, settings=CACHED, answer="error-500-then-ok", way="either"),
    Scenario("preset-key", {"preset_cache_key": "mine"}, settings=CACHED, way="either"),
)

# The same messages each time: the second call finds what the first one stored.
SCENARIOS = themed(
    "caching",
    *(replace(scenario, arguments={"messages": HELLO, **scenario.arguments}) for scenario in CACHES),
)
