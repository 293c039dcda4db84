"""Component ``streaming``: the chunks of a stream, made from the bytes that come, without the SDK's objects between.

With component ``chat`` active as well, the fast path opens the streams; otherwise LiteLLM does. The component takes
the place of the event decoder in the SDK's stream and of the two methods by which LiteLLM's stream is iterated, so that
each event can be served here or be left to stock, which goes on from where the stream is. When a stream has ended, its
chunks are put together here; LiteLLM's success handlers do the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime
import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, ClassVar

from litellm_accel import hot
from litellm_accel.components.base import Component, Replaced, Replacement
from litellm_accel.components.chat import COMPONENT as chat
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.proof import Proof, Trial
from litellm_accel.fastpath.plans.templates import Unrepeatable, state
from litellm_accel.fastpath.streams import builder, source
from litellm_accel.fastpath.streams.source import ChunkLearner, ChunkTrial, Shadow, SSEEventSource, aagain, again, busy
from litellm_accel.hot import bindings, streaming
from litellm_accel.stock import seams
from litellm_accel.stock.guard import is_stock
from litellm_accel.verify.records import is_proven

_HANDLER = "litellm.litellm_core_utils.streaming_handler"
_ASYNC = f"{_HANDLER}:CustomStreamWrapper.__anext__"
_SYNC = f"{_HANDLER}:CustomStreamWrapper.__next__"
_BUILDER = "stream_chunk_builder"
_ASYNCIFY = "litellm.litellm_core_utils.asyncify:asyncify"
# What a proxy has a thread do at the end of each stream.
_TEXTS = "litellm.litellm_core_utils.served_output_texts:served_stream_output_texts"
_FINISH = f"{_HANDLER}:CustomStreamWrapper._finalize_completed_stream"
_MAX_TEMPLATES = 1024
_LITTLE = 512, 16384  # chunks, characters: put together in a millisecond
_COUNTING = frozenset(("deployment_callback_on_success", "sync_deployment_callback_on_success"))
# What a logger is asked about each chunk of a synchronous stream. LiteLLM's own methods do nothing.
_ASKED_IN_STREAMS = (
    "async_log_stream_event",
    "async_logging_hook",
    "exempt_from_message_redaction",
    "log_stream_event",
    "logging_hook",
    "redact_standard_logging_payload_from_model_call_details",
)

_LOGGER = "litellm.integrations.custom_logger:CustomLogger"

# What a served chunk passes by, and the settings read there. Functions and classes must be the packages' own, where the
# installed releases have them. What the opening of a stream passes by besides, the fast path watches.
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
    "litellm.litellm_core_utils.rules:Rules": ("post_call_rules",),
    "litellm.litellm_core_utils.core_helpers": ("map_finish_reason", "preserve_upstream_non_openai_attributes"),
    "litellm.types.utils": ("add_provider_specific_fields", "is_custom_tool_call_dict", "generate_id"),
    "litellm.types.utils:Delta": ("__init__", "__setattr__", "model_dump"),
    "litellm.types.utils:StreamingChoices": ("__init__", "__setattr__", "model_dump"),
    "litellm.types.utils:ModelResponseStream": ("__init__", "__setattr__", "model_dump", "hidden_params"),
    "openai._streaming": ("ServerSentEvent", "json"),
    "openai._base_client:BaseClient": ("_process_response_data",),
    "openai._models": ("construct_type", "BaseModel"),
    "openai._models:BaseModel": ("construct",),
    # What stock's job for each chunk begins with, where that is not begun, and what it asks loggers.
    "litellm.litellm_core_utils.litellm_logging:Logging": ("success_handler",),
    _LOGGER: _ASKED_IN_STREAMS,
}

# Modules and classes of which all is watched.
_WHOLE = (
    _HANDLER,
    f"{_HANDLER}:CustomStreamWrapper",
    "openai._streaming:SSEDecoder",
    "openai._streaming:AsyncStream",
    "openai._streaming:Stream",
)
_UNWATCHED = frozenset(("__dict__", "__weakref__", "__doc__", "__annotations__", "__parameters__", "__orig_bases__"))
# The same as above, for the end of a stream.
_AT_END: Mapping[str, tuple[str, ...]] = {
    "litellm.main": (
        "ChunkProcessor",
        "_set_stream_builder_response_cost",
        "_simple_text_part",
        "_stamp_streaming_usage_cost",
        "_stream_builder_response_cost",
        "get_content_from_model_response",
        "stream_chunk_builder",
    ),
    "litellm.litellm_core_utils.streaming_chunk_builder_utils:ChunkProcessor": (
        "__init__",
        "_calculate_usage_per_chunk",
        "_sort_chunks",
        "build_base_response",
        "calculate_usage",
        "update_model_response_with_hidden_params",
    ),
    "litellm.types.utils:ModelResponse": ("__init__", "__setattr__"),
    "litellm.types.utils:Usage": ("__init__", "__setattr__"),
}


@contextlib.contextmanager
def _as_open(wrapper: Any, stream: Any) -> Iterator[None]:
    """Let stock go on in a ``stream`` that another reader has closed meanwhile: it asks for that at first alone."""
    held = vars(wrapper)
    now = {name: held[name] for name in ("_closed", "completion_stream") if name in held}
    held.update(dict.fromkeys(now, False), completion_stream=stream)
    try:
        yield
    finally:
        held.update(now)


class Learned:
    """What is known of the chunks of one kind of streams, by shape: templates, and trials of those that serve not
    yet."""

    def __init__(self) -> None:
        self.templates: dict[Any, streaming.ChunkTemplate | Why] = {}
        self.trials: dict[Any, ChunkTrial] = {}


class Streams:
    """The chunks of every stream, from the first to the last, by templates that are learned from stock, shape by shape.

    And what they make together when the stream has ended.
    """

    def __init__(self, gate: hot.gate.Gate, proof: Proof) -> None:
        self.gate = gate
        self.proof = proof
        self.totals = Trial(proof, self._add_up_all)
        self.adds_up_fewer = True
        self.stock: dict[str, FunctionType] = {}
        handler = self.handler = importlib.import_module(_HANDLER)
        sdk = importlib.import_module("openai._streaming")
        self.package = importlib.import_module("litellm")
        self.logger: logging.Logger = handler.verbose_logger
        self._wrapper = handler.CustomStreamWrapper
        self._async, self._sync, self._decoder = sdk.AsyncStream, sdk.Stream, sdk.SSEDecoder
        self._chunk = importlib.import_module("openai.types.chat").ChatCompletionChunk
        self._executor = handler.executor
        self._router = importlib.import_module("litellm.router").Router
        self._custom_logger = importlib.import_module("litellm.integrations.custom_logger").CustomLogger
        self._guardrail = importlib.import_module("litellm.integrations.custom_guardrail").CustomGuardrail
        self._teller = self._custom_logger()
        self._asked = tuple((name, getattr(self._custom_logger, name)) for name in _present(_NAMES)[_LOGGER])
        self._kinds = handler.ModelResponseStream, handler.StreamingChoices, handler.Delta
        self._redacts = importlib.import_module(
            "litellm.litellm_core_utils.redact_messages"
        ).should_redact_message_logging
        self.ending = seams.StreamEnd()
        #: Whether the chunks of an ended stream are put together here.
        self.ends = self.ending.is_known
        home = self.ending.home.__name__
        self.builder, self.adder = f"{home}:{_BUILDER}", f"{_HANDLER}:{self.ending.total}"
        self._names = {**_present(_NAMES), **_whole(*_WHOLE)}
        self._names_at_end = _present(_AT_END) if self.ends else {}
        if home not in _AT_END:
            self._names_at_end.update(_whole(home))
        self.learner = ChunkLearner(handler, self.ends)
        self.is_shadowed = False
        self.found: dict[Any, str] = {}  # what shadows have found to differ, by shape
        self.review()

    # --- what is admitted

    def review(self) -> None:
        """Judge the settings anew and forget what was learned under others."""
        owners = {place: _owner(place) for place in (*self._names, *self._names_at_end)}
        self.settings, self.end_settings = (
            bindings.Bindings((owners[place], members) for place, members in names.items())
            for names in (self._names, self._names_at_end)
        )
        # Learned apart: LiteLLM reads a stream in a thread by other functions than one in an event loop.
        self.learned = {self._sync: Learned(), self._async: Learned()}
        # In a shadow no template serves: each chunk is LiteLLM's, and compared.
        self.is_shadowed = self.gate.shadow is not None
        self.assembler: builder.Assembler | None = None
        self.fewer: builder.Fewer | None = None
        self.reason = self._judge(owners)
        self.at_hand = {
            kind: streaming.AtHand(SSEEventSource, self.settings, learned.templates, vars(self.package), self.logger)
            for kind, learned in self.learned.items()
            if self.reason is None and not self.is_shadowed
        }

    def _judge(self, owners: Mapping[str, Any]) -> Why | None:
        if self.package.set_verbose:
            return decline.SETTING.of("set_verbose", "")
        if owners["litellm.constants"].LITELLM_MAX_STREAMING_DURATION_SECONDS is not None:
            return decline.SETTING.of("LITELLM_MAX_STREAMING_DURATION_SECONDS", "")
        for place, names in (*self._names.items(), *self._names_at_end.items()):
            for name in names:
                if not is_stock(vars(owners[place]).get(name)):
                    return decline.PATCHED.of(name)
        return None

    def admitted(self) -> Why | None:
        """Return why no chunk may be served now, or None."""
        if self.settings.changed():
            self.review()
        if self.reason is not None:
            return self.reason
        if self.package.post_call_rules:
            return decline.SETTING.of("post_call_rules", "")
        if self.package._custom_providers:
            return decline.CUSTOM_PROVIDERS
        if self.logger.isEnabledFor(logging.DEBUG):
            return decline.LOGGING.of(self.logger.name, "DEBUG")
        return None

    def events(self, wrapper: Any, kind: Any) -> SSEEventSource | None:
        """Return where the events of a stream are; None if stock must be asked, and why is counted."""
        stream: Any = vars(wrapper).get("completion_stream")
        if type(stream) is not kind:
            self.gate.decline(decline.STREAM_KIND)
            return None
        if type(stream._decoder) is SSEEventSource:
            found: SSEEventSource = stream._decoder
            return found
        reason = self._unfit(wrapper, stream)
        if reason is not None:
            self.gate.decline(reason)
            return None
        if not self.gate.whole and not self.gate.admits((), _arguments(wrapper.logging_obj)):
            self.gate.bypass()
            return None
        if (self.gate.shadow is not None) is not self.is_shadowed:
            self.review()
        reader = streaming.Reader(self.learned[kind].templates, vars(self.package), seams.ends_lines_early())
        found = stream._decoder = SSEEventSource(stream._decoder, reader, stream.response)
        return found

    def _unfit(self, wrapper: Any, stream: Any) -> Why | None:
        if type(wrapper) is not self._wrapper or not vars(wrapper).keys().isdisjoint(vars(self._wrapper)):
            return decline.STREAM_CHANGED
        if type(stream._decoder) is not self._decoder or stream._cast_to is not self._chunk:
            return decline.STREAM_DECODER
        options = getattr(stream, "_options", None)  # earlier releases have none
        if options is not None and (
            options.synthesize_event_and_data or getattr(options, "stream_mode", "legacy") != "legacy"
        ):
            return decline.STREAM_DECODER
        if stream._client._strict_response_validation:
            return decline.STREAM_STRICT
        if stream.response.is_stream_consumed:
            return decline.STREAM_BEGUN
        return None

    def next(self, wrapper: Any, events: SSEEventSource, taken: list[Any]) -> None:
        """Add the next chunk to what is ``taken``, or why there is none, as ``Reader.chunk`` does."""
        reason = self.admitted()
        if reason is None and events.packets is None:
            reason = decline.FIRST_OR_LAST_CHUNK
        if reason is not None:
            taken.append(reason)
            return
        reader = events.reader
        learned = self.learned[type(wrapper.completion_stream)]
        if reader.templates is not learned.templates:
            reader.renew(learned.templates)
        state = vars(wrapper)
        begins = not state["sent_first_chunk"]
        taken.append(reader.chunk(state))
        if taken[-1] is streaming.UNKNOWN:
            self.learn(wrapper, reader)
            taken.append(reader.chunk(state))
        if taken[-1] is decline.BEING_PROVEN and not self.proof.is_known and not self.is_shadowed:
            self._take_compared(reader, state, taken, learned)
        if begins and not isinstance(taken[-1], Why):
            self._begin(wrapper.logging_obj)

    def _take_compared(
        self, reader: streaming.Reader, state: dict[str, Any], taken: list[Any], learned: Learned
    ) -> None:
        """Add the next chunk to what is ``taken``, of an event whose outline was compared."""
        trial = learned.trials.get(reader.shape)
        if trial is None or not trial.serves(reader):
            return
        learned.templates[trial.shape] = trial.template
        try:
            taken.append(reader.chunk(state))
        finally:
            learned.templates[trial.shape] = decline.BEING_PROVEN
            reader.renew(learned.templates)  # which would go on with what it has used

    def _begin(self, logging_obj: Any) -> None:
        """Note when the first chunk has come."""
        if logging_obj.completion_start_time is None:
            seams.note_first_chunk(logging_obj)(completion_start_time=datetime.datetime.now())

    def learn(self, wrapper: Any, reader: streaming.Reader) -> None:
        """Learn the template for the event that the reader does not know, or that there is none."""
        if not all(kind.__pydantic_complete__ for kind in self._kinds):
            return  # stock's first chunk completes the classes, and is warned of what is in them
        of_kind = self.learned[type(wrapper.completion_stream)]
        if len(of_kind.templates) >= _MAX_TEMPLATES:
            of_kind.templates.clear()
            of_kind.trials.clear()
        of_kind.templates[reader.shape] = decline.REFUSED.of(decline.LEARNING_FAILED)
        try:
            learned = self.learner.learn(wrapper.completion_stream, vars(wrapper), reader.value)
        except Unrepeatable as error:
            self.gate.decline(decline.UNLEARNABLE.of(error.reason))
            of_kind.templates[reader.shape] = decline.REFUSED.of(error.reason)
        except Exception as error:
            self.gate.fault(error)
        else:
            if not self.is_shadowed and reader.shape in self.found:
                of_kind.templates[reader.shape] = self.proof.refuse(reader.shape, self.found.pop(reader.shape))
            elif self.proof.is_recorded and not self.is_shadowed:
                of_kind.templates[reader.shape] = learned
            else:
                of_kind.templates[reader.shape] = decline.BEING_PROVEN
                of_kind.trials[reader.shape] = ChunkTrial(reader.shape, learned, self.proof.clues)

    # --- proving

    def shadow(self, wrapper: Any, taken: list[Any]) -> Shadow | None:
        """Return what the fast path would make of the next event, if stock serves it because its shape is being
        proven."""
        try:
            is_tried = bool(taken) and taken[-1] is decline.BEING_PROVEN
            return self._shadow(wrapper) if is_tried else None
        except Exception as error:
            self.gate.fault(error)
            return None

    def _shadow(self, wrapper: Any) -> Shadow | None:
        reader = wrapper.completion_stream._decoder.reader
        trial = self.learned[type(wrapper.completion_stream)].trials.get(reader.shape)
        return None if trial is None else trial.shadow(reader, vars(wrapper), vars(self.package))

    def compare(self, shadow: Shadow, wrapper: Any, chunk: Any) -> None:
        """Compare what the fast path would have made with stock's ``chunk``."""
        trial = shadow.trial
        learned = self.learned[type(wrapper.completion_stream)]
        if learned.trials.get(trial.shape) is not trial:
            return
        difference = shadow.difference(wrapper, chunk, self.ending.note_usage)
        if self.is_shadowed and self.gate.shadow is not None:
            if difference is None:
                self.gate.shadow.add("equal")
                return
            if len(self.found) < _MAX_TEMPLATES:
                self.found[trial.shape] = difference
            self.gate.shadow.differs("chunk", difference, {}, chunk.model_dump(), shadow.made)
            return
        if difference is not None:
            del learned.trials[trial.shape]
            learned.templates[trial.shape] = self.proof.refuse(trial.shape, difference)
            return
        trial.agree(shadow.line)
        if len(trial.agreed) >= self.proof.calls and self.proof.is_known:
            del learned.trials[trial.shape]
            learned.templates[trial.shape] = trial.template

    # --- asynchronous

    async def anext(self, wrapper: Any) -> Any:
        """Serve the next chunk of an asynchronous stream, or leave it to stock."""
        taken: list[Any] = []
        clash = stream = None
        try:
            if self.gate.on:
                at_hand = self.at_hand.get(self._async)
                chunk = None if at_hand is None else at_hand.take(wrapper, self._async)
                if chunk is not None:
                    taken.append(chunk)
                if chunk is None or chunk is streaming.MORE:
                    stream = wrapper.completion_stream
                    clash = await self._atake(wrapper, taken)
                else:
                    self.gate.serve()
        except Exception as error:
            self.gate.fault(error)
        if clash is not None:
            with busy(wrapper.completion_stream, clash):
                return await self.stock[_ASYNC](wrapper)
        if not taken or isinstance(taken[-1], Why):
            if stream is not None and wrapper.completion_stream is not stream:
                with _as_open(wrapper, stream):
                    return await self.stock[_ASYNC](wrapper)
            shadow = self.shadow(wrapper, taken)
            chunk = await self.stock[_ASYNC](wrapper)
            if shadow is not None:
                self._guarded(self.compare, shadow, wrapper, chunk)
            return chunk
        if not wrapper.sent_last_chunk:
            return taken[-1]
        self._guarded(self.ending.note_usage, wrapper, taken[-1])
        chunk = await wrapper._call_post_streaming_deployment_hook(taken[-1])
        return wrapper._add_mcp_metadata_to_final_chunk(chunk)

    async def _atake(self, wrapper: Any, taken: list[Any]) -> Exception | None:
        """Put the next chunk into ``taken``, or why stock must go on.

        Returns what stock raises where somebody else is waiting for a chunk of this stream.
        """
        events: SSEEventSource | None
        stream = wrapper.completion_stream
        if taken:  # nothing has come
            events = stream._decoder
        else:
            events = self.events(wrapper, self._async)
            if events is None:
                return None
            if events.reading:
                return RuntimeError("anext(): asynchronous generator is already running")
            if not events.begun:
                first = await anext(stream._iterator)
                if first is not None:  # no event comes to None; the decoder has gone on by itself
                    stream._iterator = aagain(first, stream._iterator)
                    return None
            events.take()
            self.next(wrapper, events, taken)
        while True:
            if not isinstance(taken[-1], Why):
                self.gate.serve()
                return None
            if taken[-1] is not streaming.MORE:
                self.gate.decline(taken[-1])
                return None
            events.reading = True
            try:
                events.packet = await anext(events.packets, None)
            except BaseException as error:
                events.error = error
            finally:
                events.reading = False
            if events.packet is None or wrapper.completion_stream is not stream:
                return None
            events.take()
            self.next(wrapper, events, taken)

    # --- synchronous

    def snext(self, wrapper: Any) -> Any:
        """Serve the next chunk of a synchronous stream, or leave it to stock."""
        taken: list[Any] = []
        clash = stream = None
        begins = not wrapper.sent_first_chunk
        try:
            if self.gate.on:
                at_hand = self.at_hand.get(self._sync)
                chunk = None if at_hand is None else at_hand.take(wrapper, self._sync)
                if chunk is not None:
                    taken.append(chunk)
                if chunk is None or chunk is streaming.MORE:
                    stream = wrapper.completion_stream
                    clash = self._take(wrapper, taken)
                else:
                    self.gate.serve()
        except Exception as error:
            self.gate.fault(error)
        if clash is not None:
            with busy(wrapper.completion_stream, clash):
                return self.stock[_SYNC](wrapper)
        if not taken or isinstance(taken[-1], Why):
            if stream is not None and wrapper.completion_stream is not stream:
                with _as_open(wrapper, stream):
                    return self.stock[_SYNC](wrapper)
            if taken and wrapper.sent_last_chunk is True:
                return self._after_last(wrapper)
            shadow = self.shadow(wrapper, taken)
            chunk = self.stock[_SYNC](wrapper)
            if shadow is not None:
                self._guarded(self.compare, shadow, wrapper, chunk)
            return chunk
        self._guarded(self._tell, wrapper, taken[-1], begins)
        if not wrapper.sent_last_chunk:
            return taken[-1]
        self._guarded(self.ending.note_usage, wrapper, taken[-1])
        return taken[-1] if wrapper.stream_options is not None else wrapper._add_mcp_metadata_to_final_chunk(taken[-1])

    def _take(self, wrapper: Any, taken: list[Any]) -> Exception | None:
        """As ``_atake``."""
        events: SSEEventSource | None
        stream = wrapper.completion_stream
        if taken:  # nothing has come
            events = stream._decoder
        else:
            events = self.events(wrapper, self._sync)
            if events is None:
                return None
            if events.reading:
                return ValueError("generator already executing")
            if not events.begun:
                first = next(stream._iterator)
                if first is not None:
                    stream._iterator = again(first, stream._iterator)
                    return None
            events.take()
            self.next(wrapper, events, taken)
        while True:
            if not isinstance(taken[-1], Why):
                self.gate.serve()
                return None
            if taken[-1] is not streaming.MORE:
                self.gate.decline(taken[-1])
                return None
            events.reading = True
            try:
                events.packet = next(events.packets, None)
            except BaseException as error:
                events.error = error
            finally:
                events.reading = False
            if events.packet is None or wrapper.completion_stream is not stream:
                return None
            events.take()
            self.next(wrapper, events, taken)

    def _after_last(self, wrapper: Any) -> Any:
        """Return what stock makes of what comes after the last chunk, or end the stream as stock does, without the
        copy that a cache would get if there were one."""
        stream = wrapper.completion_stream
        stock = self.stock[_SYNC]
        if not self.ending.ends_in_threads or type(stream) is not self._sync:
            return stock(wrapper)
        try:
            event = next(stream)
        except StopIteration:
            pass
        except Exception as error:
            with busy(stream, error):
                return stock(wrapper)
        else:
            stream._iterator = again(event, stream._iterator)
            return stock(wrapper)
        is_told = False
        try:
            made = None if wrapper._should_fail_on_clean_eof() else self._whole(wrapper)
            is_told = made is not None and self._finished_in_thread(wrapper, made)
        except Exception as error:
            self.gate.fault(error)
        if not is_told:
            return stock(wrapper)
        wrapper.close()
        raise StopIteration

    def _finished_in_thread(self, wrapper: Any, made: Any) -> bool:
        """Price what a stream has come to and have its callbacks told in a thread, in the end; true from then on."""
        logged = wrapper.logging_obj
        self.ending.price(made, logged, wrapper.chunks)
        self.ending.note_whole(wrapper, made)
        told = made.model_copy(deep=True)
        return self._executor.submit(logged.success_handler, told, None, None, False) is not None

    def _tell(self, wrapper: Any, chunk: Any, begins: bool) -> None:
        """Tell callbacks of a synchronous stream's chunk, as stock does."""
        if self.package.disable_streaming_logging:
            return
        is_told = False
        try:
            if self._is_unheard(wrapper):
                is_told = self._note(wrapper, chunk) if begins else self._count(wrapper, chunk)
        except Exception as error:
            self.gate.fault(error)
        if not is_told:
            self._executor.submit(wrapper.run_success_logging_and_cache_storage, chunk, False)

    def _guarded(self, function: Any, *args: Any) -> None:
        """Do what belongs to a chunk that has been made: it is the caller's whatever goes wrong here."""
        try:
            function(*args)
        except Exception as error:
            self.gate.fault(error)

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
        made = trial = found = None
        if type(chunks) is list and self.gate.on:
            try:
                condensed = streaming.condensed(chunks, self._kinds)
                count = self._counter(messages, logging_obj, count_prompt_tokens)
                made, trial = self._assembled(condensed, logging_obj, count) or (None, None)
                if made is None:
                    found = self._fewer(chunks)
                elif trial is not None and not trial.is_on:
                    self.ending.price(made, logging_obj, chunks)
                    return made
                if self.proof.is_recorded and self.gate.shadow is None:
                    chunks = condensed
            except Exception as error:
                self.gate.fault(error)
                made = trial = found = None
        stock = self.stock[self.builder]
        if found is not None and not found[1].is_on:
            return stock(found[0], messages, start_time, end_time, logging_obj, count_prompt_tokens)
        response = stock(chunks, messages, start_time, end_time, logging_obj, count_prompt_tokens)
        if trial is not None:
            self._guarded(self._compare_whole, made, response, trial, logging_obj, chunks)
        elif found is not None and self.fewer is not None:
            compare = self.fewer.compare
            self._guarded(compare, found[0], response, found[1], messages, logging_obj, count_prompt_tokens)
        return response

    def _compare_whole(self, made: Any, response: Any, trial: Trial, logging_obj: Any, chunks: Any) -> None:
        """Compare what was ``made`` of ``chunks`` with stock's ``response``; nobody is told of the former's price."""
        self.ending.price(made, builder.deaf(logging_obj), chunks)
        builder.compare(made, response, trial)

    def _fewer(self, chunks: Any) -> tuple[list[Any], Trial] | None:
        """Return fewer chunks that say the same, and the trial of that; None to give stock all."""
        if type(chunks) is not list or not self.gate.on:
            return None
        if self.end_settings.changed():
            self.review()
        if self.admitted() is not None:
            return None
        if self.fewer is None:
            self.fewer = builder.Fewer(self.stock[self.builder], self._kinds, self.proof)
        return self.fewer.of(chunks)

    def _counter(self, messages: Any, logging_obj: Any, count_prompt: Any) -> Callable[[str, str], tuple[int, int]]:
        """Return what counts the tokens of prompt and completion as stock does, where nobody has reported them."""
        home = vars(self.ending.home)

        def count(model: str, content: str) -> tuple[int, int]:
            base = home["get_base_model_from_metadata"](logging_obj.model_call_details)
            model, counter = home["usage_tokenizer_model"](model, base), home["token_counter"]
            prompt = count_prompt() if count_prompt else counter(model=model, messages=messages)
            return prompt, counter(model=model, text=content, count_response_tokens=True)

        return count

    def _assembled(
        self, chunks: list[Any], logging_obj: Any, count: Callable[[str, str], tuple[int, int]]
    ) -> tuple[Any, Trial] | None:
        """Return the response for condensed ``chunks``, not yet priced, and its trial; None to leave it to stock.

        ``count`` counts tokens that nobody has reported.
        """
        details = getattr(logging_obj, "model_call_details", None)
        if type(details) is not dict or getattr(logging_obj, "drops_stream_token_ids", False):
            return None
        if self.end_settings.changed():
            self.review()
        if self.admitted() is not None:
            return None
        if self.assembler is None:
            self.assembler = builder.Assembler(self.stock[self.builder], self._kinds, self.proof)
        return self.assembler.assembled(chunks, details.get("custom_llm_provider"), count)

    async def finish(self, wrapper: Any, cache_hit: Any) -> Any:
        """End an asynchronous stream as stock does, without the copy that a cache would get if there were one."""
        is_told = False
        try:
            made = self._whole(wrapper)
            is_told = made is not None and self._finished(wrapper, made, cache_hit)
        except Exception as error:
            self.gate.fault(error)
        if not is_told:
            return await self.stock[_FINISH](wrapper, cache_hit)
        await self.ending.let_go(wrapper)
        raise StopAsyncIteration

    def _finished(self, wrapper: Any, made: Any, cache_hit: Any) -> bool:
        """Price what a stream has come to and tell its callbacks, in the end; true from then on."""
        logged = wrapper.logging_obj
        self.ending.price(made, logged, wrapper.chunks)
        self.ending.note_whole(wrapper, made)
        told = logged.dispatch_success_handlers(
            made, cache_hit=cache_hit, start_time=None, end_time=None, prefer_async_handlers=True
        )
        return asyncio.create_task(told) is not None

    def _whole(self, wrapper: Any) -> Any:
        """Return what the chunks of an ended stream make together, not yet priced; None if stock must end it."""
        if not self.gate.on or wrapper.sent_last_chunk is not True or self.package.cache is not None:
            return None
        if type(wrapper) is not self._wrapper or wrapper.response_id is None or wrapper.created is None:
            return None
        if wrapper.send_stream_usage is True and wrapper.sent_stream_usage is False:
            return None
        if getattr(wrapper.logging_obj, "_on_deferred_stream_complete", None) is not None:
            return None
        if self.package.stream_chunk_builder is not self.ending.home.stream_chunk_builder:
            return None
        if type(wrapper.chunks) is not list or len(wrapper.chunks) > _LITTLE[0]:
            return None
        counter = self._counter(wrapper.messages, wrapper.logging_obj, getattr(wrapper, "count_prompt_tokens", None))

        condensed = streaming.condensed(wrapper.chunks, self._kinds)

        def count(model: str, content: str) -> tuple[int, int]:
            if not self._is_little(condensed, wrapper.messages):
                raise Unrepeatable(decline.WHOLE_NOT_PLAIN)  # LiteLLM counts it in a thread
            return counter(model, content)

        found = self._assembled(condensed, wrapper.logging_obj, count)
        return None if found is None or found[1].is_on else found[0]

    def asyncified(self, function: Any, *, cancellable: Any = False, limiter: Any = None) -> Any:
        """Return ``function`` as one to await; what does little with chunks does it at once, not in a thread."""
        stock = self.stock[_ASYNCIFY](function, cancellable=cancellable, limiter=limiter)
        if not self.gate.on or self.gate.shadow is not None:
            return stock
        module, _, texts = _TEXTS.partition(":")
        has_little: Callable[..., bool]
        if function is self.package.stream_chunk_builder:
            has_little = self._has_little
        elif function is getattr(sys.modules.get(module), texts, ...) and is_stock(function):
            has_little = self._has_few
        else:
            return stock

        async def build(*args: Any, **kwargs: Any) -> Any:
            is_little = False
            try:
                is_little = has_little(*args, **kwargs)
            except Exception as error:
                self.gate.fault(error)
            if not is_little:
                return await stock(*args, **kwargs)
            return await asyncio.create_task(build_now(*args, **kwargs))

        async def build_now(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)  # in a task, as in a thread, no exception is being handled

        return build

    def _has_little(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether a call of the builder has little to put together."""
        return self._is_little(kwargs.get("chunks"), kwargs.get("messages"))

    def _has_few(self, chunks: Any) -> bool:
        """Return whether there are few ``chunks``, all plain, to collect the texts of."""
        kind = self._kinds[0]
        return type(chunks) in (list, tuple) and 0 < len(chunks) <= _LITTLE[0] and all(type(c) is kind for c in chunks)

    def _is_little(self, chunks: Any, messages: Any) -> bool:
        """Return whether there is little to put together, and little to count the tokens of."""
        most, rest = _LITTLE
        if type(chunks) is not list or type(messages) is not list or len(chunks) + len(messages) > most:
            return False
        for message in messages:
            text = message.get("content") if type(message) is dict else ...
            if type(text) is not str:
                return False
            rest -= len(text)
        for text in map(streaming.content_of, chunks):
            if type(text) is str:
                rest -= len(text)
        return rest >= 0

    def total(self, chunks: Any) -> Any:
        """Add usages up as stock does, of those chunks that have one."""
        fewer, is_tried = None, True
        if type(chunks) is list and self.gate.on and self.adds_up_fewer:
            try:
                fewer = streaming.bearing_usage(chunks, self._kinds[0])
                is_tried = self.totals.is_on
            except Exception as error:
                self.gate.fault(error)
        if fewer is None or is_tried:
            total = self.stock[self.adder](chunks)
            if fewer is not None:
                self._guarded(self._compare_totals, fewer, total)
            return total
        return self.stock[self.adder](fewer)

    def _compare_totals(self, fewer: list[Any], total: Any) -> None:
        if state(self.stock[self.adder](fewer)) == state(total):
            self.totals.agreed()
        else:
            self.totals.refuse("usage of a stream")

    def _add_up_all(self, difference: str) -> None:
        self.adds_up_fewer = False
        self.proof.refuse(self.adder, difference)

    def _is_unheard(self, wrapper: Any) -> bool:
        """Return whether stock's job for a chunk tells nobody, or routers alone, of a chunk that is not the whole.

        Others are told by the job itself, and so are all where messages are redacted.
        """
        logged = wrapper.logging_obj
        return not (
            not hasattr(logged, "is_sync_litellm_request")  # releases that decide it otherwise
            or logged.dynamic_success_callbacks
            or logged.dynamic_async_success_callbacks
            or logged.standard_callback_dynamic_params
            or not all(map(self._is_deaf, self.package.success_callback))
            or not all(map(self._is_deaf, self.package._async_success_callback))
            or self._redacts(logged.model_call_details)
        )

    def _note(self, wrapper: Any, chunk: Any) -> bool:
        """Do stock's job for a stream's first chunk here and now, as far as nothing is to be awaited in it."""
        if wrapper.logging_loop is not None:
            return False
        logged, context = wrapper.logging_obj, contextvars.copy_context()  # what it sets there is not the caller's
        job = logged.async_success_handler(chunk, None, None, False)
        try:
            context.run(job.send, None)
        except StopIteration:
            if logged.is_sync_litellm_request(logged.model_call_details.get("litellm_params", {})):
                context.run(logged.success_handler, chunk, None, None, False)
            return True
        job.close()
        return False

    def _count(self, wrapper: Any, chunk: Any) -> bool:
        """Do what can be seen of stock's job for a chunk in the middle of a stream.

        The job renews what the first chunk's job has noted, and then goes through the callbacks. Routers count.
        """
        logged = wrapper.logging_obj
        told = [callback for callback in self.package.success_callback if self._is_router_s(callback)]
        if told:
            details = logged.model_call_details
            parameters = details.get("litellm_params", {})
            if parameters.get("no-log") or not logged.is_sync_litellm_request(parameters):
                return False
            now = datetime.datetime.now()
            for callback in told:
                self._teller.log_event(details, chunk, logged.start_time, now, self.handler.print_verbose, callback)
        return True

    def _is_router_s(self, callback: Any) -> bool:
        """Return whether a router counts successes by ``callback``; some count at the end of a stream only."""
        return type(getattr(callback, "__self__", None)) is self._router and callback.__name__ in _COUNTING

    def _is_deaf(self, callback: Any) -> bool:
        """Return whether ``callback`` is a router's, or a logger that hears nothing of a stream before its end."""
        kind: Any = type(callback)
        if not issubclass(kind, self._custom_logger):
            return self._is_router_s(callback)
        return (
            not issubclass(kind, self._guardrail)
            and kind.__eq__ is object.__eq__
            and kind.__getattribute__ is object.__getattribute__
            and not callable(callback)
            and getattr(callback, "message_logging", True) is True
            and all(getattr(kind, name) is held and name not in vars(callback) for name, held in self._asked)
        )


def _arguments(logging_obj: Any) -> dict[str, Any]:
    """Return those of the arguments of a stream's call by which it may be told whether it is in a share."""
    parameters = logging_obj.model_call_details.get("litellm_params", {})
    kept = {name: parameters.get(name) for name in ("metadata", "litellm_metadata")}
    return {**kept, "litellm_call_id": logging_obj.litellm_call_id, "user": logging_obj.model_call_details.get("user")}


def _present(names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return those of ``names`` that the installed releases have."""
    return {place: tuple(name for name in held if hasattr(_owner(place), name)) for place, held in names.items()}


def _whole(*places: str) -> dict[str, tuple[str, ...]]:
    """Return all names in ``places``."""
    return {place: tuple(name for name in vars(_owner(place)) if name not in _UNWATCHED) for place in places}


def _owner(place: str) -> Any:
    module, _, name = place.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


class Streaming(Component):
    """Serves the chunks of streams, and has the fast path open them."""

    name: ClassVar[str] = "streaming"
    summary: ClassVar[str] = "streamed chunks made directly from the bytes that come"
    relies_on: ClassVar[tuple[str, ...]] = tuple(
        dict.fromkeys((*chat.relies_on, *(p.partition(":")[0] for p in (*_NAMES, *_WHOLE, *_AT_END))))
    )
    hot_modules: ClassVar[tuple[str, ...]] = ("bindings", "sse", "streaming", "template")

    def __init__(self) -> None:
        self._streams: Streams | None = None
        self._proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """How calls are proven, while the component is active."""
        return self._proof

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the two ways in which LiteLLM's stream is iterated, and what is done at its end."""
        proof = self._proof = Proof(gate, self.relies_on, [_HANDLER])
        streams = self._streams = Streams(gate, proof)

        def serve(target: str, method: Any) -> Replacement:
            def build(stock: FunctionType) -> Any:
                streams.stock[target] = stock
                return method

            return Replacement(target, build)

        chunks = [
            serve(_ASYNC, hot.gate.AsyncDoor(gate, streams.anext)),
            serve(_SYNC, hot.gate.Door(gate, streams.snext)),
        ]
        if not streams.ends:
            return chunks
        return [
            *chunks,
            serve(_ASYNCIFY, streams.asyncified),
            serve(streams.builder, streams.build),
            serve(_FINISH, streams.finish),
            serve(streams.adder, streams.total),
        ]

    def started(self) -> None:
        """Let the fast path open streams."""
        source.use(self._streams)

    def stopped(self) -> None:
        """Forget what was learned."""
        source.use(None)
        self._streams = self._proof = None

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for a record of ``verify``; without one, chunks and ends are proven on the user's own streams."""
        assert self._proof is not None
        self._proof.is_recorded = is_proven(self.name)


COMPONENT = Streaming()
