"""The counting functions over a stand-in for LiteLLM: pieces, samples, and what is remembered how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Words:
    """An encoding whose tokens are words."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    @property
    def encoder(self) -> Words:
        return self

    def count_chunked(self, text: str, chunk_chars: int) -> int:
        self.counted.append(text)
        return sum(len(text[start : start + chunk_chars].split()) for start in range(0, len(text), chunk_chars))

    def encode_ordinary(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def decode(self, tokens: list[int]) -> str:
        return " ".join("x" * token for token in tokens)


def count_function(hot: Callable[[str], ModuleType], encoding: Any = None, **changes: Any) -> Any:
    params = SimpleNamespace(count_function=lambda text: -len(text), tokens_per_message=3, tokens_per_name=1)
    arguments = {
        "params": params,
        "samples": lambda text, limit: [text[:limit]],
        "chunk_chars": 100,
        "max_exact_chars": 1000,
        "plain_tools": True,
        **changes,
    }
    return hot("token_counter").CountFunction(encoding or Words(), *arguments.values())


class LiteLLM:
    """What a `TokenCounter` reads: settings of one moment, and how often they were read."""

    def __init__(self, hot: Callable[[str], ModuleType]) -> None:
        self.hot = hot
        self.settings = ModuleType("settings")
        self.settings.on = True  # type: ignore[attr-defined]
        self.registry: set[str] = set()
        self.debug = False
        self.reads = 0
        self.loads: list[Any] = []
        self.lookups: tuple[Any, ...] = ()
        self.gate = hot("gate").Gate("tokens")
        self.counter = hot("token_counter").TokenCounter(self.gate, self.read, SimpleNamespace(), SimpleNamespace())

    def read(self) -> Any:
        self.reads += 1
        return self.hot("token_counter").Snapshot(
            self.hot("bindings").Bindings([(self.settings, ("on",))]),
            {},
            None if self.settings.on else "switched off",  # type: ignore[attr-defined]
            lambda level: self.debug and level == 10,
            [self.registry],
            lambda model: "another tokenizer" if model in self.registry else None,
            self.load,
        )

    def load(self, model: Any) -> Any:
        self.loads.append(model)
        return (count_function(self.hot) if model != "unknown" else "unknown encoding"), self.lookups

    def count(self, text: Any = "two words", model: Any = "m") -> Any:
        return self.counter.token_counter(model, None, text, None, False, None, None, False, None)


@pytest.fixture
def litellm(hot: Callable[[str], ModuleType]) -> LiteLLM:
    return LiteLLM(hot)


def test_text_is_counted_in_pieces_and_sampled_beyond_the_limit(hot: Callable[[str], ModuleType]) -> None:
    words = Words()
    counted = count_function(hot, words, chunk_chars=4, max_exact_chars=10)
    assert counted("abcd efgh") == 3
    assert counted("") == 0
    assert words.counted == ["abcd efgh", ""]
    assert counted("ab " * 10) == round(5 * 30 / 10), "five words in pieces of the first ten characters"


def test_other_strings_are_counted_by_stock(hot: Callable[[str], ModuleType]) -> None:
    class Text(str):
        pass

    assert count_function(hot)(Text("four")) == -4


def test_what_is_known_of_a_model_is_kept_until_a_setting_or_its_membership_changes(litellm: LiteLLM) -> None:
    assert [litellm.count(), litellm.count(model="n"), litellm.count()] == [2, 2, 2]
    assert (litellm.reads, litellm.loads) == (1, ["m", "n"])
    litellm.settings.on = True  # type: ignore[attr-defined]
    assert (litellm.count(), litellm.reads) == (2, 1)
    litellm.registry.add("m")
    litellm.count()
    assert litellm.gate.declined == {"another tokenizer": 1}
    litellm.registry.clear()
    assert (litellm.count(), litellm.reads) == (2, 1)
    litellm.settings.on = False  # type: ignore[attr-defined]
    litellm.count()
    assert litellm.gate.declined == {"another tokenizer": 1, "switched off": 1}
    litellm.settings.on = True  # type: ignore[attr-defined]
    assert (litellm.count(), litellm.reads) == (2, 3)
    assert litellm.loads == ["m", "n", "m", "m"]


def test_changed_default_arguments_make_a_snapshot_outdated(hot: Callable[[str], ModuleType]) -> None:
    def limited(text: str, limit: int = 5) -> None: ...

    bindings = hot("bindings").Bindings([])
    snapshot = hot("token_counter").Snapshot(
        bindings, {limited: limited.__defaults__}, None, bool, [], lambda model: None, lambda model: None
    )
    assert not snapshot.outdated()
    limited.__defaults__ = (6,)
    assert snapshot.outdated()
    limited.__defaults__ = None
    assert snapshot.outdated()


def test_reasons_for_stock(litellm: LiteLLM) -> None:
    declined = litellm.hot("gate").DECLINED
    assert litellm.count(model="unknown") is declined
    litellm.debug = True
    assert litellm.count() is declined
    litellm.debug = False
    assert litellm.count(model=b"m") is declined
    assert litellm.count(text=b"text") is declined
    assert litellm.counter.token_counter("m", {"type": "x"}, "text", None, False, None, None, False, None) is declined
    assert litellm.counter.encode("m", b"text", None) is declined
    assert litellm.counter.decode("m", (1,), None, True) is declined
    assert litellm.gate.declined == {
        "unknown encoding": 1,
        "logging: LiteLLM at DEBUG": 1,
        "model of unusual type": 1,
        "text of unusual type": 2,
        "custom tokenizer": 1,
        "tokens of unusual type": 1,
    }


def test_encode_and_decode(litellm: LiteLLM) -> None:
    assert litellm.counter.encode("m", "ab c", None) == [2, 1]
    assert litellm.counter.decode("m", [2, 1], None, True) == "xx x"
    assert litellm.loads == [None], "both use the default encoding, whatever the model"


def test_memory_of_models_is_bounded(litellm: LiteLLM) -> None:
    for number in range(1025):
        assert litellm.count(model=str(number)) == 2
    assert litellm.count(model="1024") == 2
    assert len(litellm.loads) == 1025
    assert litellm.count(model="0") == 2
    assert len(litellm.loads) == 1026, "all were forgotten when the 1025th came"


def test_threads_share_a_counter_while_settings_change(litellm: LiteLLM) -> None:
    declined = litellm.hot("gate").DECLINED
    results: list[Any] = []

    def count() -> None:
        results.extend(litellm.count(model=str(number % 7)) for number in range(300))

    threads = [threading.Thread(target=count) for _ in range(16)]
    for thread in threads:
        thread.start()
    for number in range(200):
        litellm.settings.on = bool(number % 2)  # type: ignore[attr-defined]
    for thread in threads:
        thread.join()
    assert len(results) == 16 * 300
    assert all(result == 2 or result is declined for result in results)
    assert litellm.count() == 2


def test_what_was_looked_up_is_looked_up_again(hot: Callable[[str], ModuleType]) -> None:
    litellm = LiteLLM(hot)
    entry: dict[str, Any] = {"mode": "chat"}
    listed = {"a"}
    litellm.lookups = ((entry, "mode", "chat"), (listed, "a", True), (listed, "b", False))
    litellm.count()
    litellm.count()
    assert litellm.loads == ["m"]
    entry["mode"] = "embedding"
    litellm.lookups = ((listed, "a", True), (listed, "b", False))
    litellm.count()
    litellm.count()
    assert litellm.loads == ["m", "m"]
    listed.add("b")
    litellm.count()
    assert litellm.loads == ["m"] * 3


def test_a_model_with_its_own_words_for_tools(hot: Callable[[str], ModuleType]) -> None:
    class Sectioned(LiteLLM):
        def load(self, model: Any) -> Any:
            return count_function(hot, plain_tools=False), ()

    litellm = Sectioned(hot)
    declined = hot("gate").DECLINED

    def count(tools: Any, tool_choice: Any) -> Any:
        return litellm.counter.token_counter(
            "m", None, None, [{"role": "user"}], False, tools, tool_choice, False, None
        )

    assert count(None, None) == 7  # words of the role, 3 a message, 3 before the reply
    assert count([{"function": {"name": "f"}}], None) is declined
    assert count(None, "none") is declined
    assert litellm.gate.declined == {"tools in the words of the model": 2}
