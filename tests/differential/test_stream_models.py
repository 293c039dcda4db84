"""The model's name in chunks of streams: the same copies, and the same chunks left as they are."""

from __future__ import annotations

import ast
import datetime
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.types.utils import Delta, ModelResponse, ModelResponseStream, StreamingChoices
from pydantic import BaseModel

from litellm_accel import hot, patching
from litellm_accel.gateway import stream_models
from litellm_accel.gateway.stream_models import ChunkModels
from litellm_accel.stock import guard

_NAME = stream_models.TARGET.partition(":")[2]


def extracted() -> ModuleType:
    """Return LiteLLM's function alone, from a module whose import takes all that a proxy needs."""
    package = importlib.util.find_spec("litellm")
    assert package is not None and package.origin is not None
    text = (Path(package.origin).parent / "proxy" / "proxy_server.py").read_text()
    found = [held for held in ast.parse(text).body if isinstance(held, ast.FunctionDef) and held.name == _NAME]
    made = ModuleType("proxy")
    vars(made).update(
        Final=Final,
        Mapping=Mapping,
        BaseModel=BaseModel,
        LiteLLMLoggingObj=Logging,
        should_return_raw_model_name=lambda data: bool(data.get("raw")),
        is_azure_model_router_request=lambda model: "model-router" in model,
        _restamp_nested_response_model=lambda chunk, model: chunk,
        verbose_proxy_logger=SimpleNamespace(debug=lambda *held: None, error=lambda *held, **more: None),
    )
    exec(compile(ast.Module(found, []), "proxy", "exec"), vars(made))
    return made


MODULE = extracted()
STOCK = patching.stock_copy(vars(MODULE)[_NAME])


@pytest.fixture
def asked() -> list[Any]:
    return []


@pytest.fixture
def models(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> ChunkModels:
    monkeypatch.setattr(guard, "is_stock", lambda value: True)  # the function's names are the test's
    gate = hot.gate.Gate("proxy")
    gate.switch(True)

    def stock(**given: Any) -> Any:
        asked.append(given)
        return STOCK(**given)

    return ChunkModels(gate, MODULE, stock)


def chunk(kind: Any = ModelResponseStream, **more: Any) -> Any:
    made = kind(id="a", created=1, model="gpt-4o-mini", choices=[StreamingChoices(delta=Delta(content="a"))], **more)
    made._hidden_params = {"model_id": "d"}
    return made


class Own(ModelResponseStream):
    """A chunk of somebody's own."""


def logging() -> Any:
    return Logging("m", [], True, "acompletion", datetime.datetime(2026, 1, 1), "a", "b")


CALLS: list[tuple[Any, dict[str, Any], bool]] = [
    (chunk(), {}, False),
    (chunk(more=[1]), {}, False),
    (chunk(), {"requested_model_from_client": "gpt-4o-mini"}, False),
    (chunk(), {"requested_model_from_client": ""}, False),
    (chunk(), {"requested_model_from_client": "model-router"}, False),
    (chunk(), {"request_data": {"raw": True}}, False),
    (chunk(), {"request_data": {"fastest_response": True}}, False),
    (chunk(), {"request_data": {"litellm_logging_obj": object()}}, False),
    (chunk(), {"model_mismatch_logged": False}, True),
    (chunk(), {"fallback_was_attempted": True, "fallback_model_from_metadata": "other"}, True),
    (chunk(Own), {}, True),
    (ModelResponse(model="a"), {}, True),
    ({"model": "a"}, {}, True),
    ("data: a", {}, True),
]


@pytest.mark.parametrize(("given", "more", "is_asked"), CALLS, ids=map(str, range(len(CALLS))))
def test_the_same(models: ChunkModels, asked: list[Any], given: Any, more: dict[str, Any], is_asked: bool) -> None:
    answers = []
    for function in (STOCK, models.restamp):
        held = logging()
        plain: dict[str, Any] = {
            "requested_model_from_client": "gpt",
            "request_data": {"litellm_logging_obj": held},
            "model_mismatch_logged": True,
            "fallback_was_attempted": False,
            "fallback_model_from_metadata": None,
        }
        made, logged = function(chunk=given, **{**plain, **more})
        shown = stream_models._shown(made) if isinstance(made, ModelResponseStream) else made
        answers.append((made is given, shown, logged, held.client_facing_stream_model))
    assert answers[0] == answers[1]
    assert bool(asked) == is_asked


@pytest.mark.parametrize("target", ["_restamp_nested_response_model", "model_copy"])
def test_what_somebody_puts_in_the_place_of_litellms_is_called(
    models: ChunkModels, asked: list[Any], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    if target not in STOCK.__code__.co_names:
        pytest.skip("a release that does not call it")
    owner: Any = MODULE if hasattr(MODULE, target) else ModelResponseStream
    monkeypatch.setattr(owner, target, lambda *held, **more: {"model": "gpt"})
    given = {"requested_model_from_client": "gpt", "request_data": {}, "model_mismatch_logged": True}
    more = {"fallback_was_attempted": False, "fallback_model_from_metadata": None}
    assert models.restamp(chunk=chunk(), **given, **more) == ({"model": "gpt"}, True)
    assert asked


def test_a_fault_leaves_the_copy_to_litellm(
    models: ChunkModels, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "copied", lambda *held: 1 / 0)
    given = {"requested_model_from_client": "gpt", "request_data": {}, "model_mismatch_logged": True}
    more = {"fallback_was_attempted": False, "fallback_model_from_metadata": None}
    assert models.restamp(chunk=chunk(), **given, **more)[0].model == "gpt"
    assert asked


def test_what_litellm_does_is_known(models: ChunkModels, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stream_models.is_known(STOCK)
    assert stream_models.agrees(models)
    monkeypatch.setattr(ModelResponseStream, "model_copy", lambda self, update: self)
    assert not stream_models.agrees(models)
