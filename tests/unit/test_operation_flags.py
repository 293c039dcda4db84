"""OpenFeature drives modes: by a stand-in for its SDK that changes at once, and by the SDK itself where it is there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import litellm_accel
from litellm_accel import activation
from made_up import Part, Register


class Client:
    """Evaluates by a dictionary and counts how often; ``change`` tells who listens."""

    def __init__(self) -> None:
        self.flags: dict[str, Any] = {}
        self.handlers: dict[str, list[Callable[[object], None]]] = {"ready": [], "changed": []}
        self.asked = 0

    def add_handler(self, event: str, handler: Callable[[object], None]) -> None:
        self.handlers[event].append(handler)
        if event == "ready":
            handler(None)

    def remove_handler(self, event: str, handler: Callable[[object], None]) -> None:
        self.handlers[event].remove(handler)

    def get_string_details(self, flag: str, default: str) -> Any:
        self.asked += 1
        found = self.flags.get(flag, "FLAG_NOT_FOUND")
        if found in ("FLAG_NOT_FOUND", "TYPE_MISMATCH"):
            return SimpleNamespace(value=default, error_code=SimpleNamespace(value=found), error_message="told")
        return SimpleNamespace(value=found, error_code=None, error_message=None)

    def change(self, **flags: Any) -> None:
        self.flags.update({f"litellm-accel.{name}": value for name, value in flags.items()})
        for handler in self.handlers["changed"]:
            handler(None)


@pytest.fixture
def client(victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch) -> Client:
    register(Part("one", "double"), Part("two", "triple"))
    made = Client()
    domains: list[str] = []
    api = SimpleNamespace(get_client=lambda domain: domains.append(domain) or made)
    events = SimpleNamespace(PROVIDER_READY="ready", PROVIDER_CONFIGURATION_CHANGED="changed")
    monkeypatch.setitem(sys.modules, "openfeature.api", api)
    monkeypatch.setitem(sys.modules, "openfeature.event", SimpleNamespace(ProviderEvent=events))
    made.flags["litellm-accel.one"] = "rollout:25"
    litellm_accel.accelerate(config={"openfeature": True, "components": {"one": {"mode": "off"}}})
    assert domains == ["litellm-accel"]
    return made


def mode(name: str = "one") -> str:
    row = litellm_accel.status()[name]
    return row.mode if row.state == "active" else row.reason


def test_flags_are_over_the_program_and_followed_when_they_change(client: Client, victim: ModuleType) -> None:
    assert (mode(), mode("two")) == ("rollout 25 %", "on")
    client.change(one="on", two="off")
    assert (mode(), mode("two")) == ("on", "switched off by OpenFeature: litellm-accel.two")
    client.change(two="")
    assert mode("two") == "on"
    client.change(enabled="off")
    assert mode() == "switched off by OpenFeature: litellm-accel.enabled"
    client.change(enabled="on")
    assert mode() == "on"
    litellm_accel.configure(components={"one": {"mode": "off"}})
    assert mode() == "switched off by configure()"


def test_calls_ask_no_flag(client: Client, victim: ModuleType) -> None:
    asked = client.asked
    assert [victim.double(number) for number in range(50)] == [2 * number for number in range(50)]
    assert asked and client.asked == asked


def test_what_a_flag_says_and_is_not_understood_changes_nothing(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.change(one="rollout:250")
    assert (
        mode() == "rollout 25 %"
        and "litellm-accel.one = 'rollout:250' is not understood; allowed: on, off" in caplog.text
    )
    client.change(one="TYPE_MISMATCH")
    assert mode() == "rollout 25 %" and "TYPE_MISMATCH told" in caplog.text
    client.change(two="sometimes")
    assert mode("two").startswith("switched off by OpenFeature"), "it never said anything else"
    assert any("'sometimes'" in problem for problem in litellm_accel.health_check()["problems"])
    client.change(one="on", two="on")
    assert (mode(), mode("two"), litellm_accel.health_check()["healthy"]) == ("on", "on", True)


def test_what_flags_said_is_forgotten_with_the_setting(client: Client) -> None:
    litellm_accel.configure(openfeature=False)
    assert client.handlers == {"ready": [], "changed": []}
    assert mode().startswith("switched off by accelerate()")
    litellm_accel.restore()
    assert client.handlers == {"ready": [], "changed": []}


def test_an_sdk_that_is_missing_is_named(
    victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    register(Part("one", "double"))
    monkeypatch.setitem(sys.modules, "openfeature.api", None)
    litellm_accel.accelerate(config={"openfeature": True})
    assert mode() == "on" and "pip install openfeature-sdk" in caplog.text


@pytest.fixture
def sdk(victim: ModuleType, register: Register) -> Iterator[Any]:
    api = pytest.importorskip("openfeature.api")
    register(Part("one", "double"), Part("two", "triple"))
    yield api
    litellm_accel.restore()
    api.shutdown()


def test_the_sdk_itself(sdk: Any) -> None:
    from openfeature.event import ProviderEventDetails
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    def provider(**flags: str) -> Any:
        return InMemoryProvider(
            {f"litellm-accel.{name}": InMemoryFlag("v", {"v": text}) for name, text in flags.items()}
        )

    def comes(name: str, wanted: str) -> None:
        until = time.monotonic() + 20
        while mode(name) != wanted and time.monotonic() < until:
            time.sleep(0.005)
        assert mode(name) == wanted

    litellm_accel.accelerate(config={"openfeature": True})
    first = provider(one="rollout:25")
    sdk.set_provider(first, "litellm-accel")
    comes("one", "rollout 25 %")
    first._flags["litellm-accel.one"] = InMemoryFlag("v", {"v": "on"})
    first._flags["litellm-accel.two"] = InMemoryFlag("v", {"v": "canary:5"})
    first.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=["litellm-accel.one"]))
    comes("one", "on")
    comes("two", "canary 5 %")
    sdk.set_provider(provider(two="off"), "litellm-accel")
    comes("two", "switched off by OpenFeature: litellm-accel.two")
    assert activation.setting_problems() == []
