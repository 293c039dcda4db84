"""What the proxy reads of a stream's chunks and writes of them: LiteLLM's own values, mostly without asking it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, Final

import pytest
from litellm.types.utils import Delta, ModelResponse, ModelResponseStream, StreamingChoices, TextCompletionResponse
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

from litellm_accel import hot, patching
from litellm_accel.gateway import hidden_params, served_texts, stream_models, stream_texts
from litellm_accel.stock import guard

_WRITE = "_serialize_streaming_chunk"


def _source(module: str) -> Path:
    package = importlib.util.find_spec("litellm")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")


def extracted() -> ModuleType | None:
    """Return what LiteLLM writes chunks by, from a module whose import takes all that a proxy needs."""
    text = _source("litellm.proxy.proxy_server").read_text()
    functions = {held.name: held for held in ast.parse(text).body if isinstance(held, ast.FunctionDef)}
    fields = getattr(importlib.import_module("litellm.constants"), "VLLM_CHOICE_FIELDS", None)
    if _WRITE not in functions or "_null_vllm_choice_fields" not in functions or fields is None:
        return None
    wanted, found = [_WRITE], {}
    while wanted:
        name = wanted.pop()
        found[name] = functions[name]
        called = {held.id for held in ast.walk(functions[name]) if isinstance(held, ast.Name)}
        wanted += called & functions.keys() - found.keys() - set(wanted)
    made = ModuleType("proxy")
    vars(made).update(
        **{held.__name__: held for held in (BaseModel, ModelResponseStream, TextCompletionResponse)},
        MappingProxyType=MappingProxyType,
        **{"Final": Final, "Mapping": Mapping, "Sequence": Sequence, "Iterable": Iterable, "json": json, "IncEx": Any},
        PydanticSerializationError=PydanticSerializationError,
        to_jsonable_python=to_jsonable_python,
        VLLM_CHOICE_FIELDS=fields,
        _JSON_OBJECT=TypeAdapter(dict[object, object]),
        _JSON_ARRAY=TypeAdapter(list[object]),
        verbose_proxy_logger=SimpleNamespace(warning=lambda *held: None),
    )
    exec(compile(ast.Module([*found.values()], []), "proxy", "exec"), vars(made))
    return made


MODULE = extracted()


class Own(ModelResponseStream):
    """A chunk of somebody's own."""


class Choice(StreamingChoices):
    """A choice of somebody's own."""


def chunk(delta: Any = None, kind: Any = ModelResponseStream, **more: Any) -> Any:
    made = kind(id="a", created=1, model="m", choices=[StreamingChoices(delta=Delta(**(delta or {})), **more)])
    made._hidden_params = {"model_id": "d"}
    return made


def changed(made: Any, **values: Any) -> Any:
    vars(made).update(values)
    return made


def without(made: Any, name: str) -> Any:
    del made.choices[0].__pydantic_extra__[name]
    return made


# What is given, and whether LiteLLM is asked for its hidden parameters, its texts and its JSON.
CHUNKS: list[tuple[Any, str]] = [
    (chunk({"content": 'ä"\n'}), ""),
    (chunk({"role": "assistant", "content": ""}), ""),
    (chunk({"content": "a"}, index=1, finish_reason="stop", more=None), ""),
    (ModelResponseStream(id="a", created=1, choices=[chunk().choices[0], chunk({"content": "b"}).choices[0]]), ""),
    (ModelResponseStream(id="a", created=1, choices=[]), ""),
    (chunk({"content": "a"}, stop_reason=None), "write"),
    (chunk({"content": "a"}, token_ids=[1], stop_reason="a"), "write"),
    (chunk({"content": "a"}, index=True), "texts"),
    (chunk({"content": ["a"]}), "texts"),
    (chunk({"content": "a"}, kind=Own), "find texts write"),
    (ModelResponseStream(id="a", created=1, choices=[Choice(delta=Delta(content="a"))]), "texts write"),
    (changed(chunk({"content": "a"}), _hidden_params={"other": 1}), "find"),
    (changed(chunk({"content": "a"}), choices=tuple(chunk({"content": "a"}).choices)), "texts write"),
    (without(chunk({"content": "a"}), "index"), "texts"),
    (without(chunk({"content": "a"}), "delta"), "texts"),
    (ModelResponse(id="a", created=1), "find texts write"),
]


def _is_there(target: str) -> bool:
    try:
        return patching.resolve(target) is not None
    except patching.PatchError:
        return False


def gate(switched: bool = True) -> Any:
    made = hot.gate.Gate("proxy")
    made.switch(switched)
    return made


def made(name: str, switched: bool = True) -> tuple[Any, Any, list[Any]]:
    """Return what is tested, what it stands for, and what LiteLLM was asked for meanwhile."""
    asked: list[Any] = []
    if name == "write":
        if MODULE is None:
            pytest.skip("a release that writes chunks in another way")
        stock: Any = patching.stock_copy(vars(MODULE)[_WRITE])
        kind: Any = lambda gate, stock: stream_texts.ChunkTexts(gate, MODULE, stock)  # noqa: E731
    else:
        targets = hidden_params.TARGETS if name == "find" else (served_texts.TARGET,)
        target = next((held for held in targets if _is_there(held)), None)
        if target is None:
            pytest.skip("a release without it")
        stock, where = patching.stock_copy(patching.resolve(target)), target.partition(":")[0]
        of = hidden_params.HiddenParams if name == "find" else served_texts.ServedTexts
        kind = lambda gate, stock: of(gate, *([where] if name == "find" else []), stock)  # noqa: E731

    def asking(given: Any, **more: Any) -> Any:
        asked.append(given)
        return stock(given, **more)

    return getattr(kind(gate(switched), asking), name), stock, asked


@pytest.fixture(autouse=True)
def _functions_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    is_stock = guard.is_stock
    own = () if MODULE is None else tuple(vars(MODULE).values())
    monkeypatch.setattr(guard, "is_stock", lambda value: any(value is held for held in own) or is_stock(value))


def outcome(function: Any, given: Any) -> Any:
    try:
        return function(given)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", ["find", "texts", "write"])
@pytest.mark.parametrize(("given", "asking"), CHUNKS, ids=map(str, range(len(CHUNKS))))
def test_the_same(name: str, given: Any, asking: str) -> None:
    ours, stock, asked = made(name)
    expected, got = outcome(stock, given), outcome(ours, given)
    assert got == expected and type(got) is type(expected)
    assert name != "find" or got is expected or not expected
    assert bool(asked) == (name in asking.split())


@pytest.mark.parametrize("name", ["find", "texts", "write"])
def test_litellm_is_asked_while_the_component_is_off(name: str) -> None:
    ours, _, asked = made(name, switched=False)
    ours(CHUNKS[0][0])
    assert asked


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("find", "litellm.types.utils.ModelResponseStream.__getattr__"),
        ("find", "_normalize_hidden_params"),
        ("texts", "litellm.types.utils.StreamingChoices.__getattr__"),
        ("write", "litellm.types.utils.StreamingChoices.model_extra"),
    ],
)
@pytest.mark.parametrize("is_early", [True, False])
def test_what_somebody_puts_in_the_place_of_litellms_is_called(
    monkeypatch: pytest.MonkeyPatch, name: str, target: str, is_early: bool
) -> None:
    ours, _, asked = made(name)
    ours(CHUNKS[0][0])
    assert not asked
    is_property = target.endswith("model_extra")
    shown = property(lambda self: {"stop_reason": None}) if is_property else lambda *held: {"replaced": True}
    if target.startswith("_"):
        target = next(held for held in hidden_params.TARGETS if _is_there(held)).partition(":")[0] + "." + target
    monkeypatch.setattr(target, shown, raising=False)
    if is_early and not is_property:
        ours, _, asked = made(name)
    outcome(ours, CHUNKS[0][0])
    assert len(asked) == 1


def test_a_replaced_writer_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _, asked = made("write")
    monkeypatch.setattr(MODULE, "_serialize_chat_chunk", lambda chunk: b"replaced")
    assert ours(CHUNKS[0][0]) == b"replaced"
    monkeypatch.setattr(MODULE, "_null_vllm_choice_fields", lambda choice: {})
    ours(CHUNKS[0][0])
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["find", "texts", "write"])
def test_what_litellm_does_is_known(name: str) -> None:
    ours, stock, _ = made(name)
    owner: Any = {"find": hidden_params, "texts": served_texts, "write": stream_texts}[name]
    more = {"find": [stock.__module__], "texts": [], "write": [MODULE]}[name]
    assert owner.is_known(stock, *more)
    assert owner.agrees(ours.__self__, stock)
    assert not owner.agrees(ours.__self__, lambda chunk: "other")


def test_a_name_is_asked_about_once_while_nobody_replaces_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = "litellm.proxy.common_request_processing", "is_azure_model_router_request"
    path = _source(module)
    found = [held for held in ast.parse(path.read_text()).body if getattr(held, "name", None) == name]
    names: dict[str, Any] = {"__name__": module, "Mapping": Mapping}
    exec(compile(ast.Module(found, []), str(path), "exec"), names)
    kind: Any = getattr(importlib.import_module("litellm.llms.azure_ai.common_utils"), "AzureFoundryModelInfo", None)
    if name not in names or not hasattr(kind, "is_model_router_call"):
        pytest.skip("a release that asks otherwise")
    asking, routers = names[name], stream_models.RouterNames()
    assert [routers.ask(asking, held) for held in ("gpt", "gpt", "a-model-router", "gpt")] == [
        False,
        False,
        True,
        False,
    ]
    assert routers._last[0] is asking
    monkeypatch.setattr(kind, "get_azure_ai_route", staticmethod(lambda model: "model_router"))
    assert routers.ask(asking, "gpt") is True
    assert routers._last[0] is None
