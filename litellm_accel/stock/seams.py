"""How LiteLLM's releases, and those of the SDK, differ where we touch them: found by looking, never by version."""

from __future__ import annotations

import asyncio
import datetime
import dis
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, ClassVar

from pydantic import BaseModel

#: The module of what routers choose and call by, in releases that have it.
CORE = "litellm.router_rust.core"
#: As what a ``Logging`` object holds what asks the cache for its call; the second in earlier releases.
CACHING_HANDLER = ("llm_caching_handler", "_llm_caching_handler")
#: By which a ``Logging`` object notes that an event has been told; the second in releases before 1.106.
MARK_COMPLETE = ("mark_logging_complete", "has_run_logging")
#: By which a ``Logging`` object's handlers note a success before they tell anybody; the later ones in earlier releases.
NOTES_SUCCESS = ("prepare_success_logging", "_prepare_success_logging", "_success_handler_helper_fn")
# How a call's ``Logging`` object is told of the first chunk of a stream.
_FIRST_CHUNK = ("update_completion_start_time", "_update_completion_start_time")
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


def has_core() -> bool:
    """Return whether the installed release has ``CORE``, which is not imported for that."""
    with suppress(ModuleNotFoundError):  # nor its package
        return importlib.util.find_spec(CORE) is not None
    return False


# What of a deployment bounds how many requests it answers at a time.
_BOUNDS = ("rpm", "max_parallel_requests", "tpm")
# The limit of how many texts a deployment embeds in one call.
_BATCH_LIMIT = "max_embedding_batch_size"


class CoreSteps:
    """The steps in which the loop of a router's core serves a call; what of them the fast path takes itself."""

    # What is called of the core, and of the object that its loop drives; and with what.
    _METHODS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "acompletion": ("self", "args", "kwargs"),
        "aembedding": ("self", "args", "kwargs"),
        "completion": ("self", "args", "kwargs"),
        "embedding": ("self", "model", "input"),
        "_answer_cache": ("self", "step"),
        "_answer_cache_sync": ("self", "step"),
        "_answer_callback_filters": ("self", "step", "request", "messages"),
        "_answer_select": ("self", "step", "request", "messages", "input"),
        "_answer_select_sync": ("self", "step", "request", "messages", "input"),
        "_pre_route": ("self", "step", "request", "messages", "input"),
        "_run": ("self", "plan", "call", "prepared"),
        "_run_sync": ("self", "plan", "call", "prepared"),
        "_start": ("self", "plan", "request"),
        "_usage_read_scope": ("self", "model", "request"),
        "deployment_tracks_usage": ("self", "deployment_id", "model_group"),
        "io_token_usage_sync": ("self", "model_group"),
        "service_logged": ("self", "call_type", "start_time", "end_time", "request"),
        "track_deployment_pick": ("self", "deployment_id", "request"),
    }
    _DRIVER: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "_stream_attempt": ("self", "step", "kwargs", "slot"),
        "failed": ("self", "step"),
        "finish": ("self", "step"),
        "finish_async": ("self", "step"),
    }

    def __init__(self, endpoint: str = "completion") -> None:
        """``endpoint`` is the synchronous one of the two whose calls are served.

        Raise ``AttributeError`` or ``ImportError`` where the installed release has no such steps.
        """
        module = importlib.import_module(CORE)
        endpoints = importlib.import_module("litellm.router_rust.invoke.endpoints")
        self._litellm = importlib.import_module("litellm")
        #: The class of cores.
        self.core = module.RustCore
        for owner, methods in ((self.core, self._METHODS), (module._Driver, self._DRIVER)):
            for name, parameters in methods.items():
                if tuple(inspect.signature(getattr(owner, name)).parameters)[: len(parameters)] != parameters:
                    raise AttributeError(f"{owner.__name__}.{name} takes other parameters")
        #: How the endpoint runs its attempts in event loops and in threads.
        self.plan, self.plan_in_threads = endpoints.PLANS[f"a{endpoint}"], endpoints.PLANS[endpoint]
        #: Whether its calls are chats. Of these alone LiteLLM counts which deployments event loops pick.
        self.chats = self.plan.kind == "chat"
        #: Notes in a request that its conversation may be made shorter.
        self.arm = endpoints.arm_compaction_state
        fallbacks = importlib.import_module("litellm.router_utils.fallback_event_handlers")
        #: Takes out of a request's metadata what another has chosen for it.
        self.clear_selection = fallbacks.clear_pre_routing_selection
        #: Returns a deployment as it serves a name; the same one unless it is a wildcard's.
        self.filled_in = importlib.import_module("litellm.router_attempt").for_requested_model
        checks = importlib.import_module("litellm.router_utils.pre_call_checks.io_token_rate_limit_check")
        self._has_io_limits = checks.deployment_has_io_token_limits
        self._limit_of = importlib.import_module("litellm.router_rust.invoke.slots").max_parallel_requests_limit
        self._calculate_limit = importlib.import_module("litellm.utils").calculate_max_parallel_requests
        limits = importlib.import_module("litellm.router_utils.client_initalization_utils")
        self._limit = limits.MaxParallelRequestsLimit
        self._owning_picks, self._picks_reserve = module.owning_picks, module.picks_reserve
        self._call_id_of = module.call_id_of
        #: Names an attempt for strategies that count which calls have not ended; a context manager.
        self.named_attempt = module.routed_attempt
        self._release_attempt, self._released = module.release_started_attempt, module.released
        self._grace = module.ATTEMPT_SETTLEMENT_GRACE_SECONDS
        self._pre_call_checks = module.routing_pre_call_checks
        #: Returns what is read of a group's usage together with its cooldowns, None if nothing is.
        self.usage_read = module._USAGE_READ.get
        stores = importlib.import_module("litellm.router_rust.routing_stores")
        #: Returns the identifiers in keys of cooldowns, None if one is no such key.
        self.cooldown_ids = stores._cooldown_ids
        #: Returns which counters, of which minute, two amounts are added to; None if they are no deployment's.
        self.increment = stores._deployment_increment
        prefetch = importlib.import_module("litellm.router_utils.routing_prefetch")
        self._batches = prefetch.active_request_redis_batches
        usage = importlib.import_module("litellm.router_rust.surface.model_info")
        self._limits_io, self._limits_usage = usage._limits_io, usage._limits_usage
        self._usage_totals, self._remaining_usage = usage._usage_totals, usage._remaining_usage
        self._stream_attempt = module._Driver._stream_attempt
        streaming = importlib.import_module("litellm.router_rust.invoke.streaming")
        self._first_chunk = streaming._FirstChunk
        self._wrapped, self._wrapped_in_thread = streaming.wrap_chat_stream, streaming.wrap_chat_stream_sync
        self._answering, self._failing = _answering_class(self.core), _failing_class(streaming.CustomStreamWrapper)
        loggers = importlib.import_module("litellm.integrations.custom_logger")
        self._refusing = _refusing_class(loggers.CustomLogger)

    def has_read_before(self) -> bool:
        """Return whether something has been read for the running request before its deployment is chosen.

        The proxy lets every request collect such reads, most of which have none.
        """
        batches = self._batches()
        return batches is not None and bool(getattr(batches, "prefetched", True))

    def limits_of(self, deployment: Any) -> str | None:
        """Return which limits a ``deployment`` has of a call's own size; None without."""
        if self._has_io_limits(deployment):
            return "input or output limits"
        if not self.chats and deployment["model_info"].get(_BATCH_LIMIT) is not None:
            return _BATCH_LIMIT
        return None

    def limit_of(self, core: Any, deployment: Any, request: Any) -> Any:
        """Return what bounds how many requests ``deployment`` answers at a time, None if nothing does."""
        key = f"{deployment['model_info']['id']}_max_parallel_requests_client"
        found = core._cache.in_memory_cache.get_cache(key)
        if found is None:
            params, default = deployment.get("litellm_params"), core._port.endpoints.default_max_parallel_requests
            if isinstance(params, dict):
                bounds = {name: params.get(name) for name in _BOUNDS}
                if not self._calculate_limit(**bounds, default_max_parallel_requests=default):
                    return None  # as LiteLLM finds on a longer way
            found = self._limit_of(core._port, deployment, request)
        return found if isinstance(found, self._limit) else None

    def counters(self, core: Any, group: str) -> Any:
        """Return the counters of a model group in this minute, None if its limits are not of tokens and requests."""
        info = core._hosted._cached_get_model_group_info(group)
        if self._limits_io(info):
            return None
        return (info, core._hosted._group_usage_counters(group) if self._limits_usage(info) else ((), ()))

    def remaining(self, core: Any, group: str, counters: Any) -> Mapping[str, Any]:
        """Return the headers that tell what is left of a model group's limits; it has these ``counters``."""
        found: Mapping[str, Any]
        if counters is None:
            found = core._hosted._core_get_remaining_model_group_usage_sync(group, core.io_token_usage_sync)
            return found
        info, (tokens, requests) = counters
        usage = None
        if tokens or requests:
            values = core._usage._handle.get_many_sync((*tokens, *requests))
            usage = self._usage_totals(values, len(tokens))
        found = self._remaining_usage(info, None, usage)
        return found

    def attempt(self, core: Any, plan: Any, request: Any, step: Any, arguments: Any, slot: ExitStack) -> Any:
        """Return what a stream knows of the attempt that it came from, which called LiteLLM with ``arguments``."""
        driver = SimpleNamespace(_core=core, _op=plan.endpoint, _request=request)
        return self._stream_attempt(driver, step, arguments, None if plan.sync else slot)

    async def wrapped(self, stream: Any, attempt: Any) -> Any:
        """Return what a router makes of a ``stream``, whose first chunk is read now."""
        rest = stream.__aiter__()
        first = None
        with suppress(StopAsyncIteration):
            first = await rest.__anext__()
        return self._wrapped(attempt, stream, self._first_chunk(chunk=first, rest=rest), attempt.slot.pop_all())

    def wrapped_in_thread(self, stream: Any, attempt: Any) -> Any:
        """As ``wrapped``, of a stream in a thread."""
        rest = iter(stream)
        return self._wrapped_in_thread(attempt, stream, self._first_chunk(chunk=next(rest, None), rest=rest))

    def answering(self, core: Any, plan: Any, stream: Any, error: Exception, before: Callable[[], None]) -> Any:
        """Return ``core`` as one that is given ``stream`` next, whose first chunk has raised ``error``.

        ``before`` is called when it is given.
        """
        failing = self._failing(stream, error)

        def again(**arguments: Any) -> Any:
            before()
            return failing

        return self.answered(core, plan, again)

    def answered(self, core: Any, plan: Any, answer: Callable[..., Any]) -> Any:
        """Return ``core`` as one whose next call of LiteLLM's function is ``answer``'s to serve."""
        return self._answering(core, _host=_Host(core._host, plan.host_op, answer))

    def checked(self, core: Any, error: Exception | None) -> Any:
        """Return ``core`` as one that does not check the deployment of the next attempt: it has, and met ``error``."""

        def routing_callbacks() -> tuple[Any, ...]:
            return () if error is None else (self._refusing(error),)

        def sync_pre_call_checks(*args: Any) -> None:
            if error is not None:
                raise error

        return self._answering(
            core,
            _checks=_Once(core._checks, "routing_callbacks", routing_callbacks),
            _endpoints=_Once(core._endpoints, "sync_pre_call_checks", sync_pre_call_checks),
        )

    def may_filter(self, core: Any) -> bool:
        """Return whether a callback may leave out deployments: there is one, or a router has its own."""
        checks = vars(core)["_checks"]
        return bool(self._litellm.callbacks or checks._request_scoped_selectors or checks._request_scoped_policies)

    async def check(self, core: Any, deployment: Any) -> None:
        """Let callbacks check a ``deployment`` that will be called; some count the call. Raises what they raise."""
        await self._pre_call_checks(core._checks.routing_callbacks(), deployment)

    def check_in_thread(self, core: Any, deployment: Any, request: Any) -> None:
        """As ``check``, of a call in a thread."""
        core._endpoints.sync_pre_call_checks(self.plan_in_threads, deployment, request)

    async def release(self, core: Any, attempt: Any) -> None:
        """Let go of what an ``attempt`` still holds that is cancelled."""
        release = self._release_attempt(core._selectors.reservations, core._cache, attempt.attempt_id)
        if release is not None:
            await self._released((release,), self._grace)

    @contextmanager
    def choosing(self, core: Any, request: Any) -> Iterator[None]:
        """A context in which a strategy holds the deployments that it picks for a ``request``, until they are called.

        What it has picked for nothing is given back when the context ends.
        """
        with self._owning_picks(core._selectors.reservations, self._call_id_of(request)), self._picks_reserve(True):
            yield

    def reading_usage(self, core: Any, request: Any) -> Any:
        """Return a context in which a pick reads the usage of deployments together with their cooldowns."""
        return core._usage_read_scope(str(request.get("model")), request)

    async def driven(self, core: Any, request: Any, call: Any) -> Any:
        """Return what comes of ``call``, driven by the core's own loop."""
        with self.choosing(core, request), self.reading_usage(core, request):
            driver, step = await core._run(self.plan, call, request, fresh=True)
            if step["kind"] == "failed":
                raise driver.failed(step)
            return await driver.finish_async(step)

    def driven_in_thread(self, core: Any, request: Any, call: Any) -> Any:
        """As ``driven``, of a call in a thread."""
        with self.choosing(core, request):
            driver, step = core._run_sync(self.plan_in_threads, call, request, fresh=True)
            if step["kind"] == "failed":
                raise driver.failed(step)
            return driver.finish(step)


class _Host:
    """A core's host that has ``answer`` serve the next call of one function."""

    def __init__(self, host: Any, function: str, answer: Callable[..., Any]) -> None:
        self._host = host
        self._answers = {function: answer}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def invoke(self, op: str) -> Any:
        """Return the function of LiteLLM's, or what answers."""
        return self._answers.pop(op) if op in self._answers else self._host.invoke(op)


class _Once:
    """An object with another method of one ``name``, which takes the next call alone."""

    def __init__(self, held: Any, name: str, method: Callable[..., Any]) -> None:
        self._held = held
        self._methods = {name: method}

    def __getattr__(self, name: str) -> Any:
        return self._methods.pop(name, None) or getattr(self._held, name)


def _answering_class(core_class: Any) -> Any:
    class Answering(core_class):  # type: ignore[misc]
        """A core with some other ``parts``, and all else its own."""

        __slots__ = ("parts",)

        def __init__(self, core: Any, **parts: Any) -> None:
            object.__setattr__(self, "__dict__", vars(core))
            before = core.parts if type(core) is Answering else {}
            object.__setattr__(self, "parts", {**before, **parts})

        @property
        def _host(self) -> Any:
            return self.parts.get("_host") or vars(self)["_host"]

        @property
        def _checks(self) -> Any:
            return self.parts.get("_checks") or vars(self)["_checks"]

        @property
        def _endpoints(self) -> Any:
            return self.parts.get("_endpoints") or vars(self)["_endpoints"]

    return Answering


def _refusing_class(logger_class: Any) -> Any:
    class Refusing(logger_class):  # type: ignore[misc]
        """A callback that refuses the next deployment that it is asked about."""

        def __init__(self, error: Exception) -> None:
            self._error = error

        async def async_pre_call_check(self, deployment: Any, parent_otel_span: Any) -> Any:
            raise self._error

    return Refusing


def _failing_class(wrapper: Any) -> Any:
    class Failing(wrapper):  # type: ignore[misc]
        """A stream whose first chunk raises."""

        __slots__ = ("error",)

        def __init__(self, stream: Any, error: Exception) -> None:
            object.__setattr__(self, "__dict__", vars(stream))
            self.error = error

        def __iter__(self) -> Any:
            return self

        def __aiter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            raise self.error

        async def __anext__(self) -> Any:
            raise self.error

    return Failing


def has_core_steps() -> bool:
    """Return whether the installed release's routers serve calls in ``CoreSteps``."""
    try:
        CoreSteps()
    except (ImportError, AttributeError):
        return False
    return True


@functools.cache
def routers_read_first_chunks() -> bool:
    """Return whether a router that chooses in Python reads a stream's first chunk before its caller gets the stream."""
    router = importlib.import_module("litellm.router").Router
    return "first_chunk" in inspect.signature(router._completion_streaming_iterator).parameters


def note_first_chunk(logging_obj: Any) -> Callable[..., None]:
    """Return the method by which a call's ``Logging`` object is told when the first chunk has come."""
    found: Callable[..., None] = either(logging_obj, *_FIRST_CHUNK)
    return found


def leaves_out_unset() -> bool:
    """Return whether LiteLLM reads of an SDK's answer only what the provider has sent, and not the SDK's defaults."""
    dump = getattr(importlib.import_module("litellm.llms.openai.common_utils"), "model_dump_provider_response", None)
    return dump is not None and not dump(_Unset())


def looks_models_up(config: Any) -> bool:
    """Return whether a provider's ``config`` asks for each call what the model can do, whichever provider has it.

    That is to ask by the model's name alone, without the provider's.
    """
    asks = getattr(getattr(type(config), "get_supported_openai_params", None), "__code__", None)
    if asks is None:
        return False
    is_asking = False
    for step in dis.get_instructions(asks):
        held = asks.co_consts[step.arg] if step.opname == "KW_NAMES" else step.argval  # of which 3.11 tells the number
        if held == "supports_reasoning":
            is_asking = True
        elif is_asking and type(held) is tuple:  # by which arguments
            if held == ("model",):
                return True
            is_asking = False
    return False


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


class CheckedDispatch:
    """How releases tell callbacks of a stream's end that first have pydantic check, with a checker made each time, that
    what it has come to is an object."""

    _NAMES: ClassVar[tuple[str, ...]] = (
        "litellm.litellm_core_utils.thread_pool_executor",
        "executor",
        "_is_assembled_stream_success",
        "TypeAdapter",
        "object",
        "validate_python",
        "model_call_details",
        "get",
        "is_sync_litellm_request",
        "call_type",
        "CallTypes",
        "pass_through",
        "value",
        "success_handler",
        "async_success_handler",
        "stream",
        "_should_run_sync_callbacks_for_async_calls",
        "submit",
    )
    # What the callbacks of the other kind are told of by a thread.
    _GIVEN: ClassVar[tuple[str, ...]] = ("start_time", "end_time", "cache_hit", "for_async_request")

    def __init__(self, logging_class: Any) -> None:
        self._class = logging_class
        self._code = None
        self._threads: Any = importlib.import_module(self._NAMES[0])
        found = vars(logging_class).get("dispatch_success_handlers")
        code = getattr(found, "__code__", None)
        if code is not None and code.co_names == self._NAMES and self._GIVEN in code.co_consts:
            self._code = code

    @property
    def executor(self) -> Any:
        """The threads that tell the callbacks of the other kind."""
        return self._threads.executor

    def is_known(self) -> bool:
        """Return whether that is still how the installed release tells them."""
        found = vars(self._class).get("dispatch_success_handlers")
        return self._code is not None and getattr(found, "__code__", None) is self._code


class StreamEnd:
    """How LiteLLM ends a stream: puts its chunks together, prices the whole, notes its usage, and lets go of it."""

    # What its steps are called with, in every release that has them. Later ones take more of it.
    _STEPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "_stamp_streaming_usage_cost": ("usage", "response", "logging_obj"),
        "_set_stream_builder_response_cost": ("response", "logging_obj", "chunks"),
        "stream_chunk_builder": (
            "chunks",
            "messages",
            "start_time",
            "end_time",
            "logging_obj",
            "count_prompt_tokens",
        ),
    }

    # What the end of a stream that is read in a thread consists of besides.
    _IN_THREADS: ClassVar[frozenset[str]] = frozenset(
        (
            "_build_complete_streaming_response",
            "_new_usage_chunk",
            "_propagate_usage_cost_to_hidden_params",
            "_should_fail_on_clean_eof",
            "cache_streaming_response",
            "close",
            "executor",
            "model_copy",
            "submit",
            "success_handler",
        )
    )

    def __init__(self) -> None:
        self.handler = importlib.import_module("litellm.litellm_core_utils.streaming_handler")
        self._wrapper = self.handler.CustomStreamWrapper
        #: The module in which chunks are put together.
        self.home = importlib.import_module(importlib.import_module("litellm").stream_chunk_builder.__module__)
        self._counts = {name: _known_parameters(vars(self.home).get(name), self._STEPS[name]) for name in self._STEPS}
        #: Whether it is done by these steps.
        self.is_known = all(self._counts.values()) and hasattr(
            importlib.import_module("litellm.litellm_core_utils.litellm_logging").Logging, _FIRST_CHUNK[0]
        )
        self._traces = hasattr(self.home, "_record_bedrock_guardrail_trace")
        propagate = getattr(self._wrapper, "_propagate_usage_cost_to_hidden_params", None)
        self._propagated = _known_parameters(propagate, ("response", "custom_llm_provider", "chunks"))
        self._stamp_bill = getattr(self.handler, "_stamp_usage_cost", None)
        self._notes_for_itself = getattr(self._wrapper, "_maybe_set_final_chunk_usage", None)
        self._notes_usage = getattr(self._wrapper, "_set_final_chunk_usage", None)
        finish = getattr(self._wrapper, "_finalize_completed_stream", None)
        self._closes = finish is not None and "aclose" in finish.__code__.co_names
        #: Whether it is done by these steps where a stream is read in a thread, too.
        self.ends_in_threads = self.is_known and self._IN_THREADS.issubset(self._wrapper.__next__.__code__.co_names)
        #: The name of the function that adds up the usages of a stream's chunks.
        names = ("_reported_total_usage", "calculate_total_usage")
        self.total = next((name for name in names if hasattr(self.handler, name)), "")

    def price(self, made: Any, logging_obj: Any, chunks: Any) -> None:
        """Note in ``made``, which was put together of ``chunks``, and in ``logging_obj`` what it costs."""
        home = self.home
        if self._traces:
            home._record_bedrock_guardrail_trace((), made, logging_obj)
        home._stamp_streaming_usage_cost(made.usage, made, logging_obj)
        count = self._counts["_set_stream_builder_response_cost"]
        home._set_stream_builder_response_cost(*(made, logging_obj, chunks)[:count])

    def note_usage(self, wrapper: Any, chunk: Any) -> None:
        """Note the usage so far with a stream's last ``chunk``."""
        if self._notes_for_itself is not None:
            self._notes_for_itself(wrapper, chunk)
        elif wrapper.stream_options is None:
            if self._notes_usage is not None:
                self._notes_usage(wrapper, chunk)
                return
            hidden = chunk._hidden_params
            hidden["usage"] = self.handler.calculate_total_usage(chunks=wrapper.chunks)
            wrapper._last_returned_hidden_params = hidden

    def note_whole(self, wrapper: Any, made: Any) -> None:
        """Note of a stream that has ended what ``made``, all of it, has used."""
        wrapper._propagate_usage_cost_to_hidden_params(
            *(made, wrapper.custom_llm_provider, wrapper.chunks)[: self._propagated]
        )
        if self._stamp_bill is not None and not _is_stamped(made):
            chunk = wrapper._new_usage_chunk()  # which nobody is given
            chunk.usage = made.usage
            self._stamp_bill(chunk, made)
        is_noted = wrapper.stream_options is None if self._notes_for_itself is None else not wrapper.send_stream_usage
        if is_noted and wrapper._last_returned_hidden_params is not None:
            wrapper._last_returned_hidden_params["usage"] = made.usage

    async def let_go(self, wrapper: Any) -> None:
        """Leave a stream that has ended."""
        if self._closes:
            await wrapper.aclose()
        else:
            wrapper._restore_consumer_correlation_context()


def _is_stamped(made: Any) -> bool:
    """Return whether the usage of what was put together says already what that costs."""
    bill = made._hidden_params.get("response_cost")
    return type(bill) is float and bill > 0 and getattr(made.usage, "cost", None) == bill


def _known_parameters(function: Any, names: tuple[str, ...]) -> int:
    """Return how many parameters ``function`` takes, if these are the first of ``names``; else 0."""
    if type(function) is not FunctionType:
        return 0
    found = tuple(inspect.signature(function).parameters)
    return len(found) if found == names[: len(found)] else 0


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


def end_of_keys(cache: Any, loop: Any) -> str:
    """Return how the keys end under which LiteLLM's ``cache`` of clients keeps those for ``loop``, which may be closed.

    Since 1.108 clients for threads are under keys without such an end.
    """
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        end: str = cache.update_cache_key_with_event_loop("")
    finally:
        asyncio._set_running_loop(running)
    return end


def tells_of_waiting_alone(config: Any) -> bool:
    """Return whether a trace of aiohttp's is LiteLLM's own, which says something where a connection is waited for."""
    found = module("litellm.llms.custom_httpx.aiohttp_pool_diagnostics")
    make = getattr(found, "build_pool_wait_trace_config", None)
    if make is None:
        return False
    own = make()
    signals = [name for name in dir(type(own)) if name.startswith("on_")]
    return type(config) is type(own) and all(
        list(getattr(config, name)) == list(getattr(own, name)) for name in signals
    )


class Counting:
    """How the installed release counts tokens, in its module ``counter`` and in ``litellm.utils``."""

    # A function that finds LiteLLM's default encoding; in early releases the encoding itself.
    _DEFAULT_ENCODING = ("get_default_encoding", "_get_default_encoding", "default_encoding")

    def __init__(self, counter: ModuleType | None, utils: ModuleType) -> None:
        self._counter, self._utils = counter, utils
        self._default = next((name for name in self._DEFAULT_ENCODING if hasattr(counter, name)), "")
        #: Whether it has what is asked for here.
        self.is_known = self._default != "" and hasattr(counter, "_get_tiktoken_count_function")
        #: Chooses what of a long text is counted; None where all of it is, as in early releases.
        self.samples: Any = getattr(counter, "_evenly_spaced_samples", None)

    @property
    def limited(self) -> tuple[Any, ...]:
        """The functions that bind the limits of texts as default arguments."""
        names = ("_get_tiktoken_count_function", "_get_extrapolating_count_function")
        return tuple(getattr(self._counter, name) for name in names if hasattr(self._counter, name))

    def limits(self) -> tuple[Any, Any]:
        """Return the length of the pieces in which texts are counted, and of the longest text that is counted whole."""
        pieces, *longest = (function.__defaults__[0] for function in self.limited)
        return pieces, longest[0] if longest else sys.maxsize

    def default_encoding(self) -> Any:
        """Return LiteLLM's default encoding."""
        found = getattr(self._counter, self._default)
        return found() if callable(found) else found

    def encode_by(self, names: dict[str, Any], encoding: Any) -> None:
        """Make ``encoding`` the default one of functions over ``names``."""
        names[self._default] = (lambda: encoding) if callable(getattr(self._counter, self._default)) else encoding

    @staticmethod
    def encoding_of(model: str, names: Mapping[str, Any], count: Any) -> Any:
        """Return the encoding by which ``count``, made by functions over ``names``, counts texts of ``model``."""
        find = names.get("openai_tokenizer_encoding")
        if find is not None:
            return find(model)
        encode = inspect.getclosurevars(count).nonlocals["encode_length"]
        return inspect.getclosurevars(encode).nonlocals["encoding"]

    def is_huggingface(self, model: str) -> bool:
        """Return whether texts of ``model`` are counted by a tokenizer of Hugging Face's, without loading it."""
        kind = getattr(self._utils, "huggingface_tokenizer_kind", None)
        if kind is not None:
            return kind(model) is not None
        # Early releases load it where they choose it.
        choose = self._utils._return_huggingface_tokenizer
        names = {**vars(self._utils), "Tokenizer": SimpleNamespace(from_pretrained=bool, from_str=bool)}
        return FunctionType(choose.__code__, names)(model) is not None


def billing_time(arithmetic: ModuleType) -> datetime.datetime:
    """Return the time that a call is billed at, where it is priced now by LiteLLM's module ``arithmetic``."""
    now = getattr(arithmetic, "current_billing_time", None)
    found: datetime.datetime = datetime.datetime.now(datetime.timezone.utc) if now is None else now()
    return found


def modality_rate(
    arithmetic: ModuleType, info: Mapping[str, Any], key: str, base: float, tier: str | None, length: Mapping[str, Any]
) -> float:
    """Return what a token of a prompt costs that is no text and is priced under ``key``; ``base`` is the price of text.

    ``length`` is what a price may depend on besides.
    """
    cost = getattr(arithmetic, "_modality_token_cost", None)
    if cost is not None:
        rate: float = cost(info, key, 1, base, tier, **taken_by(cost, length))
        return rate
    # Early releases have prices by tier for sound, and the price of plain text where pictures have none.
    if key == "input_cost_per_audio_token":
        key = arithmetic._get_service_tier_cost_key(key, tier)
    elif info.get(key) is None:
        key = "input_cost_per_token"
    rate = arithmetic.calculate_cost_component(info, key, 1)
    return rate


def either(owner: Any, *names: str) -> Any:
    """Return what ``owner`` has under the first of ``names`` that the installed release has, None without any."""
    return next((getattr(owner, name) for name in names if hasattr(owner, name)), None)


def name_of(owner: Any, public: str) -> str:
    """Return ``public``, or the private name under which earlier releases have the same."""
    private = f"_{public}"
    return private if not hasattr(owner, public) and hasattr(owner, private) else public


def module(name: str) -> ModuleType | None:
    """Return the module ``name``, None if the installed release has none."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
