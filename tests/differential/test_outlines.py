"""A conversation of another outline than those watched: its first call shows that the outline does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from fastpath_switch import Switch, without_callbacks
from litellm_accel.provider import Provider

ASKED = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
SHORT, LONG = [ASKED], [SYSTEM, ASKED]
NAMED = [{**ASKED, "name": "alice"}]


@pytest.fixture
def switch() -> Iterator[Switch]:
    made = Switch()
    with without_callbacks(), made.on():
        yield made
    made.stop()


def play(provider: Provider, *conversations: list[Any], **arguments: Any) -> None:
    for messages in conversations:
        given = {"model": "openai/gpt-4o", "api_key": "sk-1", "api_base": provider.url, **arguments}
        response = litellm.completion(messages=messages, **given)
        if arguments.get("stream"):
            list(response)


def served(provider: Provider, switch: Switch, *conversations: list[Any]) -> tuple[int, int]:
    """How many of these calls are served and how many are learned from, after calls with a short conversation."""
    play(provider, SHORT, SHORT, SHORT)
    before = switch.gate.served, switch.gate.declined["learned from"]
    play(provider, *conversations)
    return switch.gate.served - before[0], switch.gate.declined["learned from"] - before[1]


def test_another_outline_is_watched_once(provider: Provider, switch: Switch) -> None:
    assert served(provider, switch, LONG, LONG, SHORT, [*LONG, ASKED]) == (3, 1)


def test_what_messages_hold_besides_texts_is_watched(provider: Provider, switch: Switch) -> None:
    assert served(provider, switch, NAMED, NAMED, SHORT) == (2, 1)


def test_a_request_that_depends_on_the_outline_is_learned_for_each(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = litellm.OpenAIGPTConfig.transform_request

    def counted(self: Any, model: str, messages: Any, optional_params: Any, *rest: Any, **more: Any) -> Any:
        optional_params["extra_body"] = {"counted": len(messages)}
        return transform(self, model, messages, optional_params, *rest, **more)

    monkeypatch.setattr("litellm_accel.fastpath.admission.environment.is_genuine", lambda value: True)
    monkeypatch.setattr(litellm.OpenAIGPTConfig, "transform_request", counted)
    provider.clear()
    play(provider, SHORT, SHORT, LONG, LONG, LONG, SHORT, SHORT)
    assert [request.json["counted"] for request in provider.requests()] == [1, 1, 2, 2, 2, 1, 1]
    assert switch.gate.served > 1
