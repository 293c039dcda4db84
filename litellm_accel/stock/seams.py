"""How LiteLLM's releases, and those of the SDK, differ where we touch them: found by looking, never by version."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from pydantic import BaseModel

# How a call's ``Logging`` object is told of the first chunk of a stream.
_FIRST_CHUNK = ("update_completion_start_time", "_update_completion_start_time")
# What the function takes that puts the chunks of a stream together.
_OF_BUILDER = ("chunks", "messages", "start_time", "end_time", "logging_obj", "count_prompt_tokens")
# What serving a router's calls takes of its module and of its class.
_OF_ROUTERS = ("RouterCacheEnum", "deployment_has_io_token_limits")
_METHODS = (
    "acompletion",
    "completion",
    "async_get_available_deployment",
    "get_available_deployment",
    "_cached_get_model_group_info",
    "_get_client",
    "_track_deployment_metrics",
)


def understood_router() -> ModuleType | None:
    """Return the module of LiteLLM's router if that chooses and counts in Python, in a class that others may extend.

    Later releases have a facade over a core, which calls ``litellm.acompletion`` by that name.
    """
    module = importlib.import_module("litellm.router")
    is_whole = all(hasattr(module, name) for name in _OF_ROUTERS) and all(
        hasattr(module.Router, name) for name in _METHODS
    )
    return module if is_whole and not has_core_of_its_own() else None


def has_core_of_its_own() -> bool:
    """Return whether LiteLLM's router is a facade, which has another object choose, compiled or not."""
    return type(importlib.import_module("litellm.router").Router) is not type


def note_first_chunk(logging_obj: Any) -> Callable[..., None]:
    """Return the method by which a call's ``Logging`` object is told when the first chunk has come."""
    found: Callable[..., None] = either(logging_obj, *_FIRST_CHUNK)
    return found


def leaves_out_unset() -> bool:
    """Return whether LiteLLM reads of an SDK's answer only what the provider has sent, and not the SDK's defaults."""
    dump = getattr(importlib.import_module("litellm.llms.openai.common_utils"), "model_dump_provider_response", None)
    return dump is not None and not dump(_Unset())


@functools.cache
def ends_lines_early() -> bool:
    """Return whether the SDK takes an event of which only the last line feed is still to come."""
    has_ended = False

    def packets() -> Iterator[bytes]:
        nonlocal has_ended
        yield b"data: 1\r\n\r"
        has_ended = True

    for _ in importlib.import_module("openai._streaming").SSEDecoder().iter_bytes(packets()):
        return not has_ended
    return False


class _Unset(BaseModel):
    default: int = 0


def ends_streams_by_known_steps() -> bool:
    """Return whether LiteLLM puts an ended stream together and prices it by the steps that are known here."""
    main = importlib.import_module("litellm.main")
    if not hasattr(importlib.import_module("litellm.litellm_core_utils.litellm_logging").Logging, _FIRST_CHUNK[0]):
        return False  # an earlier release
    steps = {"_stamp_streaming_usage_cost": 3, "_set_stream_builder_response_cost": 2, "stream_chunk_builder": 6}
    return all(
        type(step := vars(main).get(name)) is FunctionType
        and step.__module__ == main.__name__
        and len(inspect.signature(step).parameters) == count
        for name, count in steps.items()
    )


def builds_streams_elsewhere() -> ModuleType | None:
    """Return the module in which LiteLLM puts ended streams together, in releases that do so by steps of its own."""
    builder = vars(importlib.import_module("litellm.main")).get("stream_chunk_builder")
    home = importlib.import_module("litellm.litellm_core_utils.streaming_chunk_builder_utils")
    if type(builder) is not FunctionType or builder.__module__ != home.__name__:
        return None
    return home if tuple(inspect.signature(builder).parameters) == _OF_BUILDER else None


def taken_by(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``arguments``, by name, that ``function`` takes in the installed release."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in parameters}


@functools.cache
def hooks_of_the_sdk() -> tuple[Any, ...]:
    """Return the functions that an SDK puts into its HTTP client and that do something to redirected requests only."""
    azure = importlib.import_module("openai.lib.azure")
    names = ("_strip_azure_api_key_on_redirect", "_async_strip_azure_api_key_on_redirect")
    return tuple(getattr(azure, name) for name in names if hasattr(azure, name))


def default_encoding(counter: ModuleType) -> Any:
    """Return the function by which the module that counts tokens finds LiteLLM's default encoding, None without one."""
    return either(counter, "get_default_encoding", "_get_default_encoding")


def either(owner: Any, *names: str) -> Any:
    """Return what ``owner`` has under the first of ``names`` that the installed release has, None without any."""
    return next((getattr(owner, name) for name in names if hasattr(owner, name)), None)


def module(name: str) -> ModuleType | None:
    """Return the module ``name``, None if the installed release has none."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
