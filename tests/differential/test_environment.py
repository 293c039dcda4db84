"""What the fast path notices of LiteLLM's settings, and which plans it forgets for them."""

from __future__ import annotations

import ast
import contextlib
import functools
import threading
import time
import types
from collections.abc import Callable
from typing import Any
from unittest import mock

import httpx._transports.default as httpx_transports
import litellm
import pytest
import wrapt
from litellm._service_logger import ServiceLogging
from litellm.litellm_core_utils import logging_utils

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission import environment as module
from litellm_accel.fastpath.admission.environment import Environment
from releases import routers_in_python


def test_a_function_of_somebody_else_is_noticed_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    assert environment.reason is None
    with monkeypatch.context() as patched:
        patched.setattr(litellm.OpenAIGPTConfig, "map_openai_params", lambda *args: None)
        assert environment.watch.changed()
        assert str(environment.refresh()) == "patched OpenAIGPTConfig.map_openai_params"
    assert environment.refresh() is None


def test_so_are_classes_in_the_place_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()

    class Other(litellm.utils.Rules):  # type: ignore[name-defined,misc]
        def post_call_rules(self, *args: Any) -> bool:
            return True

    with monkeypatch.context() as patched:
        patched.setattr("litellm.litellm_core_utils.rules.Rules", Other)
        assert str(environment.refresh()) == "patched Rules.post_call_rules"
    assert environment.refresh() is None


def _own(*args: Any, **kwargs: Any) -> Any:
    """A function of an application."""


@pytest.mark.parametrize(
    "value",
    [
        _own,
        staticmethod(_own),
        functools.partial(_own),
        functools.lru_cache(_own),
        functools.wraps(litellm.utils.get_optional_params)(lambda *args: None),
        contextlib.contextmanager(_own),
        contextlib.contextmanager(_own)()(litellm.utils.get_optional_params),
        mock.Mock,
        mock.Mock(),
        mock.AsyncMock(),
        mock.create_autospec(litellm.utils.get_optional_params),
        wrapt.FunctionWrapper(litellm.utils.get_optional_params, _own),
        types.MethodType(_own, object()),
        type("Other", (litellm.ModelResponse,), {"__module__": __name__}),
    ],
    ids=[
        "function",
        "static",
        "partial",
        "cached",
        "wraps",
        "context-manager",
        "decorated-by-one",
        "mock-class",
        "mock",
        "async-mock",
        "autospec",
        "wrapt",
        "method",
        "class",
    ],
)
@pytest.mark.parametrize(
    "owner",
    [
        litellm.main,
        pytest.param(litellm.Router, marks=routers_in_python),
        litellm.main.openai_chat_completions,
    ],
)
def test_whatever_can_be_called_and_is_not_the_packages_own_is_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: Any, value: Any
) -> None:
    environment = Environment()
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
    environment = Environment()
    with mock.patch(place):
        assert environment.watch.changed()
        assert str(environment.refresh()).startswith("patched ")
    assert environment.refresh() is None


def test_names_that_a_release_lacks_are_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in ("MODULES", "BYPASSED", "CLASSES", "UNTRACED", "HANDLERS", "OBJECTS"):
        gone = ("litellm.gone", "litellm.gone:Gone", "litellm.main:Gone", "litellm.main:Gone.gone")
        monkeypatch.setattr(module, names, (*getattr(module, names), *gone))
    environment = Environment()
    assert environment.decline_reason() is None
    with mock.patch("litellm.utils.get_optional_params"):
        assert environment.decline_reason() is not None
    assert environment.met() is None


def test_what_a_call_ran_through_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    cls = litellm.litellm_core_utils.streaming_handler.CustomStreamWrapper
    ran = {"litellm.litellm_core_utils.streaming_handler:CustomStreamWrapper", "litellm.gone:Gone"}
    environment.ran(mock.Mock(owners=lambda known: ran))
    assert environment.met() is None
    before = environment.epoch
    with monkeypatch.context() as patched:
        patched.setattr(cls, "__next__", _own)
        assert str(environment.decline_reason()) == "patched CustomStreamWrapper.__next__"
    assert environment.decline_reason() is None
    assert environment.epoch != before
    with monkeypatch.context() as patched:
        patched.setattr("litellm.litellm_core_utils.streaming_handler.CustomStreamWrapper", mock.Mock())
        assert str(environment.decline_reason()).startswith("patched ")
    assert environment.decline_reason() is None


def test_settings_that_are_none_at_first_are_watched_when_they_hold_something(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    monkeypatch.setattr(litellm, "headers", {"x-team": "blue"})
    assert environment.decline_reason() is None
    before = environment.epoch
    litellm.headers["x-team"] = "red"
    assert environment.decline_reason() is None
    assert environment.epoch == before + 1


@pytest.mark.parametrize("name", sorted(module.READ_ELSEWHERE))
def test_settings_that_no_call_reads_may_be_anything(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    environment = Environment()
    monkeypatch.setattr(litellm, name, ["set"])
    assert environment.decline_reason() is None


@pytest.mark.parametrize("place", ["litellm.utils.executor", "litellm.verbose_logger"])
def test_what_an_object_holds_for_itself_may_change(place: str) -> None:
    environment = Environment()
    with mock.patch(f"{place}.counted", 1, create=True):
        assert environment.watch.changed()
        assert environment.refresh() is None
        assert not environment.watch.changed()
    assert environment.refresh() is None
    assert environment.epoch == 0


ABSENT = object()
SERVICE_LOGGER = "_service_logger"
EXCEPTIONS = "HTTPCORE_EXC_MAP"


def _map_exceptions() -> None:
    with httpx_transports.map_httpcore_exceptions():
        pass


@pytest.mark.parametrize(
    "owner, name, empty, load",
    [
        (litellm, "get_first_chars_messages", ABSENT, None),
        (litellm, "openAIGPTConfig", ABSENT, None),
        (litellm.utils, "get_api_base", ABSENT, None),
        (litellm.utils, "executor", ABSENT, None),
        (litellm.utils, "_CustomGuardrail", None, litellm.utils._get_cached_custom_guardrail),
        (logging_utils, SERVICE_LOGGER, None, logging_utils._get_service_logger),
        (httpx_transports, EXCEPTIONS, {}, _map_exceptions),
    ],
)
def test_what_a_module_loads_when_it_first_needs_it_ends_no_epoch(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, empty: Any, load: Callable[[], Any] | None
) -> None:
    def unload() -> None:
        if empty is ABSENT:
            monkeypatch.delitem(vars(owner), name, raising=False)
        else:
            monkeypatch.setitem(vars(owner), name, empty)

    load = load or (lambda: getattr(owner, name))
    load()  # classes note that they have been used once
    unload()
    environment = Environment()
    assert environment.decline_reason() is None
    load()
    assert vars(owner)[name] != empty
    assert environment.watch.changed()
    assert environment.decline_reason() is None
    assert environment.epoch == 0

    unload()
    assert environment.decline_reason() is None
    before = environment.epoch
    monkeypatch.setitem(vars(owner), name, True)
    assert environment.decline_reason() is None
    assert environment.epoch == before + 1


@pytest.mark.parametrize(
    "owner, name, empty, other",
    [
        (litellm, "get_first_chars_messages", ABSENT, litellm.utils.get_optional_params),
        (litellm, "a_name_of_nothing", ABSENT, logging_utils._get_service_logger()),
        (litellm.utils, "a_name_of_nothing", None, logging_utils._get_service_logger()),
        (logging_utils, SERVICE_LOGGER, logging_utils._get_service_logger(), ServiceLogging()),
    ],
)
def test_what_a_module_does_not_load_ends_all_epochs(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, empty: Any, other: Any
) -> None:
    if empty is ABSENT:
        monkeypatch.delitem(vars(owner), name, raising=False)
    else:
        monkeypatch.setitem(vars(owner), name, empty)
    environment = Environment()
    assert environment.decline_reason() is None
    monkeypatch.setitem(vars(owner), name, other)
    assert environment.decline_reason() is None
    assert environment.epoch == 1


def test_a_mock_in_the_place_of_what_is_loaded_late_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging_utils, SERVICE_LOGGER, None)
    environment = Environment()
    monkeypatch.setattr(logging_utils, SERVICE_LOGGER, mock.Mock())
    assert str(environment.decline_reason()) == "patched litellm.litellm_core_utils.logging_utils._service_logger"


def test_a_variable_by_which_litellm_names_its_own_files_is_no_other_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    environment = Environment()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", f"{litellm.__path__[0]}/litellm_core_utils/tokenizers")
    assert environment.decline_reason() is None
    assert environment.epoch == 0
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "/elsewhere")
    assert environment.decline_reason() is None
    assert environment.epoch == 1


def test_values_that_come_back_bring_their_epoch_back(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    found: dict[Any, set[int]] = {}
    for number in range(30):
        value = {"x-team": str(number % 3)} if number % 3 else None  # a new one each time
        monkeypatch.setattr(litellm, "headers", value)
        monkeypatch.setenv("SOME_VARIABLE", str(number % 2))
        monkeypatch.setattr(litellm, "drop_params", bool(number % 2))
        assert environment.decline_reason() is None
        found.setdefault((number % 2, number % 3), set()).add(environment.epoch)
    assert sorted(map(len, found.values())) == [1] * 6
    assert len(set.union(*found.values())) == 6


def test_values_of_other_types_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    seen = set()
    for value in (1, 1.0, True, "1", [1], [1.0], (1,), {1: 1}, object(), object()):
        monkeypatch.setattr(litellm, "request_timeout", value)
        assert environment.decline_reason() is None
        seen.add(environment.epoch)
    assert len(seen) == 10


def test_what_was_patched_in_between_leaves_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    before = environment.epoch
    with mock.patch("litellm.utils.get_optional_params"):
        assert str(environment.decline_reason()) == "patched litellm.utils.get_optional_params"
    assert environment.decline_reason() is None
    assert environment.epoch != before
    assert not environment.is_kept(before)


def test_settings_that_never_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    epochs = []
    for number in range(5000):
        monkeypatch.setenv(f"VARIABLE_{number}", "1")
        assert environment.decline_reason() is None
        epochs.append(environment.epoch)
    assert len(set(epochs)) == 5000
    assert sum(map(environment.is_kept, epochs)) <= module._MAX_EPOCHS
    assert len(environment._apart) <= module._MAX_APART + 1


@pytest.mark.parametrize(("value", "told"), [(True, "=True"), ([print], " of type list"), ("secret", " of type str")])
def test_a_setting_that_is_stocks_is_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, value: Any, told: str
) -> None:
    environment = Environment()
    monkeypatch.setattr(litellm, "cache", value)
    assert str(environment.decline_reason()) == f"setting cache{told}"
    monkeypatch.undo()
    assert environment.decline_reason() is None


def test_a_look_that_fails_serves_nothing_and_is_made_again_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    monkeypatch.setattr(litellm, "drop_params", "changed")
    with monkeypatch.context() as patched:
        patched.setattr(environment, "_judge_setting", mock.Mock(side_effect=RuntimeError("injected")))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="injected"):
                environment.decline_reason()
        assert str(environment.reason) == "settings not understood"
    assert environment.decline_reason() is None


def test_threads_wait_for_a_look_and_a_look_within_a_look_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    judge, within, others = environment._judge, [], []

    def slow() -> Any:
        within.append(environment.decline_reason())
        thread = threading.Thread(target=lambda: others.append((environment.decline_reason(), environment.epoch)))
        thread.start()
        time.sleep(0.02)
        assert not others
        threads.append(thread)
        return judge()

    threads: list[threading.Thread] = []
    monkeypatch.setattr(environment, "_judge", slow)
    monkeypatch.setattr(litellm, "drop_params", "changed")
    assert environment.decline_reason() is None
    monkeypatch.setattr(environment, "_judge", judge)
    threads[0].join()
    assert within == [decline.SETTINGS_CHANGING]
    assert others == [(None, environment.epoch)]


def test_objects_in_the_places_of_others_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment()
    prices = dict(litellm.model_cost)
    monkeypatch.setattr(litellm, "model_cost", prices)
    assert environment.decline_reason() is None
    before = environment.epoch
    prices["made-up"] = {}
    assert environment.decline_reason() is None
    assert environment.epoch != before
    with monkeypatch.context() as patched:
        patched.setattr("litellm._service_logger.ServiceLogging", mock.Mock())
        assert str(environment.decline_reason()).startswith("patched ")
    assert environment.decline_reason() is None


def test_settings_are_found_without_parsing_the_whole_source(monkeypatch: pytest.MonkeyPatch) -> None:
    find = module.defaults.__wrapped__
    found = find(litellm)
    assert len(found) > 200 and found["suppress_debug_info"] is False
    monkeypatch.setattr(module, "_assignments", lambda source: ast.parse(source).body)
    assert list(found.items()) == list(find(litellm).items())
