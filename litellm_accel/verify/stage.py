"""Plays one run inside a process that has LiteLLM, and observes it. Nothing of a run is left for the next one."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import io
import itertools
import logging
import os
import random
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import litellm
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.litellm_core_utils.thread_pool_executor import executor

from litellm_accel.provider import Address
from litellm_accel.verify import masks
from litellm_accel.verify.observe import KINDS, Recorder, astreamed, describe, logged, outcome, streamed
from litellm_accel.verify.scenario import EMBEDDING, GROUP, HELLO, KEY, ROUTED, At, Made, Run, with_fields

SETTLE_SECONDS = 2.0
STEADY_SECONDS = 3.0


class Stage:
    """One run: its arguments, its router, its observations. Scripts use its public methods."""

    def __init__(self, run: Run, provider: Address, loop: asyncio.AbstractEventLoop) -> None:
        self.litellm = litellm
        self.run = run
        self.scenario = run.scenario
        self.loop = loop
        self.recorder = Recorder()
        self.outcomes: list[Any] = []
        self.observed: dict[str, Any] = {}
        self.routers: list[Any] = []
        self.provider = provider
        self._logs: list[Any] = []
        self._given_up: set[asyncio.Task[Any]] = set()
        self._earlier_tasks = frozenset(asyncio.all_tasks(loop))
        self.crossed_minute = False  # a router counts by the minute: what it holds is then spread over two

    # what scripts use

    def at(self, answer: str = "plain") -> str:
        """The provider's address at which every model is answered so."""
        if not self.scenario.profile:
            return self.provider.at(answer)
        address = self.provider.secured if self.provider.tls_port else self.provider
        return address.at(with_fields(answer, profile=self.scenario.profile))

    def resolve(self, value: Any) -> Any:
        """A copy of a value of the scenario, with its placeholders filled in."""
        if isinstance(value, At):
            return self.at(value.answer)
        if isinstance(value, Made):
            return value.make()
        if isinstance(value, Mapping):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [self.resolve(item) for item in value]
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return copy.deepcopy(value)

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of the call, the scenario's and then `changes` over the defaults."""
        embeds = self.run.via in EMBEDDING
        given: dict[str, Any] = {"input": "Say hello."} if embeds else {"messages": HELLO}
        if self.run.via in ROUTED:
            given["model"] = GROUP
        else:
            given.update(model=self.scenario.model, api_key=KEY, api_base=At(self.scenario.answer))
        return {name: self.resolve(value) for name, value in {**given, **self.scenario.arguments, **changes}.items()}

    def recorder_of(self, kind: str) -> Any:
        """A callback of one of observe.KINDS that writes to this run's record."""
        return KINDS[kind](self.recorder)

    def router(self, deployments: Any = None, **changes: Any) -> Any:
        """A Router with the scenario's deployments, observed at the end of the run."""
        entries = deployments or self.scenario.deployments
        if not entries:
            params = {"model": self.scenario.model, "api_base": At(self.scenario.answer), "api_key": KEY}
            entries = ({"model_name": GROUP, "litellm_params": params},)
        router = litellm.Router(
            model_list=self.resolve(entries), **self.resolve({"num_retries": 0, **self.scenario.router, **changes})
        )
        self.routers.append(router)
        return router

    def entry(self) -> Any:
        """The function the run calls: of the module, or of a new router."""
        if self.run.via == "router":
            return self.router().completion
        if self.run.via == "arouter":
            return self.router().acompletion
        return getattr(litellm, self.run.via)

    async def warm(self) -> Any:
        """The function the run calls, after two calls that nobody looks at."""
        function = self.entry()
        for number in range(2):
            await function(**self.arguments(messages=_numbered(number)))
            await self.settled()
        return function

    def finished(self, response: Any) -> None:
        """Observe what a call returned or raised."""
        self.outcomes.append(outcome(response))

    def call(self, function: Any, arguments: dict[str, Any]) -> None:
        """Make one synchronous call and observe it."""
        try:
            response = function(**arguments)
        except Exception as error:
            response = error
        self.outcomes.append(streamed(response)) if _is_stream(response) else self.finished(response)

    async def acall(self, function: Any, arguments: dict[str, Any]) -> None:
        """Make one asynchronous call and observe it."""
        try:
            response = await function(**arguments)
        except (Exception, asyncio.CancelledError) as error:
            response = error
        self.outcomes.append(await astreamed(response)) if _is_stream(response) else self.finished(response)

    async def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, and observe how it ends."""
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            self.observe("cancelled", str(error))

    def observe(self, name: str, value: Any) -> None:
        """Compare something else of this run too."""
        self.observed[name] = describe(value)

    async def requested(self, number: int) -> None:
        """Wait until the provider has received so many requests of this run, and their callers wait for answers."""
        while len(self.provider.requests()) < number:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Wait until callbacks and bookkeeping have run, but for one task no longer than SETTLE_SECONDS."""
        end = time.monotonic() + SETTLE_SECONDS
        quiet = 0
        while quiet < 3 and time.monotonic() < end:
            before = (time.process_time(), len(self.recorder))
            await asyncio.sleep(0.003)
            idle = time.process_time() - before[0] < 0.002 and len(self.recorder) == before[1]
            busy = self._logging_at_work() or self._tasks() - self._given_up
            quiet = quiet + 1 if idle and not busy else 0
        self._given_up = self._tasks()

    def _tasks(self) -> set[asyncio.Task[Any]]:
        """The tasks this run has started and that have not ended, LiteLLM's endless ones aside."""
        tasks = asyncio.all_tasks(self.loop) - self._earlier_tasks
        return {task for task in tasks if _coroutine_name(task) not in BACKGROUND}

    def _logging_at_work(self) -> bool:
        """Whether LiteLLM's background workers still have something to do that this loop or a thread can do."""
        worker = GLOBAL_LOGGING_WORKER
        queued = worker._queue is not None and worker._queue._unfinished_tasks
        slots = getattr(executor, "_pending_slots", None)  # since 1.106
        threads = executor._work_queue.qsize() if slots is None else executor._max_pending_tasks - slots._value
        return bool(queued and worker._bound_loop is self.loop) or threads > 0

    # the run

    def play(self) -> dict[str, Any]:
        """Play the run and describe all that could be observed of it."""
        random.seed(7)
        if self.run.via in ROUTED:
            _wait_for_steady_minute(self.scenario.seconds)
        minute = time.time() // 60
        self.provider.clear()
        printed = io.StringIO()
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(record=True) as warned,
            self._logging(),
            self._surroundings(),
            _loops_kept(),
        ):
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", ResourceWarning)
            arguments = self.arguments()
            leftover = self._perform(arguments)
            state = [self._router_state(router) for router in self.routers]
            cache = self._cache_state()
            if self.scenario.script is not None:
                _collect()  # so that what a script leaves behind is warned about here
        self.crossed_minute = bool(self.routers) and time.time() // 60 != minute
        # A router has a callback of its own that is called in threads.
        threads = self.run.via in ROUTED or self.routers or self.recorder.elsewhere
        racing = masks.RACING_IN_THREADS if threads else masks.RACING
        return {
            "outcomes": self.outcomes,
            "observed": self.observed,
            "arguments after the call": describe(arguments),
            "callbacks": masks.without_races(self.recorder.here, racing),
            "callbacks in threads": masks.without_races(self.recorder.elsewhere, racing),
            "router": state,
            "cache": cache,
            "printed": printed.getvalue() if self.scenario.logs else "not compared",
            "logged": self._logs if self.scenario.logs else "not compared",
            "warnings": [
                f"{w.category.__name__}: {w.message}" for w in warned if not str(w.message).startswith(masks.COLLECTED)
            ],
            "tasks left": leftover,
            **self._requests(),
        }

    def _changes(self) -> Iterator[dict[str, Any]]:
        """How each call differs from the scenario's arguments: the warm-up in its messages, others say what number."""
        embeds = self.run.via in EMBEDDING
        subject = "input" if embeds else "messages"
        said = _texts if embeds else _numbered
        for number in range(self.scenario.warm_up):
            yield {subject: said(number)}
        for number in range(self.run.calls):
            yield {} if subject in self.scenario.arguments else {subject: said(number)}

    def _perform(self, arguments: dict[str, Any]) -> list[str]:
        script = self.scenario.script
        if inspect.iscoroutinefunction(script) or (
            script is None and self.run.via in ("acompletion", "arouter", "aembedding")
        ):
            return self.loop.run_until_complete(self._perform_async(arguments))
        if script is not None:
            script(self)
            self.loop.run_until_complete(self.settled())
        else:
            function = self.entry()
            for changes in self._changes():
                self.call(function, {**arguments, **changes})
                self._collect_stream()
                self.loop.run_until_complete(self.settled())
        return []

    async def _perform_async(self, arguments: dict[str, Any]) -> list[str]:
        if self.scenario.script is not None:
            await self.scenario.script(self)
            await self.settled()
        else:
            function = self.entry()
            for changes in self._changes():
                await self.acall(function, {**arguments, **changes})
                await self.settled()
        return sorted(map(_coroutine_name, self._tasks()))

    def _requests(self) -> dict[str, Any]:
        """What the provider saw, in order: header names in lower case and sorted, JSON without its white space."""
        requests = self.provider.requests()
        described = [
            {
                "method": request.method,
                "path": request.path,
                "headers": sorted(
                    [name.lower(), "<int>" if name.lower() == "content-length" else value]
                    for name, value in request.headers
                ),
                "body": request.body.decode("latin-1") if request.json is None else request.json,
            }
            for request in requests
        ]
        if not self.scenario.ordered:
            described.sort(key=str)
            self.outcomes.sort(key=lambda outcome: masks.IDENTIFIERS.sub("", str(outcome)))
        if self.scenario.gap is None:
            return {"requests": described}
        gaps = (
            later.time - earlier.time for earlier, later in itertools.pairwise(requests) if earlier.body == later.body
        )
        low, high = self.scenario.gap
        judged = ["within bounds" if low <= gap <= high else f"{gap:.3f} s, not {low} to {high} s" for gap in gaps]
        return {"requests": described, "waits between attempts": judged}

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """LiteLLM's settings, callbacks and the environment as the scenario wants them; afterwards as before."""
        _note_settings()
        environment = dict(os.environ)
        try:
            if self.scenario.profile or self.scenario.levels:
                # A client keeps cookies of runs before this one, and connections, whose end is logged.
                litellm.in_memory_llm_clients_cache.flush_cache()
            os.environ.update(self.resolve(self.scenario.environment))
            for name, value in self.scenario.settings.items():
                setattr(litellm, name, self.resolve(value))
            for name, kinds in self.scenario.callbacks.items():
                setattr(litellm, name, [self.recorder_of(kind) if kind in KINDS else kind for kind in kinds])
            yield
        finally:
            for router in self.routers:
                router.discard()
            _restore_settings()
            os.environ.clear()
            os.environ.update(environment)

    @contextlib.contextmanager
    def _logging(self) -> Iterator[None]:
        levels = self.scenario.levels
        handler = logging.Handler(logging.NOTSET if levels else logging.WARNING)

        def emit(record: logging.LogRecord) -> None:
            message = record.getMessage()
            if not message.startswith(masks.COLLECTED):
                self._logs.append([record.name, record.levelname, message, *(logged(record) if levels else ())])
                if levels and record.threadName == "MainThread":
                    self.recorder.record("log record", message=message)

        handler.emit = emit  # type: ignore[method-assign]
        names = (
            "LiteLLM",
            "LiteLLM Router",
            "asyncio",
            "aiohttp",
            "openai",
            *(("httpx", "httpcore") if levels else ()),
        )
        loggers = [logging.getLogger(name) for name in names]
        before = {name: logging.getLogger(name).level for name in levels}
        for logger in loggers:
            logger.addHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)

    def _router_state(self, router: Any) -> Any:
        cache = router.cache.in_memory_cache
        return {
            "cache": describe(_sorted(self._counted(cache.cache_dict))),
            "expiring": sorted(describe([str(key) for key in cache.ttl_dict])),
            "attributes": describe(_sorted(vars(router)), depth=6),
        }

    def _collect_stream(self) -> None:
        """Free the connection of a stream that an error has ended.

        The SDK's stream holds itself; were it collected inside httpcore's pool, the pool would wait for itself.
        """
        if self.scenario.arguments.get("stream"):
            _collect()

    def _counted(self, cache: Mapping[str, Any]) -> Mapping[str, Any]:
        """A router's counts. Of a synchronous stream stock counts chunks, in threads that race with each other."""
        if self.run.via != "router" or not self.scenario.arguments.get("stream"):
            return cache
        return {key: "<count>" if str(key).endswith(":successes") else value for key, value in cache.items()}

    def _cache_state(self) -> Any:
        cache = litellm.cache
        if cache is None or not hasattr(cache.cache, "cache_dict"):
            return describe(cache)
        return describe(_sorted(cache.cache.cache_dict))


def played(run: Run, provider: Address, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """What could be observed of a run; one whose calls a router has counted in two minutes is played again."""
    while True:
        stage = Stage(run, provider, loop)
        description = stage.play()
        if not stage.crossed_minute:
            return description


#: Tasks that belong to LiteLLM or to this module and never end.
BACKGROUND = frozenset(
    {
        "LoggingWorker._worker_loop",
        "BaseRoutingStrategy.periodic_sync_in_memory_spend_with_redis",
        "RouterBudgetLimiting.periodic_sync_in_memory_spend_with_redis",
        "Stage.settled",
        "Stage._perform_async",
    }
)


def _collect() -> None:
    """Collect what this run has left: all that is younger than the last collection, for none comes by itself."""
    gc.collect(0)


@contextlib.contextmanager
def _loops_kept() -> Iterator[None]:
    """Let no event loop be freed that LiteLLM makes meanwhile.

    LiteLLM knows loops by where they are in memory. Where a new one happens to be at the place of one that has ended, a
    router's call in a thread gets the client, and so the cookies, of an earlier call: an accident that does not repeat.
    """
    made: list[asyncio.AbstractEventLoop] = []
    stock = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        made.append(stock())
        return made[-1]

    asyncio.new_event_loop = new_event_loop
    try:
        yield
    finally:
        asyncio.new_event_loop = stock


def _is_stream(response: Any) -> bool:
    return isinstance(response, litellm.CustomStreamWrapper)


def _wait_for_steady_minute(seconds: float) -> None:
    """The router counts usage by the minute; a run that crosses into the next one has to be played again."""
    left = 60 - time.time() % 60
    if left < STEADY_SECONDS + seconds:
        time.sleep(left)


def _numbered(number: int) -> list[dict[str, str]]:
    """The greeting, a little different each time."""
    system, user = HELLO
    return [dict(system), {**user, "content": user["content"] + "!" * number}]


def _texts(number: int) -> str:
    """A text to embed, a little different each time."""
    return "Say hello." + "!" * number


def _coroutine_name(task: Any) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


def _sorted(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    return dict(sorted(mapping.items(), key=lambda item: str(item[0])))


#: LiteLLM's module-level settings as they are between runs; of lists, dicts and sets also the contents.
_SETTINGS: dict[str, tuple[Any, Any]] = {}


def _note_settings() -> None:
    """Note the settings that have appeared since: LiteLLM makes some when they are first asked for."""
    for name, value in vars(litellm).items():
        if name not in _SETTINGS and not name.startswith("__"):
            _SETTINGS[name] = value, copy.copy(value) if type(value) in (list, dict, set) else None


def _restore_settings() -> None:
    """Give LiteLLM's module-level settings their values back; lists, dicts and sets also their contents."""
    now = vars(litellm)
    for name, (value, contents) in _SETTINGS.items():
        now[name] = value
        if contents is not None and value != contents:
            value.clear()
            value.extend(contents) if isinstance(value, list) else value.update(contents)
