"""Calls at other log levels than the usual: the records that stock writes are written, at the same moments."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

import litellm_accel
from litellm_accel.fastpath.notify import log_records
from litellm_accel.provider import Provider
from litellm_accel.verify import records
from settling import settled

OWN = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
INFO: Mapping[str, int] = {"": logging.INFO}
HTTPX: Mapping[str, int] = {"httpx": logging.INFO}
DEBUG: Mapping[str, int] = {
    "": logging.DEBUG,
    "httpx": logging.DEBUG,
    "httpcore": logging.WARNING,
    **dict.fromkeys(OWN, logging.INFO),
}
EVERYTHING_ELSE: Mapping[str, int] = {**DEBUG, "httpcore": logging.DEBUG}


class Kept(logging.Handler):
    """Keeps what can be told about each record, and how many requests the provider had got by then."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.lines: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asyncio" and record.levelno == logging.ERROR:
            return  # about what loops of earlier tests have left behind, whenever it is collected
        thread = re.sub(r"_\d+$", "", record.threadName or "")
        said = (record.name, record.levelno, str(record.msg), repr(record.args), record.getMessage())
        place = (record.pathname, record.lineno, record.funcName, bool(record.exc_info), thread)
        own = record.thread == threading.get_ident()
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", repr((*said, *place, own, sorted(record.__dict__))))
        self.lines.append((text, len(self.provider.requests())))


pytestmark = pytest.mark.usefixtures("quiet")


@contextmanager
def levels(given: Mapping[str, int]) -> Iterator[None]:
    """Loggers at the given levels in the block; pytest's own handlers hear nothing."""
    before = {name: logging.getLogger(name).level for name in given}
    try:
        for name, level in given.items():
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@pytest.fixture
def kept(provider: Provider) -> Iterator[Kept]:
    handler = Kept(provider)
    held = logging.root.handlers[:], {name: logging.getLogger(name).handlers[:] for name in OWN}
    logging.root.handlers[:] = [handler]
    for name in OWN:
        logging.getLogger(name).handlers[:] = []  # LiteLLM's own writes to the terminal
    try:
        yield handler
    finally:
        logging.root.handlers[:] = held[0]
        for name, handlers in held[1].items():
            logging.getLogger(name).handlers[:] = handlers


@pytest.fixture
def accelerated(restored: None) -> Iterator[Callable[[], Any]]:
    """Return a function that accelerates within its ``with`` block."""
    with records.proving("streaming"), records.proving("chat"), records.proving("connection_pool"):
        yield lambda: litellm_accel.accelerated(["chat", "streaming", "connection_pool"], strict=True)


def chat() -> Any:
    return litellm_accel.status()["chat"]


def arguments(provider: Provider, **more: Any) -> dict[str, Any]:
    given = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "max_retries": 0}
    return {**given, "messages": [{"role": "user", "content": "Hello out there"}], **more}


class Played:
    """Calls in one mode, with one event loop and one router for all."""

    def __init__(self, provider: Provider, kept: Kept, mode: str, **more: Any) -> None:
        self.provider = provider
        self.kept = kept
        self.mode = mode
        self.more = more
        self.loop = asyncio.new_event_loop()
        params = {key: value for key, value in arguments(provider).items() if key != "messages"}
        self.router = Router(model_list=[{"model_name": "group", "litellm_params": params}], num_retries=0)

    def call(self, **more: Any) -> Any:
        """Make one call; return what it wrote, and what the provider had got by then."""
        self.provider.clear()
        self.kept.lines.clear()
        asynchronous = self.mode in ("acompletion", "arouter")
        given = arguments(self.provider, **self.more, **more)
        if "router" in self.mode:
            given = {"model": "group", **{key: given[key] for key in given if key in ("messages", *self.more, *more)}}
        owner: Any = self.router if "router" in self.mode else litellm
        try:
            if asynchronous:
                self.loop.run_until_complete(self._read(owner.acompletion, given))
            else:
                made = owner.completion(**given)
                if given.get("stream"):
                    list(made)
        except Exception as error:
            self._settle()
            return type(error), self.kept.lines[:]
        self._settle()
        return self.kept.lines[:]

    def _settle(self) -> None:
        """Let threads and tasks that come after the call write what they have to."""
        self.loop.run_until_complete(settled())

    async def _read(self, function: Any, given: dict[str, Any]) -> None:
        made = await function(**given)
        if given.get("stream"):
            async for _ in made:
                pass

    def close(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.wait(tasks) if tasks else asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture
def play(provider: Provider, kept: Kept) -> Iterator[Callable[..., Played]]:
    made: list[Played] = []

    def one(mode: str, **more: Any) -> Played:
        made.append(Played(provider, kept, mode, **more))
        return made[-1]

    yield one
    for played in made:
        played.close()


MODES = ("acompletion", "completion", "arouter", "router")
VLLM = {"model": "hosted_vllm/some-model"}


@pytest.mark.parametrize("given", [INFO, HTTPX, DEBUG], ids=["info", "httpx", "debug"])
@pytest.mark.parametrize(
    ("mode", "more"),
    [
        *((mode, {}) for mode in MODES),
        ("acompletion", VLLM),
        ("completion", VLLM),
        ("acompletion", {"tools": [TOOL], "temperature": 0.5}),
        ("arouter", {"tools": [TOOL]}),
    ],
)
def test_the_records_are_stocks(accelerated: Any, play: Any, given: Any, mode: str, more: Any) -> None:
    with levels(given):
        stock = play(mode, **more)
        stock.call()
        expected = [stock.call() for _ in range(2)]
        assert expected[0]
        assert expected[0] == expected[1]
        with accelerated():
            served = chat().served
            pipeline = play(mode, **more)
            found = [pipeline.call() for _ in range(10)]
            assert found[1:] == expected[:1] * 9  # the first of a loop or a router may write more in stock, too
            assert chat().served >= served + 3, chat().declined
            assert chat().faults == 0


@pytest.mark.parametrize("given", [INFO, HTTPX, DEBUG], ids=["info", "httpx", "debug"])
@pytest.mark.parametrize("mode", MODES)
def test_the_records_of_streams_are_stocks(accelerated: Any, play: Any, given: Any, mode: str) -> None:
    if given is DEBUG and mode in ("completion", "router"):
        given = {**DEBUG, "asyncio": logging.INFO}
    with levels(given):
        stock = play(mode, stream=True)
        stock.call()
        expected = stock.call()
        assert expected
        with accelerated():
            served = chat().served
            pipeline = play(mode, stream=True)
            assert [pipeline.call() for _ in range(8)][1:] == [expected] * 7
            assert chat().served >= served + 2, chat().declined
            assert chat().faults == 0


@pytest.mark.parametrize(
    ("mode", "stream", "given", "reason"),
    [
        ("completion", False, EVERYTHING_ELSE, "logging: httpcore at DEBUG"),
        ("router", False, EVERYTHING_ELSE, "logging: httpcore at DEBUG"),
        ("completion", True, DEBUG, "logging: asyncio at DEBUG"),
        ("acompletion", False, {"LiteLLM": logging.DEBUG}, "logging: LiteLLM at DEBUG"),
        ("arouter", False, {"LiteLLM Router": logging.DEBUG}, "logging: LiteLLM Router at DEBUG"),
        ("acompletion", False, {"": logging.DEBUG}, "logging: LiteLLM at DEBUG"),
    ],
)
def test_a_reason_names_the_logger(
    accelerated: Any, play: Any, mode: str, stream: bool, given: Any, reason: str
) -> None:
    more = {"stream": True} if stream else {}
    with accelerated():
        pipeline = play(mode, **more)
        with levels(given):
            served, declined = chat().served, chat().declined.get(reason, 0)
            for _ in range(3):
                pipeline.call()
            assert chat().declined[reason] >= declined + 3
            assert chat().served == served


def test_httpcores_records_are_no_matter_to_event_loops(accelerated: Any, play: Any) -> None:
    with levels(EVERYTHING_ELSE), accelerated():
        pipeline = play("acompletion")
        served = chat().served
        for _ in range(6):
            pipeline.call()
        assert chat().served > served


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("given", [INFO, DEBUG], ids=["info", "debug"])
def test_an_error_is_told_of_once(accelerated: Any, play: Any, mode: str, given: Any) -> None:
    refused = {"messages": [{"role": "user", "content": "answer as: error-html"}]}
    with levels(given):
        stock = play(mode)
        stock.call()
        expected = [stock.call(), stock.call(**refused), stock.call()]
        with accelerated():
            pipeline = play(mode)
            for _ in range(5):
                pipeline.call()
            handed = chat().declined.get("reply left to stock", 0)
            assert [pipeline.call(), pipeline.call(**refused), pipeline.call()] == expected
            assert chat().declined["reply left to stock"] == handed + 1
            assert chat().faults == 0


def test_levels_seen_before_cost_no_plan(accelerated: Any, play: Any) -> None:
    with accelerated():
        pipeline = play("acompletion")
        for _ in range(2):
            for given in ({}, INFO, HTTPX, {"LiteLLM": logging.DEBUG}):
                with levels(given):
                    for _ in range(5):
                        pipeline.call()
        learned, served = chat().declined["learned from"], chat().served
        for given in ({}, INFO, HTTPX, {"LiteLLM": logging.DEBUG}, INFO, {}):
            with levels(given):
                lines = pipeline.call()
                assert bool(lines) == (given != {})
        assert chat().served == served + 5
        assert chat().declined["learned from"] == learned


def test_a_logger_that_comes_to_be_at_its_parents_level_changes_nothing() -> None:
    levels = log_records.LoggerLevels()
    levels.read()
    before, count = levels.key, len(levels.loggers())
    logger = logging.getLogger("httpcore.of_a_module_that_is_imported_late")
    levels.read()
    assert len(levels.loggers()) == count + 1
    assert levels.key == before
    logger.setLevel(logging.INFO)
    levels.read()
    assert levels.key != before
    logging.root.manager.loggerDict.pop(logger.name)


def test_a_filter_sees_what_stock_would_show_it(accelerated: Any, play: Any) -> None:
    seen: list[Any] = []

    class Changing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append((record.msg, record.args))
            record.told = "by a filter"
            return len(seen) % 2 == 0

    logger, own = logging.getLogger("LiteLLM"), Changing()
    with levels(INFO):
        for place in (0, 1):
            logger.filters.insert(place, own)
            try:
                stock = play("completion")
                stock.call()
                seen.clear()
                expected = [stock.call() for _ in range(4)], seen[:]
                with accelerated():
                    pipeline, served = play("completion"), chat().served
                    for _ in range(4):
                        pipeline.call()
                    seen.clear()
                    assert ([pipeline.call() for _ in range(4)], seen[:]) == expected
                    assert chat().served >= served + 4
            finally:
                logger.filters.remove(own)


@pytest.mark.parametrize("place", ["disabled", "logging.disable", "_disable_debugging"])
def test_nothing_is_written_where_nothing_would_be(accelerated: Any, play: Any, place: str) -> None:
    with levels(INFO), accelerated():
        pipeline = play("acompletion")
        for _ in range(5):
            pipeline.call()
        logger = logging.getLogger("LiteLLM")
        try:
            if place == "disabled":
                logger.disabled = True
            elif place == "logging.disable":
                logging.disable(logging.INFO)
            else:
                litellm._logging._disable_debugging()
            served = chat().served
            assert [pipeline.call() for _ in range(4)] == [[]] * 4
            assert chat().served > served
        finally:
            litellm._logging._enable_debugging()
            logging.disable(logging.NOTSET)
        served = chat().served
        assert pipeline.call()
        assert chat().served == served + 1


def test_debugging_that_litellm_turns_on_is_stocks(accelerated: Any, play: Any) -> None:
    with levels(dict.fromkeys(OWN, logging.INFO)), accelerated():
        pipeline = play("acompletion")
        for _ in range(5):
            pipeline.call()
        litellm._turn_on_debug()
        declined = chat().declined.get("logging: LiteLLM at DEBUG", 0)
        assert len(pipeline.call()) > 10
        assert chat().declined["logging: LiteLLM at DEBUG"] > declined


def test_records_are_made_by_the_factory_that_is_set(accelerated: Any, play: Any) -> None:
    made = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        record.request = f"request of {record.args}"
        return record

    logging.setLogRecordFactory(factory)
    try:
        with levels(INFO):
            stock = play("acompletion")
            expected = [stock.call() for _ in range(2)][1]
            with accelerated():
                pipeline, served = play("acompletion"), chat().served
                assert [pipeline.call() for _ in range(7)][1:] == [expected] * 6
                assert chat().served > served
    finally:
        logging.setLogRecordFactory(made)


def test_what_handlers_log_is_theirs(accelerated: Any, play: Any) -> None:
    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.getLogger("httpx").info("a handler's own of %s", len(record.getMessage()))

    telling = Telling()
    logging.getLogger("LiteLLM").addHandler(telling)
    try:
        with levels({**INFO, **HTTPX}):
            stock = play("acompletion")
            expected = [stock.call() for _ in range(2)][1]
            assert len(expected) == 3
            with accelerated():
                pipeline, served = play("acompletion"), chat().served
                assert [pipeline.call() for _ in range(7)][1:] == [expected] * 6
                assert chat().served > served
    finally:
        logging.getLogger("LiteLLM").removeHandler(telling)


class Listening(CustomLogger):  # type: ignore[misc]
    """Writes into the same list as the records."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.kept.lines.append("told")
        logging.getLogger("httpx").info("a callback's own")


@pytest.mark.parametrize("mode", ["acompletion", "arouter"])
def test_callbacks_come_where_they_come_in_stock(
    accelerated: Any, play: Any, kept: Kept, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "callbacks", [Listening(kept)])

    def calls(count: int) -> list[Any]:
        played = play(mode)
        return [played.call() for _ in range(count)]

    with levels({**INFO, **HTTPX}):
        expected = calls(3)[-1]
        assert "told" in expected
        with accelerated():
            served = chat().served
            assert calls(9)[1:] == [expected] * 8
            assert chat().served >= served + 3, chat().declined


def test_a_value_that_is_not_explained_leaves_calls_to_stock(
    accelerated: Any, play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in a record is no constant because it has not changed so far."""
    with levels(INFO), accelerated():
        monkeypatch.setattr(log_records, "_LITELLM", ())  # debugging is looked at like any other
        pipeline = play("completion")
        with levels({"LiteLLM": logging.DEBUG}):
            served = chat().served
            for _ in range(5):
                pipeline.call()
            assert chat().served == served
            assert chat().declined["logging: LiteLLM at DEBUG"] >= 3


def test_a_record_of_somebodys_own_logger_class_is_not_made_without_it(accelerated: Any, play: Any) -> None:
    class Counting(logging.Logger):
        count = 0

        def info(self, *args: Any, **kwargs: Any) -> None:
            type(self).count += 1
            super().info(*args, **kwargs)

    logger = logging.getLogger("LiteLLM")
    with levels(INFO):
        logger.__class__ = Counting
        try:
            with accelerated():
                pipeline = play("acompletion")
                for number in range(1, 5):
                    pipeline.call()
                    assert Counting.count == number
        finally:
            logger.__class__ = logging.Logger


def test_an_answer_with_other_headers_is_told_of_as_it_is(accelerated: Any, play: Any) -> None:
    """The SDK tells of a header that may be missing."""
    with levels(DEBUG):
        stock = play("acompletion")
        asking = 'answer as: plain{"headers": {"x-request-id": null}}'
        lacking = {"messages": [{"role": "user", "content": asking}]}
        stock.call()
        expected = [stock.call(), stock.call(**lacking), stock.call()]
        with accelerated():
            pipeline = play("acompletion")
            for _ in range(4):
                pipeline.call()
            for _ in range(4):
                pipeline.call(**lacking)
            assert [pipeline.call(), pipeline.call(**lacking), pipeline.call()] == expected


def test_headers_make_one_object_a_call() -> None:
    """A handler that keeps a record may change what is in it."""

    class Reply:
        headers: Any = ((b"a", b"1"), (b"a", b"2"))

    one, two = (log_records._built(("headers",), b"", Reply()) for _ in range(2))
    assert one == two == httpx.Headers(Reply.headers)
    assert one is not two
