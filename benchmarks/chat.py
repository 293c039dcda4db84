"""Whole calls against the loopback provider: requests a second of one client process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from benchmarks import COMPILED, PURE, SHIPPED, STOCK, accelerate_all, close, hot, openai, prefer
from litellm_accel.bench.workloads import RETRIED, VARYING, retried

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello to the world."}]
AZURE = {"model": "azure/gpt-4o", "api_version": "2024-10-21"}
IN_FLIGHT = 20
CALLS = 120
COMPONENTS = ("cost", "routing", "connection_pool", "chat")


class Reader(CustomLogger):  # type: ignore[misc]
    """Reads the standard payload of every call, as observability tools do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.tokens = 0

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.tokens += kwargs["standard_logging_object"]["total_tokens"]
        self.calls += 1


class Calls:
    """`CALLS` calls of one kind, answered as OpenAI answers, over TLS; others by their own providers, or over HTTP."""

    kinds: tuple[str, ...] = (
        "completion",
        "completion_threads",
        "acompletion",
        "plain_http",
        "hosted_vllm",
        "azure",
        "router",
        "varying",
    )
    params = (list(kinds), list(SHIPPED))
    param_names = ("kind", "backend")
    timeout = 300

    def setup(self, kind: str, backend: str) -> None:
        accelerate_all(COMPONENTS, backend)
        self.stack = contextlib.ExitStack()
        self.provider = self.stack.enter_context(openai())
        deployment = {"model": "openai/gpt-4o-mini", "api_base": self.provider.url}
        self.loop = asyncio.new_event_loop()
        self.router = litellm.Router(
            model_list=[
                {"model_name": "g", "litellm_params": {**deployment, "api_key": str(n), "rpm": 10**6, "tpm": 10**9}}
                for n in range(10)
            ]
        )
        call = {**deployment, "messages": MESSAGES, "api_key": "sk-bench"}
        plain = {**call, "api_base": self.provider.plain.at('plain{"profile": "plain"}')}
        vllm = {**call, "model": "hosted_vllm/qwen", "api_base": self.provider.at('plain{"profile": "vllm"}')}
        azure = {**call, **AZURE, "api_base": self.provider.at('plain{"profile": "azure"}')}
        numbers = itertools.count()

        kinds: dict[str, Callable[[], Any]] = {
            "completion": lambda: [litellm.completion(**call) for _ in range(CALLS)],
            "completion_threads": lambda: _in_threads(lambda: litellm.completion(**call)),
            "acompletion": lambda: self.loop.run_until_complete(_in_flight(lambda: litellm.acompletion(**call))),
            "plain_http": lambda: self.loop.run_until_complete(_in_flight(lambda: litellm.acompletion(**plain))),
            "hosted_vllm": lambda: self.loop.run_until_complete(_in_flight(lambda: litellm.acompletion(**vllm))),
            "azure": lambda: self.loop.run_until_complete(_in_flight(lambda: litellm.acompletion(**azure))),
            "varying": lambda: self.loop.run_until_complete(
                _in_flight(lambda: litellm.acompletion(**call, **VARYING["tools"](next(numbers))))
            ),
            "router": lambda: self.loop.run_until_complete(
                _in_flight(lambda: self.router.acompletion(model="g", messages=MESSAGES))
            ),
        }
        self.work = kinds[kind]
        self.prepare()
        self.served = _served(backend)

    def prepare(self) -> None:
        for _ in range(3):  # plans are made here: the first calls of a process load modules
            self.work()

    def time_calls(self, kind: str, backend: str) -> None:
        self.work()

    def teardown(self, kind: str, backend: str) -> None:
        if backend != STOCK:
            self.work()
            assert _served(backend) >= self.served + CALLS, "the calls that were measured have not been served"
        close(self.loop)
        self.stack.close()


class Twins(Calls):
    """The same without compiled modules, which is never slower than stock."""

    kinds = ("completion", "acompletion", "router")
    params = (list(kinds), [PURE])


class Handler:
    """What CrewAI puts into `litellm.callbacks`: LiteLLM calls nothing of it."""

    def __eq__(self, other: object) -> bool:
        return type(other) is Handler

    def __hash__(self) -> int:
        return 0


class ChangedCalls(Calls):
    """The same, with `litellm.callbacks` assigned before each call, or a setting toggled."""

    kinds = ("callbacks assigned before each call", "a toggled setting")
    params = (list(kinds), list(SHIPPED))

    def setup(self, kind: str, backend: str) -> None:
        self.changed = kind
        super().setup("completion", backend)

    def prepare(self) -> None:
        call = {
            "model": "openai/gpt-4o-mini",
            "api_base": self.provider.url,
            "messages": MESSAGES,
            "api_key": "sk-bench",
        }

        def changed() -> None:
            for number in range(CALLS):
                if self.changed == "a toggled setting":
                    litellm.drop_params = bool(number % 2)
                else:
                    litellm.callbacks = [Handler()]
                litellm.completion(**call)

        self.work = changed
        self.work()

    def teardown(self, kind: str, backend: str) -> None:
        super().teardown(kind, backend)
        litellm.callbacks, litellm.drop_params = [], False


class LoggedCalls(Calls):
    """The same, each call told to one `CustomLogger` that reads the standard payload."""

    params = (list(Calls.kinds), list(SHIPPED))

    def prepare(self) -> None:
        self.reader = Reader()
        litellm.callbacks.append(self.reader)
        plain = self.work

        def logged() -> None:
            expected = self.reader.calls + CALLS
            plain()
            while self.reader.calls < expected:  # both LiteLLM's worker and its threads end on their own time
                self.loop.run_until_complete(asyncio.sleep(0.001))

        self.work = logged
        for _ in range(2):  # a logger is put into LiteLLM's lists on the first call; two calls are watched then
            self.work()

    def teardown(self, kind: str, backend: str) -> None:
        super().teardown(kind, backend)
        for name in ("callbacks", "input_callback", "success_callback", "_async_success_callback"):
            getattr(litellm, name).remove(self.reader)
        assert self.reader.tokens > 0


class FailedCalls(Calls):
    """Calls that get 429, and are not tried again."""

    kinds = ("acompletion",)
    params = (list(kinds), list(SHIPPED))

    def prepare(self) -> None:
        litellm.suppress_debug_info = True  # which is printed for each
        call = {"model": "openai/gpt-4o-mini", "api_base": self.provider.url, "api_key": "sk-bench", "max_retries": 0}
        failing = [*MESSAGES[:1], {"role": "user", "content": "answer as: error-429"}]

        async def fail() -> None:
            with contextlib.suppress(litellm.RateLimitError):
                await litellm.acompletion(**call, messages=failing)

        for _ in range(5):  # they are learned from when they succeed
            self.loop.run_until_complete(litellm.acompletion(**call, messages=MESSAGES))
        self.work = lambda: self.loop.run_until_complete(_in_flight(fail))
        super().prepare()

    def teardown(self, kind: str, backend: str) -> None:
        super().teardown(kind, backend)
        litellm.suppress_debug_info = False


class RetriedCalls(Calls):
    """Calls that get 429 first, and are tried again at once: by the SDK, or by a router with another deployment."""

    kinds = RETRIED
    params = (list(RETRIED), list(SHIPPED))

    def setup(self, kind: str, backend: str) -> None:
        self.kind = kind
        super().setup(kind, backend)

    def prepare(self) -> None:
        litellm.suppress_debug_info = True  # which is printed for each failed attempt
        one, first = retried(self.kind, self.provider.url), itertools.count()

        def call(numbers: Iterator[int]) -> Any:
            return one(next(numbers))

        def work(numbers: Iterator[int]) -> None:
            if self.kind == "completion":
                for _ in range(CALLS):
                    call(numbers)
            else:
                self.loop.run_until_complete(_in_flight(lambda: call(numbers)))

        work(itertools.count(-CALLS))  # they are learned from when they succeed
        self.work = lambda: work(first)
        super().prepare()

    def teardown(self, kind: str, backend: str) -> None:
        super().teardown(kind, backend)
        litellm.suppress_debug_info = False


class CachedCalls(Calls):
    """Calls whose answer is in LiteLLM's cache in memory."""

    kinds = ("completion", "acompletion")
    params = (list(kinds), list(SHIPPED))

    def prepare(self) -> None:
        # LiteLLM imports it when it answers from its cache, and does not require it.
        sys.modules.setdefault("soundfile", ModuleType("soundfile"))
        litellm.cache = litellm.Cache(type="local")
        super().prepare()
        self.stack.close()  # whatever the cache does not answer fails from now on

    def teardown(self, kind: str, backend: str) -> None:
        super().teardown(kind, backend)
        litellm.cache = None


class Admission:
    """Whether the fast path serves a prepared call, and by which plan: all that comes before the request is put
    together."""

    params = (["compiled", "pure"],)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        accelerate_all(COMPONENTS, backend)
        from litellm_accel.components.chat import COMPONENT

        with openai() as provider:
            self.call = {
                "model": "openai/gpt-4o-mini",
                "messages": MESSAGES,
                "api_base": provider.url,
                "api_key": "sk-bench",
                "temperature": 0.5,
            }
            for _ in range(5):
                litellm.completion(**self.call)
        assert _served(backend) > 1, "the call is not prepared"
        assert COMPONENT.pipeline is not None
        self.pipeline = COMPONENT.pipeline

    def time_admit(self, backend: str) -> None:
        assert self.pipeline.admit("sync", (), self.call, time.time())


class Declined:
    """How much longer than in stock a call takes that the fast path leaves to stock, in processor time.

    Stock and accelerated take turns. The call passes an argument that the fast path does not know.
    """

    params = (["completion", "acompletion"], [COMPILED, PURE])
    param_names = ("kind", "backend")
    turns = 7
    calls = 20

    def setup(self, kind: str, backend: str) -> None:
        prefer(backend)

    def track_percent(self, kind: str, backend: str) -> float:
        return 100 * statistics.median(mine / stock - 1 for stock, mine in self._turns(kind, backend))

    track_percent.unit = "%"  # type: ignore[attr-defined]

    def track_microseconds(self, kind: str, backend: str) -> float:
        return 1e6 * statistics.median(mine - stock for stock, mine in self._turns(kind, backend))

    track_microseconds.unit = "µs"  # type: ignore[attr-defined]

    def _turns(self, kind: str, backend: str) -> list[tuple[float, float]]:
        """Return what one call takes in stock and accelerated, in each turn."""
        import litellm_accel

        with openai() as provider:
            call = {
                "model": "openai/gpt-4o-mini",
                "messages": MESSAGES,
                "api_base": provider.url,
                "api_key": "sk-bench",
                "caching": True,  # without a cache it changes nothing, but the fast path does not know that
            }
            loop = asyncio.new_event_loop()

            def play() -> float:
                begin = time.process_time()
                for _ in range(self.calls):
                    if kind == "completion":
                        litellm.completion(**call)
                    else:
                        loop.run_until_complete(litellm.acompletion(**call))
                return time.process_time() - begin

            found = []
            for _ in range(self.turns):
                litellm_accel.restore()
                play()
                stock = play()
                accelerate_all(COMPONENTS, backend)
                play()
                found.append((stock / self.calls, play() / self.calls))
                declined = litellm_accel.status()["chat"].declined
                assert declined == {"argument 'caching'": 2 * self.calls}, f"not what would be measured: {declined}"
            litellm_accel.restore()
            close(loop)
        return found


class Parts:
    """The fast path's own work on one call."""

    params = (["compiled", "pure"],)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.chat = hot("chat", backend)
        self.template = hot("template", backend)
        self.call = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, "temperature": 0.5, "api_key": "sk"}
        message = {"role": "assistant", "content": "Hello!", "refusal": None}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.answer = {"id": "x", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}

    def time_key(self, backend: str) -> None:
        self.chat.call_key("async", (), self.call)

    def time_body(self, backend: str) -> None:
        self.chat.body_of(MESSAGES)

    def time_leaves(self, backend: str) -> None:
        self.template.leaves_of(self.answer)


def _served(backend: str) -> int:
    import litellm_accel

    return 0 if backend == STOCK else litellm_accel.status()["chat"].served


async def _in_flight(call: Callable[[], Any]) -> None:
    async def worker() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            await call()

    await asyncio.gather(*[worker() for _ in range(IN_FLIGHT)])


def _in_threads(call: Callable[[], Any]) -> None:
    def worker() -> None:
        for _ in range(CALLS // 8):
            call()

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
