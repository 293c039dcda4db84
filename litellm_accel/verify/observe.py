"""Turns what a run shows into plain data that can be compared, and records what callbacks receive."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from litellm.integrations.custom_logger import CustomLogger
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from litellm_accel.verify import masks

DEPTH = 14
#: Types whose values are their own description.
PLAIN = frozenset({type(None), bool, int, float, str})


def describe(value: Any, key: object = None, depth: int = DEPTH) -> Any:
    """A comparable description of any object, as it is now; `key` is what it is called where it was found."""
    kind = type(value)
    if kind is dict:
        return _mapping(value, depth) if depth else _too_deep(kind)
    if kind is list:
        return _listing(value, key, depth) if depth else _too_deep(kind)
    if (masked := masks.clock(key, value)) is not None:
        return masked
    if kind in PLAIN:
        return value
    if kind is bytes:
        return {"<bytes>": value.decode("latin-1")}
    if depth == 0:
        return _too_deep(kind)
    return {f"<{_name(kind)}>": _object(value, key, depth - 1)}


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    depth -= 1
    timed = masks.TIMED
    return {
        name if isinstance(name, str) else repr(name): (
            item if type(item) in PLAIN and not timed[name] else describe(item, name, depth)
        )
        for name, item in value.items()
    }


def _listing(value: list[Any], key: object, depth: int) -> list[Any]:
    depth -= 1
    plain = frozenset() if masks.TIMED[key] else PLAIN
    return [item if type(item) in plain else describe(item, key, depth) for item in value]


def _too_deep(kind: type) -> str:
    return f"<{_name(kind)}, too deep>"


def _object(value: Any, key: object, depth: int) -> Any:
    if isinstance(value, BaseModel):
        return {
            "fields": _mapping(value.__dict__, depth),
            "set": sorted(value.model_fields_set),
            "extra": describe(value.__pydantic_extra__, None, depth),
            "private": describe(value.__pydantic_private__, None, depth),
        }
    if isinstance(value, BaseException):
        return {
            "text": str(value),
            "arguments": describe(list(value.args), None, depth),
            "attributes": _mapping(vars(value), depth),
            "cause": _name(type(value.__cause__)),
        }
    if isinstance(value, httpx.Headers):
        return sorted([name.lower(), text] for name, text in value.multi_items())
    if isinstance(value, httpx.Response):
        return {
            "status_code": value.status_code,
            "headers": describe(value.headers, None, depth),
            "text": value.text if hasattr(value, "_content") else "unread",
            "request": describe(getattr(value, "_request", None), None, depth),
        }
    if isinstance(value, httpx.Request):
        return {"method": value.method, "url": str(value.url), "headers": describe(value.headers, None, depth)}
    if isinstance(value, (tuple, list)):
        return [describe(item, key, depth) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(repr(describe(item, None, depth)) for item in value)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, (enum.Enum, int, float, str)):
        return repr(value)
    if isinstance(value, type) or callable(value):
        return _name(value)
    return None


def outcome(response: Any) -> dict[str, Any]:
    """What an application can do with what a call returned or raised: the object itself and its dumps."""
    described = {"object": describe(response)}
    if isinstance(response, BaseModel):
        described["dump"] = describe(response.model_dump())
        described["dump of what was set"] = describe(response.model_dump(exclude_unset=True, exclude_none=True))
        described["json"] = _json(response)
        described["repr"] = repr(response)
        described["_response_headers"] = describe(getattr(response, "_response_headers", "absent"))
    return described


def _json(response: BaseModel) -> str:
    try:
        return response.model_dump_json()
    except PydanticSerializationError as error:  # a lone surrogate has no form in JSON
        return str(error)


#: Attributes of a stream that are not its own state, or are described once, at its end.
_OF_STREAMS = frozenset(
    {"chunks", "completion_stream", "logging_obj", "make_call", "rules", "_async_generator", "_sync_generator"}
)


class Streamed:
    """What an application can do with a stream: each chunk as it comes, and the stream as it is then and at the end."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._seen: list[Any] = []
        self._told: Any = None
        self._begin = self._state()

    def take(self, chunk: Any) -> None:
        """Describe a chunk that has come, and what has changed in its stream."""
        held = self.stream.chunks
        kept = bool(held) and held[-1] is chunk
        self._seen.append({**outcome(chunk), "kept": [kept, len(held)], "stream": self._state()})

    def end(self, error: BaseException | None = None) -> dict[str, Any]:
        """Describe the whole stream, after its end or the error that ended it."""
        kept = [describe(chunk) for chunk in self.stream.chunks]
        ended = None if error is None else outcome(error)
        self._told = None
        return {
            "stream": self._begin,
            "chunks": self._seen,
            "error": ended,
            "kept": kept,
            "at the end": self._state(),
        }

    def _state(self) -> Any:
        """The attributes of the stream; those alone that have changed since they were described last."""
        now = {name: describe(value, name) for name, value in vars(self.stream).items() if name not in _OF_STREAMS}
        before, self._told = self._told or {}, now
        changed = {name: value for name, value in now.items() if name not in before or before[name] != value}
        return {**changed, "gone": sorted(before.keys() - now.keys())}


def streamed(stream: Any) -> dict[str, Any]:
    """What comes of a synchronous stream."""
    seen = Streamed(stream)
    try:
        for chunk in stream:
            seen.take(chunk)
    except Exception as error:
        return seen.end(error)
    return seen.end()


async def astreamed(stream: Any) -> dict[str, Any]:
    """What comes of an asynchronous stream."""
    seen = Streamed(stream)
    try:
        async for chunk in stream:
            seen.take(chunk)
    except (Exception, asyncio.CancelledError) as error:
        return seen.end(error)
    return seen.end()


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def logged(record: logging.LogRecord) -> list[Any]:
    """What a handler can tell of a log record besides its logger, level and message."""
    thread = (record.threadName or "").partition("_")[0]  # an executor's threads take turns
    place = [record.pathname, record.lineno, record.funcName, thread]
    return [str(record.msg), repr(record.args), *place, sorted(vars(record)), record.exc_info is not None]


# --- callbacks --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _without_collision() -> Iterator[None]:
    """Go on after the block where a dictionary has changed in it."""
    try:
        yield
    except RuntimeError as error:
        if "changed size" not in str(error) and "mutated" not in str(error):
            raise


class Recorder:
    """The events of one run in order. What the main thread sees and what other threads see is ordered apart."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.here: list[Any] = []
        self.elsewhere: list[Any] = []

    def record(self, event: str, **values: Any) -> None:
        """Keep a description of an event's payload as it is at this moment."""
        with self._lock:
            described = None
            while described is None:
                # A thread of LiteLLM may write into the payload meanwhile; LiteLLM is silent on what a function raises
                # that is told of it.
                with _without_collision():
                    described = {name: describe(value, name) for name, value in values.items()}
            main = threading.current_thread() is threading.main_thread()
            (self.here if main else self.elsewhere).append({"event": event, **described})

    def __len__(self) -> int:
        return len(self.here) + len(self.elsewhere)


class Recording(CustomLogger):  # type: ignore[misc]
    """A logger that writes to the record of a run."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder


class SyncLogger(Recording):
    """The synchronous events."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        self.recorder.record("log_pre_api_call", model=model, messages=messages, kwargs=kwargs)

    def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record(
            "log_post_api_call", kwargs=kwargs, response=response_obj, start_time=start_time, end_time=end_time
        )

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record(
            "log_success_event", kwargs=kwargs, response=response_obj, start_time=start_time, end_time=end_time
        )

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record(
            "log_failure_event", kwargs=kwargs, response=response_obj, start_time=start_time, end_time=end_time
        )


class AsyncLogger(Recording):
    """The asynchronous events."""

    async def async_log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        self.recorder.record("async_log_pre_api_call", model=model, messages=messages, kwargs=kwargs)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record(
            "async_log_success_event", kwargs=kwargs, response=response_obj, start_time=start_time, end_time=end_time
        )

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record(
            "async_log_failure_event", kwargs=kwargs, response=response_obj, start_time=start_time, end_time=end_time
        )


class BothLogger(SyncLogger, AsyncLogger):
    """Synchronous and asynchronous events."""


class SuccessLogger(Recording):
    """What most loggers listen to: the end of a call."""

    log_success_event = SyncLogger.log_success_event
    log_failure_event = SyncLogger.log_failure_event
    async_log_success_event = AsyncLogger.async_log_success_event
    async_log_failure_event = AsyncLogger.async_log_failure_event


class RedactedLogger(SuccessLogger):
    """Wants no messages and no answers."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.turn_off_message_logging = True


class FailureLogger(Recording):
    """Listens to failures alone."""

    log_failure_event = SyncLogger.log_failure_event
    async_log_failure_event = AsyncLogger.async_log_failure_event


class ChangingLogger(SuccessLogger):
    """Changes all it is told of a success."""

    def _change(self, kwargs: Any, response_obj: Any) -> None:
        for name in ("messages", "input"):
            kwargs[name][0]["content"] = f"changed in {name}"
            kwargs[name].append({"role": "user", "content": "added"})
        payload = kwargs["standard_logging_object"]
        payload["messages"][0]["role"] = "changed"
        payload["metadata"]["usage_object"]["total_tokens"] += 1
        payload["model_map_information"]["model_map_key"] = "changed"
        payload["model_parameters"]["changed"] = payload["total_tokens"] = 7
        kwargs["litellm_params"]["metadata"]["changed"] = kwargs["optional_params"]["changed"] = True
        kwargs["additional_args"]["complete_input_dict"]["changed"] = True
        response_obj.choices[0].message.content = "changed"
        response_obj._hidden_params["changed"] = True

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        super().log_success_event(kwargs, response_obj, start_time, end_time)
        self._change(kwargs, response_obj)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        await super().async_log_success_event(kwargs, response_obj, start_time, end_time)
        self._change(kwargs, response_obj)


class FailingSuccessLogger(Recording):
    """Raises when told of a success."""

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record("log_success_event")
        raise ValueError("a callback fails")

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record("async_log_success_event")
        raise ValueError("an async callback fails")


class PayloadReader(AsyncLogger):
    """Reads the standard payload alone, as most observability tools do."""

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record("async_log_success_event", payload=kwargs["standard_logging_object"])

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record("async_log_failure_event", payload=kwargs["standard_logging_object"])


class DeploymentHooks(Recording):
    """Changes the request just before it is sent and the response just after."""

    async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> Any:
        self.recorder.record("async_pre_call_deployment_hook", kwargs=kwargs, call_type=call_type)
        return {**kwargs, "temperature": 0.125}

    async def async_post_call_success_deployment_hook(self, request_data: Any, response: Any, call_type: Any) -> Any:
        self.recorder.record(
            "async_post_call_success_deployment_hook", request=request_data, response=response, call_type=call_type
        )
        response.choices[0].message.content = "changed by a hook"
        return response


class LoggingHooks(Recording):
    """Changes what the loggers receive."""

    async def async_logging_hook(self, kwargs: Any, result: Any, call_type: str) -> Any:
        self.recorder.record("async_logging_hook", kwargs=kwargs, result=result, call_type=call_type)
        return kwargs, result

    def logging_hook(self, kwargs: Any, result: Any, call_type: str) -> Any:
        self.recorder.record("logging_hook", kwargs=kwargs, result=result, call_type=call_type)
        return kwargs, result


class PreRequestHook(Recording):
    """Changes the request's parameters."""

    async def async_pre_request_hook(self, model: str, messages: Any, kwargs: Any) -> Any:
        self.recorder.record("async_pre_request_hook", model=model, messages=messages, kwargs=kwargs)
        return kwargs


class FallbackLogger(AsyncLogger):
    """The router's fallback events."""

    async def log_success_fallback_event(self, original_model_group: str, kwargs: Any, original_exception: Any) -> None:
        self.recorder.record(
            "log_success_fallback_event", group=original_model_group, kwargs=kwargs, error=original_exception
        )

    async def log_failure_fallback_event(self, original_model_group: str, kwargs: Any, original_exception: Any) -> None:
        self.recorder.record(
            "log_failure_fallback_event", group=original_model_group, kwargs=kwargs, error=original_exception
        )


class RoutingHooks(Recording):
    """Takes part in the choice of a deployment."""

    async def async_filter_deployments(self, model: Any, healthy_deployments: Any, *rest: Any, **others: Any) -> Any:
        self.recorder.record("async_filter_deployments", model=model, deployments=healthy_deployments)
        return healthy_deployments[:1]


class StreamEvents(BothLogger):
    """The events of streams too: each chunk that is logged, and the last one on its way to the application."""

    def log_stream_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record("log_stream_event", response=response_obj)

    async def async_log_stream_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.recorder.record("async_log_stream_event", response=response_obj)

    async def async_post_call_streaming_deployment_hook(
        self, request_data: Any, response_chunk: Any, call_type: Any
    ) -> Any:
        self.recorder.record("async_post_call_streaming_deployment_hook", chunk=response_chunk, call_type=call_type)
        response_chunk.choices[0].delta.content = "changed by a hook"
        return response_chunk


class FailingLogger(FailingSuccessLogger, BothLogger):
    """Raises before a call and when told of a success."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        self.recorder.record("log_pre_api_call")
        raise ValueError("a callback fails before the call")


class SlowLogger(AsyncLogger):
    """Takes its time."""

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        await asyncio.sleep(0.02)
        await super().async_log_success_event(kwargs, response_obj, start_time, end_time)


def _function(recorder: Recorder) -> Callable[..., None]:
    def callback(kwargs: Any, completion_response: Any, start_time: Any, end_time: Any) -> None:
        recorder.record(
            "function", kwargs=kwargs, response=completion_response, start_time=start_time, end_time=end_time
        )

    return callback


def _async_function(recorder: Recorder) -> Callable[..., Any]:
    async def callback(kwargs: Any, completion_response: Any, start_time: Any, end_time: Any) -> None:
        recorder.record(
            "async function", kwargs=kwargs, response=completion_response, start_time=start_time, end_time=end_time
        )

    return callback


def _input_function(recorder: Recorder) -> Callable[..., None]:
    def callback(model_call_dict: Any) -> None:
        recorder.record("input function", details=model_call_dict)

    return callback


#: What a scenario may put into LiteLLM's callback lists; any other name is one of LiteLLM's string callbacks.
KINDS: dict[str, Callable[[Recorder], Any]] = {
    "sync": SyncLogger,
    "async": AsyncLogger,
    "both": BothLogger,
    "success": SuccessLogger,
    "redacted": RedactedLogger,
    "failure alone": FailureLogger,
    "changing": ChangingLogger,
    "failing success": FailingSuccessLogger,
    "payload": PayloadReader,
    "deployment hooks": DeploymentHooks,
    "logging hooks": LoggingHooks,
    "pre-request hook": PreRequestHook,
    "fallbacks": FallbackLogger,
    "routing hooks": RoutingHooks,
    "failing": FailingLogger,
    "streams": StreamEvents,
    "slow": SlowLogger,
    "function": _function,
    "async function": _async_function,
    "input function": _input_function,
}
