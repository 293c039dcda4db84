"""What is said of calls that are left to stock: the argument, the member of the metadata, the header, the setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from fastpath_switch import Switch, without_callbacks
from litellm_accel.fastpath.admission import conversations, newcomers
from litellm_accel.fastpath.notify import success
from litellm_accel.fastpath.plans import maker, recorder
from litellm_accel.provider import Provider

ASKED = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Switch]:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    switch = Switch()
    with without_callbacks(), switch.on():
        yield switch
    switch.stop()
    assert switch.gate.faults == 0, switch.gate.last_fault


@pytest.fixture
def call(provider: Provider, switch: Switch) -> Any:
    def call(**arguments: Any) -> Any:
        given = {"model": "openai/gpt-4o-mini", "messages": ASKED, "api_base": provider.url, "api_key": "sk-test"}
        return litellm.completion(**{**given, **arguments})

    for _ in range(3):  # the first call loads modules
        call(temperature=0.99)
    assert switch.gate.served
    switch.gate.clear()
    return call


def test_an_argument_that_differs_each_time_is_named(
    call: Any, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "_MOST", 3)
    for number in range(8):
        call(top_logprobs=number + 1)
    assert switch.gate.declined == {
        "learned from": 3,
        "first of its kind": 1,
        "first of its kind: argument 'top_logprobs' differs each time": 4,
    }


def test_metadata_that_differ_once_too_often_are_named(
    call: Any, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(success, "_MAX_TRIES", 0)
    for _ in range(4):
        call(metadata={"user": "a", "run": "b"})
    assert switch.gate.declined == {"learned from": 2} and switch.gate.served == 2
    call(metadata={"user": "c", "run": "b"})
    call(metadata={"user": "a", "run": "b"})
    assert switch.gate.declined == {
        "learned from": 2,
        "not learned: metadata['user'] differs each time": 1,
    }
    assert switch.gate.served == 3


def test_why_a_kind_of_calls_is_refused_is_said_each_time(
    call: Any, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "SENT_HEADERS", maker.SENT_HEADERS - {"user-agent"})
    for _ in range(4):
        call(temperature=0.3)
    assert switch.gate.declined == {
        "learned from": 1,
        "unlearnable: request header 'user-agent'": 1,
        "not learned: request header 'user-agent'": 3,
    }


def test_a_context_that_is_left_changed_is_stocks(call: Any, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_changed", lambda before: "asked")
    for _ in range(4):
        call(temperature=0.4)
    why = "the context variable asked is another afterwards"
    assert switch.gate.declined == {
        "learned from": 2,
        f"nothing learned: {why}": 1,
        f"unlearnable: {why}": 1,
        f"not learned: {why}": 2,
    }


def test_a_call_that_has_shown_nothing_says_why(call: Any, switch: Switch) -> None:
    for content in ("answer as: error-500-then-ok", "Hello", "Hello"):
        call(temperature=0.5, max_retries=1, messages=[{"role": "user", "content": content}])
    assert switch.gate.declined == {"learned from": 2, "nothing learned: not exactly one request": 1}
    assert switch.gate.served == 1


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("max_budget", 5.0, "setting max_budget of type float"),
        ("openai_system_messages_first", True, "setting openai_system_messages_first=True"),
    ],
)
def test_a_setting_is_named(
    call: Any, switch: Switch, monkeypatch: pytest.MonkeyPatch, setting: str, value: Any, said: str
) -> None:
    monkeypatch.setattr(litellm, setting, value)
    call()
    assert switch.gate.declined == {said: 1}


def test_what_the_messages_hold_is_named(call: Any, switch: Switch) -> None:
    for _ in range(3):  # the first loads LiteLLM's rules for this provider
        call(model="mistral/mistral-small-latest")
    switch.gate.clear()
    call(model="mistral/mistral-small-latest", messages=[{**ASKED[0], "name": "Ada"}])
    assert switch.gate.declined == {"messages with names": 1}


def test_the_role_of_a_message_that_is_rewritten_is_named(
    call: Any, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(temperature=0.6)
    monkeypatch.setattr(conversations.Rewriting, "fits", lambda self, conversation: False)
    call(temperature=0.6, messages=[{"role": "developer", "content": "Be brief."}])
    assert switch.gate.declined == {"learned from": 1, "messages of role 'developer' that LiteLLM rewrites": 1}
