"""Which callbacks the fast path admits, by what they are."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import litellm
import pytest
from litellm.integrations.custom_batch_logger import CustomBatchLogger
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils import litellm_logging
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from fastpath_switch import without_callbacks
from litellm_accel.fastpath.admission import callbacks
from litellm_accel.fastpath.admission.callbacks import CallbackPolicy
from litellm_accel.fastpath.admission.environment import Environment


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Nobody else listens, and LiteLLM has made no integration."""
    made = litellm_logging._in_memory_loggers[:]
    with without_callbacks():
        litellm_logging._in_memory_loggers.clear()
        yield
    litellm_logging._in_memory_loggers[:] = made


def logger_of(path: str) -> Any:
    """Return an object of the class at ``path`` that nothing was done to."""
    module, _, name = path.rpartition(".")
    try:
        return object.__new__(getattr(importlib.import_module(module), name))
    except ImportError as error:
        pytest.skip(f"needs more of LiteLLM's optional packages: {error}")


@pytest.mark.parametrize("path", callbacks._OWN)
def test_litellms_own_loggers_take_no_other_part_in_a_call(path: str) -> None:
    logger = logger_of(path)
    assert callbacks._path(type(logger)) == path
    assert CallbackPolicy()._part(type(logger)) is None


@pytest.mark.parametrize("name", callbacks._INTEGRATIONS)
def test_integrations_are_called_as_litellm_calls_them(name: str) -> None:
    assert name in litellm._known_custom_logger_compatible_callbacks


@pytest.mark.parametrize(
    "path",
    [
        "litellm.integrations.otel.logger.OpenTelemetryV2",
        "litellm.integrations.newrelic.newrelic.NewRelicLogger",
        "litellm.integrations.anthropic_cache_control_hook.AnthropicCacheControlHook",
    ],
)
def test_others_of_litellms_are_left_to_stock(path: str) -> None:
    assert CallbackPolicy()._part(type(logger_of(path))) is not None


def test_what_is_built_on_an_integration_is_left_to_stock() -> None:
    base = type(logger_of(callbacks._INTEGRATIONS["langsmith"]))
    assert CallbackPolicy()._part(type("Own", (base,), {})) == "LangsmithLogger"


def test_a_batching_logger_of_an_application_is_admitted_unless_it_acts_before_a_call() -> None:
    class Batching(CustomBatchLogger):  # type: ignore[misc]
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            self.log_queue.append(kwargs)

    class Acting(Batching):
        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
            self.log_queue.append(kwargs)

    assert CallbackPolicy()._part(Batching) is None
    assert CallbackPolicy()._part(Acting) == "log_pre_api_call"


async def test_a_name_is_admitted_when_litellm_has_made_its_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_API_KEY", "k")
    environment = Environment()
    litellm.callbacks.append("langsmith")
    assert str(environment.decline_reason()) == "callback langsmith"
    await litellm.acompletion("gpt-4o", [{"role": "user", "content": "Hello"}], mock_response="Hello")
    await asyncio.sleep(0.05)
    await GLOBAL_LOGGING_WORKER.flush()  # what waits would be told to the next test's callbacks
    assert environment.decline_reason() is None
    assert environment.listening
    litellm_logging._in_memory_loggers.clear()  # stock makes another with the next call
    assert str(environment.decline_reason()) == "callback langsmith"


def test_names_of_other_integrations_are_left_to_stock() -> None:
    environment = Environment()
    litellm.callbacks.append("newrelic")
    assert str(environment.decline_reason()) == "callback newrelic"


class Silent(CustomLogger):  # type: ignore[misc]
    """A logger that overrides nothing, and notes something for itself with each event."""

    def note(self) -> None:
        self.noted = getattr(self, "noted", 0) + 1
        type(self).noted_by_all = self.noted


@pytest.mark.parametrize("on", ["logger", "class", "base class"])
@pytest.mark.parametrize("hook", ["log_pre_api_call", "async_pre_call_check", "async_pre_call_deployment_hook"])
def test_a_hook_that_a_logger_gets_later_is_noticed(on: str, hook: str) -> None:
    logger = type("Derived", (Silent,), {})()
    for name in ("callbacks", "input_callback", "success_callback", "failure_callback"):
        getattr(litellm, name).append(logger)
    litellm._async_success_callback.append(logger)
    litellm._async_failure_callback.append(logger)
    environment = Environment()
    assert environment.decline_reason() is None
    for _ in range(2):
        logger.note()
        assert environment.decline_reason() is None
    assert environment.epoch == 0
    with mock.patch.object({"logger": logger, "class": type(logger), "base class": Silent}[on], hook):
        assert str(environment.decline_reason()) == f"callback Derived.{hook}"
    assert environment.decline_reason() is None


def test_an_event_that_a_deaf_logger_gets_later_is_told() -> None:
    logger = Silent()
    litellm._async_success_callback.append(logger)
    environment = Environment()
    assert not environment.listening
    with mock.patch.object(logger, "async_log_success_event"):
        assert environment.decline_reason() is None
        assert environment.listening


@pytest.mark.parametrize("place", ["callbacks", "input_callback", "success_callback", "_async_success_callback"])
def test_a_mock_of_a_logger_is_left_to_stock(place: str) -> None:
    getattr(litellm, place).append(mock.MagicMock(spec=CustomLogger))
    assert str(Environment().reason).startswith("callback ")
