"""Direct calls beside LiteLLM's cache of responses: answers that are in it, and others that it is to keep.

LiteLLM's own cache is asked, with what the call passes: keys, namespaces, ages and controls are LiteLLM's. What it
has kept becomes a response by a template, learned from LiteLLM's own conversion. Two hits of a kind of call are stock's
to answer, watched; each must be what would have been made of it here. Any later hit of the kind that nobody is told of
is answered here. An answer that is not in the cache comes by the fast path, and LiteLLM's own handler has it kept.
"""

from __future__ import annotations

import datetime
import importlib
import inspect
import marshal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.notify.log_records import told_by_call
from litellm_accel.fastpath.notify.rates import note_time
from litellm_accel.fastpath.plans import recorder, templates
from litellm_accel.fastpath.plans.recorder import Recording
from litellm_accel.fastpath.plans.templates import (
    HEADERS,
    HIDDEN,
    MILLISECONDS,
    InconclusiveRecording,
    Unrepeatable,
)
from litellm_accel.fastpath.response_cache import CONTROLS, Miss
from litellm_accel.hot import chat, template, watch
from litellm_accel.stock import guard

if TYPE_CHECKING:
    from litellm_accel.fastpath.pipeline import Call, Pipeline

#: So many hits of a kind must agree.
_HITS = 2
_MAX_KINDS = _MAX_TEMPLATES = 512
# Controls that may accompany a call; those of ``cache`` are heeded by LiteLLM's own methods, but for one.
_HEEDED = frozenset(("cache", "caching"))
_PAST = "no-cache"
_CONSTANT, _EMPTY, _TOTAL, _OVERHEAD, _CALL, _COST, _MODEL, _KEY = range(8)
_SOURCES = {
    "additional_headers": _EMPTY,
    "_response_ms": _TOTAL,
    "litellm_overhead_time_ms": _OVERHEAD,
    "litellm_call_id": _CALL,
    "response_cost": _COST,
    "provider_response_model": _MODEL,
    "cache_key": _KEY,
}
_CONSTANTS = frozenset(
    ("api_base", "cache_hit", "callback_duration_ms", "custom_llm_provider", "litellm_model_name", "model_id")
)
_CLOCKS = {"_response_ms": 0.0, "litellm_overhead_time_ms": 0.0, "litellm_call_id": ""}


class _Kind:
    """What hits of one kind of call have shown.

    ``hidden`` says where each of the hidden parameters comes from, ``price`` prices a response, None if a hit is free;
    ``missing`` hits must still agree. With a ``reason`` hits are stock's.
    """

    __slots__ = ("epoch", "hidden", "missing", "price", "reason")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.hidden: tuple[tuple[str, int, Any], ...] = ()
        self.price: Callable[[Any], Any] | None = None
        self.missing = _HITS
        self.reason: Why | None = None


class Hit:
    """An answer that is in the cache under ``key``, as a ``call`` has found it: a JSON ``value`` and its leaves.

    ``result`` is what the call returns, None if stock is to answer, watched. ``took`` is how long the cache took, in
    milliseconds; ``shape`` is the value's, under the settings in force.
    """

    __slots__ = ("call", "key", "kind", "leaves", "result", "shape", "took", "value")

    def __init__(self, call: Call, kind: _Kind, key: str, value: Any, shape: Any, leaves: Any, took: float) -> None:
        self.call = call
        self.kind = kind
        self.key = key
        self.value = value
        self.shape = shape
        self.leaves = leaves
        self.took = took
        self.result: Any = None


class CacheHits:
    """Looks for the calls of a ``pipeline`` in LiteLLM's cache in memory."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._store = importlib.import_module("litellm.caching.in_memory_cache").InMemoryCache
        self._convert = importlib.import_module(
            "litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response"
        ).convert_to_model_response_object
        self._handler = importlib.import_module("litellm.caching.caching_handler").LLMCachingHandler
        main = importlib.import_module("litellm.main")
        self._functions = {"async": inspect.unwrap(main.acompletion), "sync": inspect.unwrap(main.completion)}
        self._kinds: dict[bytes, _Kind] = {}
        self._templates: dict[Any, template.Template] = {}
        self._forgotten = 0
        self._judged: tuple[Any, Any, watch.Watch] | None = None  # a cache, its store, and what both hold

    async def find(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], started: float) -> Hit | Miss | None:
        """Return what becomes of a call that began at ``started`` in the cache, None if the call is stock's."""
        pipeline = self._pipeline
        try:
            cache = pipeline.environment.litellm.cache
            reason = self._refusal(kind, cache, kwargs)
            if reason is None:
                return await self._found(kind, cache, args, kwargs, started)
            pipeline.gate.decline(reason)
        except Exception as error:
            pipeline.gate.fault(error)
        return None

    def _refusal(self, kind: str, cache: Any, kwargs: dict[str, Any]) -> Why | None:
        """Return why a call that passes ``kwargs`` is not looked for in the ``cache`` here."""
        if kwargs.get("stream") or self._pipeline.gate.shadow is not None or not self._pipeline.proof.is_known:
            return decline.CACHEABLE
        if not CONTROLS.isdisjoint(kwargs):
            control = kwargs.get("cache")
            is_plain = control is None or (type(control) is dict and control.get(_PAST, False) is not True)
            asks = kwargs.get("caching") in (None, True)
            if not is_plain or not asks or not _HEEDED.issuperset(CONTROLS.intersection(kwargs)):
                return decline.CACHEABLE
        if not self._is_understood(cache):
            return decline.CACHEABLE
        names = cache.supported_call_types
        is_supported = names is not None and self._functions[kind].__name__ in names
        return None if is_supported else decline.CACHEABLE

    def _is_understood(self, cache: Any) -> bool:
        """Return whether ``cache`` keeps responses in memory, by methods that are all LiteLLM's own."""
        judged = self._judged
        if judged is None or judged[0] is not cache or judged[1] is not cache.cache or guard.differs(judged[2]):
            self._judged = None
            store = cache.cache
            if type(store) is not self._store or guard.put_onto(cache) or guard.put_onto(store):
                return False
            watched = watch.Watch()
            watched.add("cache", cache)
            watched.add("store", store)
            watched.mark()
            self._judged = cache, store, watched
        return True

    async def _found(
        self, kind: str, cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any], started: float
    ) -> Hit | Miss | None:
        pipeline = self._pipeline
        controls = [(name, kwargs[name]) for name in _HEEDED if name in kwargs]
        given = kwargs if not controls else {name: kwargs[name] for name in kwargs if name not in _HEEDED}
        call = pipeline.parse_call(kind, args, given, started)
        if call is None:
            return None
        if call.conversation is not None:
            pipeline.gate.decline(decline.CACHEABLE)
            return None
        if controls:
            call.key += marshal.dumps(controls, 2)
        self._forgotten = pipeline.forget(self._kinds, self._forgotten)
        passed = _passed(args, kwargs)
        begun = time.perf_counter()
        key = cache.get_cache_key(**passed)
        if kind == "async":
            value = await cache.async_get_cache(cache_key=key, **passed)
        else:
            value = cache.get_cache(cache_key=key, **passed)
        took = (time.perf_counter() - begun) * 1000
        if value is None:
            start = datetime.datetime.fromtimestamp(started)
            handler = self._handler(original_function=self._functions[kind], request_kwargs=kwargs, start_time=start)
            miss = Miss(call, handler, args, kwargs, key, kind == "async")
            call.lookup = miss
            return miss
        if pipeline.is_told(kwargs):
            pipeline.gate.decline(decline.CACHED_TOLD)
            return None
        kept = cache.cache.cache_dict.get(key)
        if type(kept) is not dict or type(kept.get("response")) is not str:
            pipeline.gate.decline(decline.CACHED)
            return None
        found = chat.shape_of(value, False) if type(value) is dict else None
        known = self._kinds.get(call.key)
        if found is None or (known is not None and known.reason is not None):
            pipeline.gate.decline(decline.CACHED if known is None or known.reason is None else known.reason)
            return None
        epoch = pipeline.environment.epoch
        if known is None:
            known = _Kind(epoch)
        shape, leaves = found
        hit = Hit(call, known, key, value, (epoch, shape), leaves, took)
        if known.missing or hit.shape not in self._templates:
            pipeline.gate.decline(decline.LEARNED_FROM)
            return hit
        hit.result = self._made(hit)
        if hit.result is None:
            pipeline.gate.decline(decline.CACHED)
            return None
        return hit

    def _made(self, hit: Hit) -> Any:
        """Return the response for a ``hit``, None where it has no price and stock has something to say of that."""
        hidden: dict[str, Any] = {}
        total = (time.time() - hit.call.started) * 1000
        slots = {HIDDEN: hidden, HEADERS: None, MILLISECONDS: total}
        made = self._templates[hit.shape].build(hit.leaves, slots)
        kind = hit.kind
        cost: Any = 0.0
        if kind.price is not None:
            cost = kind.price(made)
            if not cost:
                return None
        for name, source, value in kind.hidden:
            if source == _CONSTANT:
                hidden[name] = value
            elif source == _TOTAL:
                hidden[name] = total
            elif source == _OVERHEAD:
                hidden[name] = total - hit.took
            elif source == _CALL:
                hidden[name] = chat.fresh_id()
            elif source == _COST:
                hidden[name] = cost
            elif source == _MODEL:
                hidden[name] = made.model
            elif source == _KEY:
                hidden[name] = hit.key
            else:
                hidden[name] = {}
        return made

    # --- learning

    @contextmanager
    def watching(self, hit: Hit) -> Iterator[Recording]:
        """Learn from the stock call in the block, which meets the same answer in the cache as ``hit``."""
        recording, since = Recording(), self._pipeline.environment.changes
        try:
            try:
                with recorder.scripted(recording):
                    yield recording
            except Exception:  # LiteLLM fails on its own answer, and would be watched each time
                hit.kind.reason = decline.REFUSED.of(decline.FAILS_UNSENT)
                self._keep(hit)
                raise
            self._judge(hit, recording, since)
        finally:
            recording.forget()

    def _judge(self, hit: Hit, recording: Recording, since: int) -> None:
        """Draw the consequences of a watched call."""
        pipeline, kind = self._pipeline, hit.kind
        try:
            self._require_shown(hit, recording, since)
            new_shape = hit.shape not in self._templates
            try:
                self._learn(hit, recording)
            except Exception:
                if new_shape:
                    self._templates.pop(hit.shape, None)
                raise
            kind.missing = max(kind.missing - 1, 0)
        except InconclusiveRecording as error:
            pipeline.gate.decline(decline.INCONCLUSIVE.of(error.reason))
            return
        except Unrepeatable as error:
            pipeline.gate.decline(decline.UNLEARNABLE.of(error.reason))
            kind.reason = decline.REFUSED.of(error.reason)
        except Exception as error:
            pipeline.gate.fault(error)
            kind.reason = decline.REFUSED.of(decline.LEARNING_FAILED)
        self._keep(hit)

    def _keep(self, hit: Hit) -> None:
        """Keep what is known of the kind of a ``hit``."""
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[hit.call.key] = hit.kind

    def _require_shown(self, hit: Hit, recording: Recording, since: int) -> None:
        """Raise ``InconclusiveRecording`` or ``Unrepeatable`` unless a watched call shows how its kind is answered."""
        pipeline, environment = self._pipeline, self._pipeline.environment
        fault = recording.fault or recording.trace.fault
        if fault is not None:
            raise fault
        environment.ran(recording.trace)
        pipeline.proof.ran(recording.trace.functions())
        is_judged = environment.met() is None
        if not is_judged or since != environment.changes or environment.epoch != hit.kind.epoch:
            raise InconclusiveRecording(decline.SETTINGS_CHANGED)
        pipeline.look_for_strangers(recording.trace.stranger, hit.call.key)
        if recording.sent:
            raise InconclusiveRecording(decline.CACHE_LEFT)
        if told_by_call(recording, False) or not recording.listens:
            raise Unrepeatable(decline.WARNS)

    def _learn(self, hit: Hit, recording: Recording) -> None:
        """Learn what is new about a watched ``hit``, and compare its result with what is made of it here."""
        kind, result, maker = hit.kind, recording.result, self._pipeline.maker
        if type(result) is not maker.result_class or type(result._hidden_params) is not dict:
            raise Unrepeatable(decline.RESULT_CLASS.of(type(result).__name__))
        if result._hidden_params.get("cache_key") != hit.key:
            raise Unrepeatable(decline.CACHE_KEY)
        if not kind.hidden:
            kind.hidden = tuple(_hidden(result))
            pricing = recording.pricing
            if pricing is not None and pricing.get("cache_hit") is not True:
                kind.price = maker.total(pricing)
        if hit.shape not in self._templates:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[hit.shape] = templates.learn_template(self._converted, hit.value)
        made = self._made(hit)
        if made is None:
            raise Unrepeatable(decline.PRICED_UNTOLD)
        if _state(made) != _state(result):
            raise Unrepeatable(decline.RESULT_DIFFERS)

    def _converted(self, value: Any) -> Any:
        """Return the response that LiteLLM makes of a ``value`` that it has kept."""
        return self._convert(response_object=value, model_response_object=self._pipeline.maker.result_class())


def _passed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what LiteLLM's cache is asked with: what a call passes by name, then what it passes by place."""
    passed = {**kwargs, **dict(zip(("model", "messages"), args, strict=False))}
    if passed.get("metadata", ...) is None:
        del passed["metadata"]
    return passed


def _hidden(result: Any) -> Iterator[tuple[str, int, Any]]:
    """Yield the names of a hit's hidden parameters, where each comes from, and the value of those that stay."""
    for name, value in result._hidden_params.copy().items():
        source = _SOURCES.get(name, _CONSTANT)
        if source == _CONSTANT and (name not in _CONSTANTS or not isinstance(value, str | float | bool | None)):
            raise Unrepeatable(decline.HIDDEN_PARAM.of(name))
        yield name, source, value if source == _CONSTANT else None


def _state(result: Any) -> Any:
    """Return everything that can be told about a hit's ``result``, but for its times and its call's identifier."""
    made = result.model_copy()
    note_time(made, 0.0)
    made._hidden_params = {name: _CLOCKS.get(name, value) for name, value in result._hidden_params.copy().items()}
    return templates.state(made)
