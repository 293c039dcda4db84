"""What a scenario is: one call, described as data, and what must be true of the fast path that serves it.

A scenario can be played through each of its entry points (``via``); such a pair is a ``Run``. Everything the provider,
the application, the callbacks and the router show is compared with stock; see ``masks`` for what is set aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Via = Literal["completion", "acompletion", "router", "arouter", "embedding", "aembedding"]
#: What the fast path does: it is made to serve at least one call of a run, must serve none, or as it likes.
Way = Literal["served", "declined", "either"]

DIRECT: tuple[Via, ...] = ("completion", "acompletion")
ROUTED: tuple[Via, ...] = ("router", "arouter")
ALL: tuple[Via, ...] = (*DIRECT, *ROUTED)
EMBEDDING: tuple[Via, ...] = ("embedding", "aembedding")

#: How often a scenario makes its call unless it says otherwise: one is learned from, the others are served.
USUAL_CALLS = 3
KEY = "sk-verify"
GROUP = "group"
HELLO = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello to the world."})


@dataclass(frozen=True)
class At:
    """Placeholder for the provider's address at which every model is answered with ``answer``."""

    answer: str = "plain"


@dataclass(frozen=True)
class Made:
    """Placeholder for a value made where LiteLLM is imported: ``make()`` is called once for each run."""

    make: Callable[[], Any]


@dataclass(frozen=True)
class Scenario:
    """One call and its surroundings. ``name`` is ``theme/what``, unique."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the call, over the defaults
    via: tuple[Via, ...] = DIRECT
    way: Way = "served"
    answer: str = "plain"  # the provider's scenario
    profile: str = ""  # whose answers they are, over TLS where that is possible; default: plain ones over HTTP
    model: str = "openai/gpt-4o"
    calls: int = USUAL_CALLS  # the same call with other words; one more through a router
    warm_up: int = 0  # calls before those, with ordinary messages
    settings: Mapping[str, Any] = field(default_factory=dict)  # litellm.<name> = value
    environment: Mapping[str, str] = field(default_factory=dict)
    callbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # litellm list -> kinds in observe.KINDS
    router: Mapping[str, Any] = field(default_factory=dict)  # arguments of Router
    deployments: tuple[Mapping[str, Any], ...] = ()  # default: one that answers as the scenario
    ordered: bool = True  # requests and outcomes come in one order
    logs: bool = True  # what is logged and printed is compared
    levels: Mapping[str, int] = field(default_factory=dict)  # logger -> its level; then whole records are compared
    gap: tuple[float, float] | None = None  # seconds before a repeated attempt, at least and at most, on both sides
    seconds: float = 0.0  # how long it waits, about; long ones are played first
    script: Callable[[Any], Any] | None = None  # plays on the Stage instead of the plain calls; may be async
    crossing: bool = False  # others' subjects once more, together

    @property
    def repeats(self) -> bool:
        """Whether the last call is like the one before: nothing counts, hears or answers calls by their number."""
        varies = self.script or self.callbacks or self.router or self.deployments or "plain_first" in self.answer
        return self.calls == USUAL_CALLS and not varies and "times" not in self.answer


@dataclass(frozen=True)
class Run:
    """A scenario through one entry point; with ``brief`` without a call that shows what the one before it has shown."""

    scenario: Scenario
    via: Via
    brief: bool = False

    @property
    def id(self) -> str:
        return f"{self.scenario.name}@{self.via}"

    @property
    def calls(self) -> int:
        """How many calls are made. A fast path prepares itself on the first, and for a router on the second too."""
        return self.scenario.calls + (self.via in ROUTED) - (self.brief and self.scenario.repeats)


def deployment(
    answer: str = "plain", *, group: str = GROUP, model: str = "openai/gpt-4o", info: Any = None, **params: Any
) -> Mapping[str, Any]:
    """One entry of a router's model list; ``params`` join its ``litellm_params``."""
    entry = {
        "model_name": group,
        "litellm_params": {"model": model, "api_base": At(answer), "api_key": KEY, **params},
    }
    return {**entry, "model_info": info} if info else entry


def after_plain(*scenarios: Scenario, via: tuple[Via, ...] | None = None) -> tuple[Scenario, ...]:
    """The same scenarios once more, their answer coming to a caller that has had two plain ones, and then a third."""
    return tuple(
        replace(
            scenario,
            name=f"{scenario.name}-after-plain",
            answer=with_fields(scenario.answer, plain_first=2, times=2),
            calls=5,
            via=via or scenario.via,
        )
        for scenario in scenarios
    )


def crossed(*scenarios: Scenario) -> tuple[Scenario, ...]:
    """The same scenarios as crossings, which only a thorough ``verify`` plays."""
    return tuple(replace(scenario, crossing=True) for scenario in scenarios)


def with_fields(answer: str, **fields: Any) -> str:
    """The name of a provider's scenario with more fields."""
    name, brace, members = answer.partition("{")
    return name + json.dumps({**(json.loads(brace + members) if brace else {}), **fields})


def themed(theme: str, *scenarios: Scenario, profile: str = "") -> tuple[Scenario, ...]:
    """The scenarios with their theme put before their names; those that do not say whose answers they get, these."""
    return tuple(replace(s, name=f"{theme}/{s.name}", profile=s.profile or profile) for s in scenarios)
