"""The proof component ``routing`` gives when it is switched on, and what makes it fail."""

from __future__ import annotations

import inspect
import operator
import random
import threading
from collections.abc import Callable, Iterator
from itertools import compress
from types import ModuleType, SimpleNamespace
from typing import Any

import litellm
import pytest
import wrapt
from litellm import Router

import litellm_accel
from litellm_accel import _backend, activation
from litellm_accel.components import routing
from litellm_accel.components.base import Replaced, Unproven
from litellm_accel.routing import accounting, filters, listings, probe, setting_words
from litellm_accel.routing.setting_words import KNOWN
from releases import routers_in_python

pytestmark = routers_in_python


@pytest.fixture
def status(
    restored: None, hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], tuple[str, str]]]:
    """Switch the component on and return its state and the reason."""
    for module in (routing, filters, accounting, listings):
        monkeypatch.setattr(module, "_hot", hot("routing"))
    monkeypatch.setitem(_backend._modules, "gate", hot("gate"))
    monkeypatch.setattr(activation, "_activations", {})

    def switch_on() -> tuple[str, str]:
        row = litellm_accel.accelerate("routing")["routing"]
        return row.state, row.reason

    yield switch_on
    litellm_accel.restore()


def test_it_passes_and_leaves_nothing_behind(status: Callable[[], tuple[str, str]]) -> None:
    names = [name for name in vars(litellm) if name.endswith("callback") or name == "callbacks"]
    before = {name: list(getattr(litellm, name)) for name in names}
    prices, drawn, threads = dict(litellm.model_cost), random.getstate(), set(threading.enumerate())
    assert status()[0] == "active"
    assert {name: list(getattr(litellm, name)) for name in names} == before
    assert litellm.model_cost == prices
    assert random.getstate() == drawn
    assert set(threading.enumerate()) <= threads  # some may have ended
    assert litellm_accel.status()["routing"].served == 0


async def test_it_runs_inside_a_running_loop(status: Callable[[], tuple[str, str]]) -> None:
    assert status()[0] == "active"


def _one_more_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(self: Any, model_list: Any = None, *, choose_by_moon: bool = False) -> None: ...

    monkeypatch.setattr(Router, "__init__", init)


def _another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def last(healthy_deployments: Any, target_order: Any = None) -> Any:
        return healthy_deployments[-1:]

    monkeypatch.setattr(litellm.utils, "get_order_filtered_deployments", last)


def _another_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm.router.increment_deployment_successes_for_current_minute", lambda **rest: None)


def _verbose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "set_verbose", True)


OTHER_WORLDS = {
    "a setting": (_one_more_setting, "unproven", "other settings: choose_by_moon"),
    "a rule": (_another_order, "failed", "differs from stock: simple-shuffle: chat"),
    "a record": (_another_record, "failed", "simple-shuffle: litellm.router:Router.deployment_callback_on_success"),
    "verbose": (_verbose, "unproven", "cannot be compared with stock here: verbose mode"),
}


@pytest.mark.parametrize("case", OTHER_WORLDS)
def test_it_fails_where_litellm_differs(
    case: str, status: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    change, state, reason = OTHER_WORLDS[case]
    with monkeypatch.context() as patch:
        change(patch)
        found = status()
    assert found[0] == state, found
    assert reason in found[1], found
    assert status()[0] == "active"


def test_another_parameter_is_noticed() -> None:
    def stock(self: Any, model: Any, moon: Any = None) -> None: ...

    def fast(router: Any, model: Any) -> None: ...

    both = Replaced(SimpleNamespace(fast=fast), stock)  # type: ignore[arg-type]
    with pytest.raises(Unproven, match="module:chosen takes other parameters in the installed LiteLLM: model, moon"):
        probe.require_known(Router, {"module:chosen": both})


def test_a_setting_that_selection_begins_to_read_keeps_its_groups_on_stock(
    status: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def filter_blocked(self: Any, deployments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        infos = [held["model_info"] for held in deployments]
        shining = [not info.get("blocked") and info.get("moon_phase") != "new" for info in infos]
        return list(compress(deployments, shining))

    def model(name: str, **info: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": "openai/gpt-4o"}, "model_info": {"id": name, **info}}

    filter_blocked.__module__ = "litellm.router"
    monkeypatch.setattr(Router, "_filter_blocked_deployments", filter_blocked)
    assert status()[0] == "active"
    router = Router(model_list=[model("lit", sun_phase="new"), model("dark", moon_phase="full")])
    assert router.get_available_deployment("lit")["model_info"]["id"] == "lit"
    assert router.get_available_deployment("dark")["model_info"]["id"] == "dark"
    row = litellm_accel.status()["routing"]
    assert (row.served, set(row.declined)) == (1, {"deployment setting 'moon_phase' is not known here"})


# Words of 1.108 that are not known: model groups with settings of these names are stock's.
LATER = {
    *("adecisions", "count_inline", "decisions", "request_carries_json_input", "request_deployments"),
    *("routed_decision_input", "strict", "withheld"),
}


def test_every_word_of_this_release_is_known(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_words, "KNOWN", frozenset())
    found = setting_words.unknown_settings(routing.around(), Router)
    assert found - KNOWN in (set(), LATER, {"cli"})  # the last is a word of earlier releases
    if hasattr(Router, "get_all_deployments"):
        assert KNOWN - found in (set(), {"custom_llm_provider"})


def test_every_setting_of_this_release_is_known() -> None:
    assert set(list(inspect.signature(Router.__init__).parameters)[1:]) <= probe._SETTINGS


@pytest.mark.parametrize(
    "place",
    [
        "litellm.router.filter_team_based_models",
        "litellm.Router._filter_blocked_deployments",
        "litellm.router_strategy.least_busy.LeastBusyLoggingHandler.get_available_deployments",
    ],
)
def test_what_was_wrapped_before_is_asked(
    status: Callable[[], tuple[str, str]], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _, name = place.rpartition(".")
    held = operator.attrgetter(owner.removeprefix("litellm."))(litellm)
    monkeypatch.setattr(held, name, wrapt.FunctionWrapper(getattr(held, name), _through))
    state, reason = status()
    assert (state, reason) == ("off", f"{name} of LiteLLM's routing has been wrapped")


def _through(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)
