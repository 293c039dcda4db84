"""The model's name in the chunks of a stream: that which the client has asked for.

LiteLLM sends a copy of each chunk with that name. The first of a stream is LiteLLM's to copy, which notes that the
names differ; the next ones are copied here, as pydantic does it, and what decides whether a name is changed at all is
asked of LiteLLM's own functions.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched
from litellm_accel.stock import guard, releases

_MODULE = "litellm.proxy.proxy_server"
_TYPES = "litellm.types.utils"
#: LiteLLM's function.
TARGET = f"{_MODULE}:_restamp_streaming_chunk_model"
_PARAMETERS = [
    *("chunk", "requested_model_from_client", "request_data", "model_mismatch_logged"),
    *("fallback_was_attempted", "fallback_model_from_metadata"),
]
# What LiteLLM's function asks about all streams, and what it does to events of other kinds.
_ASKED = ("should_return_raw_model_name", "is_azure_model_router_request", "LiteLLMLoggingObj")
_OTHERS = ("_restamp_nested_response_model", "_nested_response_of", "as_str_mapping", "LiteLLMLoggingObj", "BaseModel")
# What it does with chunks, and what makes a copy of one.
_READ = ("model", "model_copy", "__copy__", "__new__", "__getattribute__", "__getattr__", "model_config")
_set: Any = object.__setattr__
# What LiteLLM asks about the name that the client has given, which depends on that name alone; where that is found.
_ROUTER_ASKED = "is_azure_model_router_request"
_ROUTER_MODULE, _ROUTER_CLASS = "litellm.llms.azure_ai.common_utils", "AzureFoundryModelInfo"
_ROUTER_SOURCES = ("litellm.proxy.common_request_processing", _ROUTER_MODULE)
_ROUTER_READ = ("is_model_router_call", "get_model_router_selected_model", "get_azure_ai_route")


class ChunkModels:
    """Copies chunks in the place of ``stock``, LiteLLM's function, whose names are those of ``module``."""

    def __init__(self, gate: hot.gate.Gate, module: Any, stock: Callable[..., Any]) -> None:
        self._gate = gate
        self._stock = stock
        self._module = module
        self._chunk: Any = importlib.import_module(_TYPES).ModelResponseStream
        self._undefined: Any = importlib.import_module("pydantic_core").PydanticUndefined
        held = vars(module)
        self._untouched = Untouched((self._chunk,), _READ, [(held, name) for name in _OTHERS if name in held])
        self._routers = RouterNames()

    def restamp(
        self,
        *,
        chunk: Any,
        requested_model_from_client: Any,
        request_data: Any,
        model_mismatch_logged: Any,
        fallback_was_attempted: Any,
        fallback_model_from_metadata: Any,
    ) -> Any:
        """Return a chunk with the name of the model that the client is to see, and whether names have differed."""
        if (
            type(chunk) is self._chunk
            and self._gate.on
            and model_mismatch_logged is True
            and fallback_was_attempted is False
            and type(requested_model_from_client) is str
            and type(request_data) is dict
            and self._untouched.holds()
        ):
            try:
                return self._restamped(chunk, requested_model_from_client, request_data), True
            except Exception as error:
                self._gate.fault(error)
        return self._stock(
            chunk=chunk,
            requested_model_from_client=requested_model_from_client,
            request_data=request_data,
            model_mismatch_logged=model_mismatch_logged,
            fallback_was_attempted=fallback_was_attempted,
            fallback_model_from_metadata=fallback_model_from_metadata,
        )

    def _restamped(self, chunk: Any, model: str, request_data: dict[Any, Any]) -> Any:
        module = self._module
        if module.should_return_raw_model_name(request_data) or not model:
            return chunk
        if self._routers.ask(module.is_azure_model_router_request, model) or request_data.get(
            "fastest_response", False
        ):
            return chunk
        if getattr(chunk, "model", None) == model:
            return chunk
        logging = request_data.get("litellm_logging_obj")
        if isinstance(logging, module.LiteLLMLoggingObj):
            logging.client_facing_stream_model = model
        return self.copied(chunk, model)

    def copied(self, chunk: Any, model: str) -> Any:
        """Return what pydantic copies of ``chunk``, with another ``model``."""
        private = chunk.__pydantic_private__
        if private is not None:
            private = {name: value for name, value in private.items() if value is not self._undefined}
        extra = chunk.__pydantic_extra__
        copy = object.__new__(self._chunk)
        _set(copy, "__dict__", {**chunk.__dict__, "model": model})
        _set(copy, "__pydantic_extra__", None if extra is None else extra.copy())
        _set(copy, "__pydantic_fields_set__", chunk.__pydantic_fields_set__ | {"model"})
        _set(copy, "__pydantic_private__", private)
        return copy


class RouterNames:
    """Whether LiteLLM takes a name for that of a router of Azure's: its own answer for the last name.

    LiteLLM looks at nothing but the name, as long as its function and those that this calls are of a known release.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, Any, str, Any] = None, None, "", None
        self._kind: Any = None
        self._classes: Any = None

    def ask(self, asked: Any, model: str) -> Any:
        """Return what ``asked``, LiteLLM's function, says of the name ``model``."""
        function, code, name, answer = self._last
        if function is asked and name == model and asked.__code__ is code and self._is_stock():
            return answer
        answer = asked(model)
        self._last = None, None, "", None
        if type(asked) is FunctionType and guard.is_defined_at(asked, _ROUTER_SOURCES[0], _ROUTER_ASKED):
            self._note(asked, model, answer)
        return answer

    def _note(self, asked: FunctionType, model: str, answer: Any) -> None:
        """Remember an answer, if all that LiteLLM's function calls is its own."""
        kind: Any = getattr(sys.modules.get(_ROUTER_MODULE), _ROUTER_CLASS, None)
        if self._classes is None or kind is not self._kind:
            self._kind, self._classes = kind, hot.watch.Classes((kind,), _ROUTER_READ)
        called = [getattr(kind, name, None) for name in _ROUTER_READ]
        if releases.strange(_ROUTER_SOURCES) is None and all(
            type(function) is FunctionType and guard.is_defined_at(function, _ROUTER_MODULE, f"{_ROUTER_CLASS}.{name}")
            for name, function in zip(_ROUTER_READ, called, strict=True)
        ):
            self._last = asked, asked.__code__, model, answer

    def _is_stock(self) -> bool:
        """Return whether nobody has replaced what LiteLLM's function calls."""
        return (
            getattr(sys.modules.get(_ROUTER_MODULE), _ROUTER_CLASS, None) is self._kind and not self._classes.changed()
        )


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes and asks what is known here."""
    named = {*_ASKED, "model_copy", "client_facing_stream_model"}
    return releases.knows(stock, _PARAMETERS, [_MODULE, _TYPES]) and named <= set(stock.__code__.co_names)


def agrees(models: ChunkModels) -> bool:
    """Return whether a chunk is copied as pydantic copies it."""
    types: Any = importlib.import_module(_TYPES)
    choice = types.StreamingChoices(delta=types.Delta(content="a"))
    chunks = [types.ModelResponseStream(model="a", choices=[choice], **more) for more in ({}, {"more": [1]})]
    chunks[0]._hidden_params = {"model_id": "a"}
    return all(_shown(models.copied(chunk, "b")) == _shown(chunk.model_copy(update={"model": "b"})) for chunk in chunks)


def module() -> Any:
    """Return the proxy's module, which is imported."""
    return sys.modules[_MODULE]


def _shown(chunk: Any) -> list[Any]:
    """Return all that a chunk holds, in order; equal only for the very same values."""
    held = chunk.__dict__, chunk.__pydantic_extra__ or {}, chunk.__pydantic_private__ or {}
    shown = [[(name, id(value) if name != "model" else value) for name, value in part.items()] for part in held]
    return [type(chunk), *shown, chunk.__pydantic_extra__ is None, chunk.__pydantic_fields_set__]
