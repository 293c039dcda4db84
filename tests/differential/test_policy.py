"""What the lane notices of LiteLLM's settings, and when it stops learning because they change too often."""

from __future__ import annotations

import functools
import types
from typing import Any
from unittest import mock

import litellm
import pytest
import wrapt

from litellm_accel.lane import policy
from litellm_accel.lane.policy import Environment


def test_a_function_of_somebody_else_is_noticed_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(lambda: 0)
    assert environment.reason is None
    with monkeypatch.context() as patched:
        patched.setattr(litellm.Router, "flush_cache", lambda *args: None)
        assert environment.watch.changed()
        assert environment.refresh() == "patched Router.flush_cache"
    assert environment.refresh() is None


def test_so_are_classes_in_the_place_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(lambda: 0)

    class Other(litellm.utils.Rules):  # type: ignore[name-defined,misc]
        def post_call_rules(self, *args: Any) -> bool:
            return True

    with monkeypatch.context() as patched:
        patched.setattr("litellm.litellm_core_utils.rules.Rules", Other)
        assert environment.refresh() == "patched Rules.post_call_rules"
    assert environment.refresh() is None


def _own(*args: Any, **kwargs: Any) -> None:
    """A function of an application."""


@pytest.mark.parametrize(
    "value",
    [
        _own,
        staticmethod(_own),
        functools.partial(_own),
        functools.lru_cache(_own),
        functools.wraps(litellm.utils.get_optional_params)(lambda *args: None),
        mock.Mock(),
        mock.AsyncMock(),
        mock.create_autospec(litellm.utils.get_optional_params),
        wrapt.FunctionWrapper(litellm.utils.get_optional_params, _own),
        types.MethodType(_own, object()),
        type("Other", (litellm.ModelResponse,), {"__module__": __name__}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("owner", [litellm.main, litellm.Router, litellm.main.openai_chat_completions])
def test_whatever_can_be_called_and_is_not_the_packages_own_is_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: Any, value: Any
) -> None:
    environment = Environment(lambda: 0)
    name = "completion" if owner is not litellm.main else "get_optional_params"
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, value)
        assert str(environment.refresh()).startswith("patched ")
    assert environment.refresh() is None


@pytest.mark.parametrize(
    "place",
    [
        "litellm.in_memory_llm_clients_cache.get_cache",
        "litellm.litellm_core_utils.logging_worker.GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue",
        "litellm.litellm_core_utils.llm_response_utils.response_metadata.ResponseMetadata.apply",
        "litellm.litellm_core_utils.redact_messages.should_redact_message_logging",
        "litellm.utils.executor.submit",
        "litellm.verbose_logger.debug",
        "openai._legacy_response.LegacyAPIResponse.parse",
        "os.getenv",
    ],
)
def test_a_mock_where_a_test_may_put_one_is_noticed(place: str) -> None:
    environment = Environment(lambda: 0)
    with mock.patch(place):
        assert environment.watch.changed()
        assert str(environment.refresh()).startswith("patched ")
    assert environment.refresh() is None


def test_settings_that_are_none_at_first_are_watched_when_they_hold_something(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(lambda: 0)
    monkeypatch.setattr(litellm, "headers", {"x-team": "blue"})
    assert environment.judged() is None
    before = environment.epoch
    litellm.headers["x-team"] = "red"
    assert environment.judged() is None
    assert environment.epoch == before + 1


@pytest.mark.parametrize("name", policy.READ_ELSEWHERE)
def test_settings_that_no_call_reads_may_be_anything(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    environment = Environment(lambda: 0)
    monkeypatch.setattr(litellm, name, ["set"])
    assert environment.judged() is None


@pytest.mark.parametrize("place", ["litellm.utils.executor", "litellm.verbose_logger"])
def test_what_an_object_holds_for_itself_may_change(place: str) -> None:
    environment = Environment(lambda: 0)
    with mock.patch(f"{place}.counted", 1, create=True):
        assert environment.watch.changed()
        assert environment.refresh() is None
        assert not environment.watch.changed()
    assert environment.refresh() is None
    assert environment.epoch == 0


@pytest.mark.parametrize(("served", "rests"), [(0, True), (2, False)])
def test_changes_that_waste_what_was_learned_bring_a_rest(
    monkeypatch: pytest.MonkeyPatch, served: int, rests: bool
) -> None:
    total = 0
    environment = Environment(lambda: total)
    monkeypatch.setattr(litellm, "request_timeout", 10.0)
    environment.refresh()
    reasons = []
    for number in range(policy._WASTED_BEFORE_REST + 1):
        environment.learned += 1
        total += served
        monkeypatch.setattr(litellm, "request_timeout", 20.0 + number)
        reasons.append(environment.refresh())
    assert reasons[-1] == ("settings keep changing" if rests else None)
    assert set(reasons[:-1]) == {None}
