"""Component ``streaming``: the chunks of a stream, made from the bytes that come, without the SDK's objects between.

LiteLLM sets a stream up and ends it; the component makes the chunks in the middle. It takes the place of the event
decoder in the SDK's stream and of the two methods by which LiteLLM's stream is iterated, so that each event can be
served here or be left to stock, which goes on from where the stream is.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

from litellm_accel._backend import load
from litellm_accel.components.base import Component, Replaced, Replacement
from litellm_accel.lane.learn import Unlearnable
from litellm_accel.lane.streams import Events, Learner, busy
from litellm_accel.verify.records import require

streaming = load("streaming")
bindings = load("bindings")

_HANDLER = "litellm.litellm_core_utils.streaming_handler"
_ASYNC = f"{_HANDLER}:CustomStreamWrapper.__anext__"
_SYNC = f"{_HANDLER}:CustomStreamWrapper.__next__"
_BUILDER = "litellm.main:stream_chunk_builder"
_TOTAL = f"{_HANDLER}:calculate_total_usage"
_MAX_TEMPLATES = 1024

# What a served chunk passes by, and the settings read there. Functions and classes must be the packages' own.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "litellm": (
        "set_verbose",
        "post_call_rules",
        "_custom_providers",
        "REPEATED_STREAMING_CHUNK_LIMIT",
        "disable_streaming_logging",
        "turn_off_message_logging",
        "success_callback",
        "_async_success_callback",
    ),
    "litellm.constants": ("LITELLM_MAX_STREAMING_DURATION_SECONDS",),
    _HANDLER: (
        "Delta",
        "ModelResponseStream",
        "Rules",
        "StreamingChoices",
        "_provider_hidden_params",
        "_provider_response_model",
        "get_hidden_params",
        "is_async_iterable",
        "map_finish_reason",
        "print_verbose",
        "time",
        "verbose_logger",
    ),
    f"{_HANDLER}:CustomStreamWrapper": (
        "__anext__",
        "__next__",
        "_add_mcp_list_tools_to_first_chunk",
        "_check_max_streaming_duration",
        "_dispatch_provider_chunk",
        "_has_any_special_delta_attributes",
        "_has_special_delta_content",
        "_optional_combine_thinking_block_in_choices",
        "check_special_tokens",
        "chunk_creator",
        "copy_model_response_level_provider_specific_fields",
        "handle_openai_chat_completion_chunk",
        "is_chunk_non_empty",
        "model_response_creator",
        "raise_on_model_repetition",
        "return_processed_chunk_logic",
        "run_success_logging_and_cache_storage",
        "set_model_id",
        "strip_role_from_delta",
    ),
    "litellm.litellm_core_utils.rules:Rules": ("post_call_rules",),
    "litellm.litellm_core_utils.core_helpers": ("map_finish_reason", "preserve_upstream_non_openai_attributes"),
    "litellm.types.utils": ("add_provider_specific_fields", "is_custom_tool_call_dict", "generate_id"),
    "litellm.types.utils:Delta": ("__init__", "__setattr__", "model_dump"),
    "litellm.types.utils:StreamingChoices": ("__init__", "__setattr__", "model_dump"),
    "litellm.types.utils:ModelResponseStream": ("__init__", "__setattr__", "model_dump", "hidden_params"),
    "openai._streaming": ("ServerSentEvent", "json"),
    "openai._streaming:SSEDecoder": ("_aiter_chunks", "_iter_chunks", "aiter_bytes", "decode", "iter_bytes"),
    "openai._streaming:AsyncStream": ("__aiter__", "__anext__", "__stream__", "_iter_events"),
    "openai._streaming:Stream": ("__iter__", "__next__", "__stream__", "_iter_events"),
    "openai._base_client:BaseClient": ("_process_response_data",),
    "openai._models": ("construct_type", "BaseModel"),
}


class Streams:
    """The middle of every stream: serves chunks by templates that are learned from stock, shape by shape."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        self.stock: dict[str, FunctionType] = {}
        handler = importlib.import_module(_HANDLER)
        sdk = importlib.import_module("openai._streaming")
        self.package = importlib.import_module("litellm")
        self.learner = Learner(handler)
        self.logger: logging.Logger = handler.verbose_logger
        self._wrapper = handler.CustomStreamWrapper
        self._async, self._sync, self._decoder = sdk.AsyncStream, sdk.Stream, sdk.SSEDecoder
        self._chunk = importlib.import_module("openai.types.chat").ChatCompletionChunk
        self._executor = handler.executor
        self._kinds = handler.ModelResponseStream, handler.StreamingChoices, handler.Delta
        self._redacts = importlib.import_module(
            "litellm.litellm_core_utils.redact_messages"
        ).should_redact_message_logging
        self.review()

    # --- what is admitted

    def review(self) -> None:
        """Judge the settings anew and forget what was learned under others."""
        owners = {place: _owner(place) for place in _NAMES}
        self.settings = bindings.Bindings((owner, _NAMES[place]) for place, owner in owners.items())
        self.templates: dict[Any, Any] = {}
        self.reason = self._judge(owners)

    def _judge(self, owners: Mapping[str, Any]) -> str | None:
        if self.package.set_verbose:
            return "setting set_verbose"
        if owners["litellm.constants"].LITELLM_MAX_STREAMING_DURATION_SECONDS is not None:
            return "setting LITELLM_MAX_STREAMING_DURATION_SECONDS"
        sources = tuple(
            str(Path(str(importlib.import_module(n).__file__)).parent) for n in ("litellm", "openai", "pydantic")
        )
        for place, names in _NAMES.items():
            for name in names:
                value = vars(owners[place]).get(name)
                code = getattr(value, "__code__", None)
                if (callable(value) and code is None and not isinstance(value, type)) or (
                    code is not None and not code.co_filename.startswith(sources)
                ):
                    return f"patched {name}"
        return None

    def admitted(self) -> str | None:
        """Return why no chunk may be served now, or None."""
        if self.settings.changed():
            self.review()
        if self.reason is not None:
            return self.reason
        if self.package.post_call_rules:
            return "setting post_call_rules"
        if self.package._custom_providers:
            return "custom providers"
        if self.logger.isEnabledFor(logging.DEBUG):
            return "logging"
        return None

    def events(self, wrapper: Any, kind: Any) -> Events | None:
        """Return where the events of a stream are; None if stock must be asked, and why is counted."""
        stream: Any = vars(wrapper).get("completion_stream")
        if type(stream) is not kind:
            self.gate.decline("another kind of stream")
            return None
        if type(stream._decoder) is Events:
            found: Events = stream._decoder
            return found
        reason = self._unfit(wrapper, stream)
        if reason is None:
            reason = "first chunk"
            stream._decoder = Events(stream._decoder, streaming.Reader(self.templates, vars(self.package)))
        self.gate.decline(reason)
        return None

    def _unfit(self, wrapper: Any, stream: Any) -> str | None:
        if type(wrapper) is not self._wrapper or not vars(wrapper).keys().isdisjoint(vars(self._wrapper)):
            return "changed stream"
        if type(stream._decoder) is not self._decoder or stream._cast_to is not self._chunk:
            return "another decoder"
        if stream._options is not None and stream._options.synthesize_event_and_data:
            return "another decoder"
        if stream._client._strict_response_validation:
            return "strict validation"
        if stream.response.is_stream_consumed:
            return "begun before"
        return None

    def next(self, wrapper: Any, events: Events) -> Any:
        """Return the next chunk, or a text where there is none, as ``Reader.chunk`` does."""
        reason = self.admitted()
        if reason is not None:
            return reason
        if events.packets is None:
            return "first or last chunk"
        reader = events.reader
        if reader.templates is not self.templates:
            reader.renew(self.templates)
        chunk = reader.chunk(vars(wrapper))
        if chunk is streaming.UNKNOWN:
            self.learn(wrapper, reader)
            return reader.chunk(vars(wrapper))
        return chunk

    def learn(self, wrapper: Any, reader: Any) -> None:
        """Learn the template for the event that the reader does not know, or that there is none."""
        if len(self.templates) >= _MAX_TEMPLATES:
            self.templates.clear()
        self.templates[reader.shape] = None
        try:
            learned = self.learner.learn(wrapper.completion_stream, vars(wrapper), reader.value)
        except Unlearnable as error:
            self.gate.decline(f"unlearnable: {error}")
        except Exception as error:
            self.gate.fault(error)
        else:
            self.templates[reader.shape] = learned

    # --- asynchronous

    async def anext(self, wrapper: Any) -> Any:
        """Serve the next chunk of an asynchronous stream, or leave it to stock."""
        stock = self.stock[_ASYNC]
        if not self.gate.on:
            return await stock(wrapper)
        events = self.events(wrapper, self._async)
        if events is None:
            return await stock(wrapper)
        if events.reading:
            with busy(wrapper.completion_stream, RuntimeError("anext(): asynchronous generator is already running")):
                return await stock(wrapper)
        while True:
            try:
                chunk = self.next(wrapper, events)
            except Exception as error:
                self.gate.fault(error)
                return await stock(wrapper)
            if type(chunk) is not str:
                self.gate.serve()
                return chunk
            if chunk is not streaming.MORE:
                self.gate.decline(chunk)
                return await stock(wrapper)
            events.reading = True
            try:
                packet = await anext(events.packets, None)
            except BaseException as error:
                events.error = error
                packet = None
            finally:
                events.reading = False
            if packet is None:
                return await stock(wrapper)
            events.reader.splitter.feed(packet)

    # --- synchronous

    def snext(self, wrapper: Any) -> Any:
        """Serve the next chunk of a synchronous stream, or leave it to stock."""
        stock = self.stock[_SYNC]
        if not self.gate.on:
            return stock(wrapper)
        events = self.events(wrapper, self._sync)
        if events is None:
            return stock(wrapper)
        if events.reading:
            with busy(wrapper.completion_stream, ValueError("generator already executing")):
                return stock(wrapper)
        while True:
            try:
                chunk = self.next(wrapper, events)
            except Exception as error:
                self.gate.fault(error)
                return stock(wrapper)
            if type(chunk) is not str:
                if not self.package.disable_streaming_logging and self._is_logged(wrapper.logging_obj):
                    self._executor.submit(wrapper.run_success_logging_and_cache_storage, chunk, False)
                self.gate.serve()
                return chunk
            if chunk is not streaming.MORE:
                self.gate.decline(chunk)
                return stock(wrapper)
            events.reading = True
            try:
                packet = next(events.packets, None)
            except BaseException as error:
                events.error = error
                packet = None
            finally:
                events.reading = False
            if packet is None:
                return stock(wrapper)
            events.reader.splitter.feed(packet)

    # --- the end

    def build(
        self,
        chunks: Any,
        messages: Any = None,
        start_time: Any = None,
        end_time: Any = None,
        logging_obj: Any = None,
        count_prompt_tokens: Any = None,
    ) -> Any:
        """Put chunks together as stock does, of fewer chunks that say the same."""
        if type(chunks) is list and self.gate.on:
            try:
                chunks = streaming.condensed(chunks, self._kinds)
            except Exception as error:
                self.gate.fault(error)
        return self.stock[_BUILDER](chunks, messages, start_time, end_time, logging_obj, count_prompt_tokens)

    def total(self, chunks: Any) -> Any:
        """Add usages up as stock does, of those chunks that have one."""
        if type(chunks) is list and self.gate.on:
            try:
                chunks = streaming.bearing_usage(chunks, self._kinds[0])
            except Exception as error:
                self.gate.fault(error)
        return self.stock[_TOTAL](chunks)

    def _is_logged(self, logged: Any) -> bool:
        """Return whether stock's job for a chunk in the middle of a stream can be seen: by callbacks, or by redaction.

        It renews what the first chunk's job has noted, and then goes through these callbacks.
        """
        return bool(
            self.package.success_callback
            or self.package._async_success_callback
            or logged.dynamic_success_callbacks
            or logged.dynamic_async_success_callbacks
            or self._redacts(logged.model_call_details)
        )


def _owner(place: str) -> Any:
    module, _, name = place.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


class Streaming(Component):
    """Serves the chunks in the middle of streams."""

    name: ClassVar[str] = "streaming"
    summary: ClassVar[str] = "streamed chunks made directly from the bytes that come"
    relies_on: ClassVar[tuple[str, ...]] = tuple(
        dict.fromkeys(place.partition(":")[0] for place in _NAMES if place.startswith("litellm."))
    )
    hot_modules: ClassVar[tuple[str, ...]] = ("bindings", "sse", "streaming", "template")

    def replacements(self, gate: Any) -> Sequence[Replacement]:
        """Return the two ways in which LiteLLM's stream is iterated."""
        streams = Streams(gate)

        def serve(target: str, method: Any) -> Replacement:
            def build(stock: FunctionType) -> Any:
                streams.stock[target] = stock
                return method

            return Replacement(target, build)

        return [
            serve(_ASYNC, streams.anext),
            serve(_SYNC, streams.snext),
            serve(_BUILDER, streams.build),
            serve(_TOTAL, streams.total),
        ]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for a record of ``verify``. Each template is proven once more, on the event it was learned for."""
        require(self.name)


COMPONENT = Streaming()
