"""Replies that are errors: the exceptions they become, and the attempts that follow, against stock LiteLLM."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import anyio
import httpx
import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

import turned
from compared import HELLO, asked, seen, sent
from fastpath_switch import Switch, without_callbacks
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans import errors, recorder
from litellm_accel.fastpath.transport import outbound, request_head
from litellm_accel.provider import Provider
from litellm_accel.stock import seams
from settling import settled

has_cores = pytest.mark.skipif(
    not seams.has_core_steps(), reason="the installed LiteLLM's routers have no core of their own"
)
pytestmark = pytest.mark.usefixtures("quiet")
WAYS = ("async", "sync")
STATUSES = (401, 403, 404, 408, 409, 429, 500, 503, 529)


def failing(status: int, message: str = "No.", **more: Any) -> list[dict[str, Any]]:
    """A conversation that gets an error with this text."""
    body = {"error": {"message": message, "type": "t", "param": None, "code": "c"}}
    fields = json.dumps({"error": body, **more})[1:]
    return asked(f"error-{status}{{{fields}")


def chain(error: BaseException | None) -> list[Any]:
    """What can be seen of an exception and of what led to it."""
    shown: list[Any] = []
    while error is not None and len(shown) < 4:
        response = getattr(error, "response", None)
        parts = None
        if isinstance(response, httpx.Response):
            request = response._request
            headers = sorted((name, value) for name, value in response.headers.multi_items())
            about = request and (request.method, str(request.url), sorted(request.headers.multi_items()))
            parts = response.status_code, response.content, headers, about, response.reason_phrase
        shown.append((seen(None, error) if not shown else str(error), type(error), parts, error.__suppress_context__))
        error = error.__context__
    return shown


async def one(way: str, messages: Any, **given: Any) -> Any:
    passed = {"model": "openai/gpt-4o", "api_key": "sk", "max_retries": 0, **given}
    try:
        if way == "async":
            return seen(await litellm.acompletion(messages=copy.deepcopy(messages), **passed), None)
        return seen(litellm.completion(messages=copy.deepcopy(messages), **passed), None)
    except Exception as error:
        return chain(error)


async def while_handling(messages: Any, **given: Any) -> Any:
    """As ``one``, of a caller that is handling an exception of its own."""
    try:
        raise LookupError("mine")
    except LookupError:
        return await one("async", messages, **given)


def play(provider: Provider, way: str, conversations: list[Any], **given: Any) -> Any:
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()

    async def calls() -> list[Any]:
        found = [await one(way, said, api_base=provider.url, **given) for said in [HELLO, HELLO, *conversations]]
        await settled()
        return found

    return asyncio.run(calls()), sent(provider)


def same(provider: Provider, switch: Switch, way: str, conversations: list[Any], **given: Any) -> int:
    """Assert that stock and the fast path are equal; return how many of ``conversations`` the fast path has served."""
    expected = play(provider, way, conversations, **given)
    with switch.on():
        found = play(provider, way, conversations, **given)
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    return int(switch.gate.served) - 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", STATUSES)
def test_exceptions(provider: Provider, switch: Switch, way: str, status: int) -> None:
    """The first of a status is met by stock; the others are served, whatever their text and headers are."""
    said = [
        failing(status),
        failing(status, "Please try again in 1.2s."),
        failing(status, "", headers={"retry-after": "7"}),
        failing(status, "This model's maximum context length is 8192 tokens"),
    ]
    assert same(provider, switch, way, said) == 3
    assert switch.gate.declined[str(decline.REPLY_LEFT)] == 1


@pytest.mark.parametrize("way", WAYS)
def test_bodies(provider: Provider, switch: Switch, way: str) -> None:
    bodies = ["", "Bad Gateway", "[1, 2]", '{"detail": "none"}', '{"error": "text"}', "<html>\u017d</html>"]
    said = [asked(f"error-502{json.dumps({'body': body})}") for body in ["first", *bodies]]
    assert same(provider, switch, way, said) == len(bodies)


@pytest.mark.parametrize("way", WAYS)
def test_what_handlers_look_for_is_stocks(provider: Provider, switch: Switch, way: str) -> None:
    """LiteLLM's handlers send another request, or answer, for some statuses and words."""
    words = "Conversation roles must alternate user/assistant"
    said = [failing(500), failing(500, words), failing(400), failing(400), failing(422), failing(422)]
    assert same(provider, switch, way, said) == 0


def turns(*scenarios: str) -> list[dict[str, Any]]:
    """A conversation that gets one answer after the other, and then begins anew."""
    return asked(" | ".join(scenarios))


def error(status: int, **headers: str) -> str:
    return f"error-{status}{json.dumps({'headers': {name.replace('_', '-'): held for name, held in headers.items()}})}"


@pytest.fixture(scope="module")
def fickle() -> Iterator[Provider]:
    """A provider that answers the same request differently each time."""
    with Provider(script=(turned.__file__, "")) as provider:
        yield provider


def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the SDK and others wait for from now on, which takes no time."""
    waited: list[float] = []
    sleeps = anyio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await sleeps(0)

    monkeypatch.setattr(anyio, "sleep", sleep)
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def same_retried(
    provider: Provider, switch: Switch, way: str, said: list[Any], monkeypatch: pytest.MonkeyPatch, **given: Any
) -> int:
    """As ``same``, in how long is waited as well."""

    def paced() -> Any:
        waited.clear()
        random.seed(7)
        return play(provider, way, said, **given), list(waited), random.random()

    waited = waits(monkeypatch)
    given = {"max_retries": None, **given}
    expected = paced()
    with switch.on():
        found = paced()
    assert found == expected
    assert expected[1]
    assert switch.gate.faults == 0, switch.gate.last_fault
    return int(switch.gate.served) - 1


RETRIED = (
    turns(error(429, retry_after_ms="40"), "plain"),
    turns(error(500), "plain"),
    turns(error(503, retry_after="3"), "plain"),
    turns(error(408), error(409), "plain"),
    turns(error(400, x_should_retry="true"), "plain"),
    turns(error(429, set_cookie="a=1; Path=/"), "plain"),
    turns(error(500), error(500), "plain"),
)


@pytest.mark.parametrize("way", WAYS)
def test_the_sdk_tries_again(fickle: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The first of these calls is stock's; of the others all attempts are served."""
    assert same_retried(fickle, switch, way, [*RETRIED, HELLO], monkeypatch) == len(RETRIED)


@pytest.mark.parametrize("way", WAYS)
def test_the_sdk_tries_in_vain(fickle: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    said = [
        turns(error(500), "plain"),  # from which is learned
        *[turns(error(500)), turns(error(429, x_should_retry="false")), turns(error(429, retry_after="1000"))] * 2,
        turns(error(401)),
        turns(error(401)),
    ]
    assert same_retried(fickle, switch, way, said, monkeypatch) == 5


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_of_another_attempt_is_stocks(
    fickle: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Stock is given all replies, and waits for none of them again."""
    said = [
        turns(error(500), "plain"),
        turns(error(500), error(400)),
        turns(error(500), "tools"),
        turns(error(500), "drop-request", "plain"),
        turns(error(500), error(503), "drop-request"),
        turns(error(500), "drop-headers", "plain"),
        turns(error(500), "plain"),
    ]
    assert same_retried(fickle, switch, way, said, monkeypatch) == 1


@pytest.mark.parametrize("way", WAYS)
def test_attempts_of_litellm(fickle: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """``num_retries`` is the SDK's, too; when it has given up, LiteLLM decides."""
    said = [*[turns(error(500), "plain")] * 3, *[turns(error(500), error(500))] * 2]
    assert same_retried(fickle, switch, way, said, monkeypatch, num_retries=1) == 2


def test_cancelled_while_it_waits_to_try_again(fickle: Provider, switch: Switch) -> None:
    async def cancelled() -> Any:
        given = {"model": "openai/gpt-4o", "api_key": "sk", "api_base": fickle.url}
        noted: list[dict[str, Any]] = [{} for _ in range(6)]
        for metadata in noted[:4]:
            await litellm.acompletion(**given, messages=asked("plain"), metadata=metadata)
        said = turns(error(500, retry_after_ms="1"), "plain")
        await litellm.acompletion(**given, messages=said, metadata=noted[4])  # from which is learned
        said = turns(error(500, retry_after="9"))
        task = asyncio.create_task(litellm.acompletion(**given, messages=said, metadata=noted[5]))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [sorted(metadata) for metadata in noted]

    def counted() -> Any:
        fickle.clear()
        litellm.in_memory_llm_clients_cache.flush_cache()
        return asyncio.run(cancelled()), len(fickle.requests())

    expected = counted()
    with switch.on():
        found = counted()
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.declined[str(decline.REPLY_LEFT)] == 1, switch.gate.declined


@pytest.mark.parametrize("name", ["x-stainless-retry-count", "X-Stainless-Retry-Count"])
def test_who_counts_attempts_itself(
    fickle: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    said = [turns(error(500), "plain")] * 3
    assert same_retried(fickle, switch, "async", said, monkeypatch, extra_headers={name: "0"}) == 0


def test_another_request_is_never_sent_again_here(
    fickle: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "_COUNT", b"x-stainless-lang")
    monkeypatch.setattr(request_head.RequestHeaders, "with_value", lambda headers, *values: headers)
    assert same_retried(fickle, switch, "async", [turns(error(500), "plain")] * 3, monkeypatch) == 0
    assert switch.gate.declined[str(decline.UNLEARNABLE.of(decline.RETRY_DIFFERS))] == 1


@pytest.mark.parametrize("way", WAYS)
def test_cookies_of_errors_are_kept(provider: Provider, switch: Switch, way: str) -> None:
    said = [failing(429, headers={"set-cookie": f"a={n}; Path=/"}) for n in range(3)]
    assert same(provider, switch, way, [*said, HELLO]) == 3


@pytest.mark.parametrize("way", WAYS)
def test_cookies_that_are_sent(provider: Provider, switch: Switch, way: str) -> None:
    said = [asked('plain{"headers": {"set-cookie": "a=b; Path=/"}}'), *[failing(429)] * 3]
    assert same(provider, switch, way, said) == 3


def test_callers_that_handle_an_exception(provider: Provider, switch: Switch) -> None:
    async def calls() -> Any:
        said = [HELLO, HELLO, *[failing(500)] * 3]
        return [await while_handling(messages, api_base=provider.url) for messages in said]

    expected = asyncio.run(calls())
    litellm.in_memory_llm_clients_cache.flush_cache()
    with switch.on():
        found = asyncio.run(calls())
    assert found == expected
    assert switch.gate.served == 3


def test_what_is_printed(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """LiteLLM prints where to get help for each exception: once."""
    monkeypatch.setattr(litellm, "suppress_debug_info", False)
    play(provider, "async", [failing(500)] * 3)
    expected = capsys.readouterr().out
    with switch.on():
        play(provider, "async", [failing(500)] * 3)
    assert capsys.readouterr().out == expected
    assert "Give Feedback" in expected
    assert switch.gate.served == 3


class Failures(CustomLogger):
    """Is told of failures alone."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        payload = kwargs["standard_logging_object"]
        self.told.append((str(kwargs["exception"]), payload["status"], payload["error_information"]["error_class"]))


def test_who_hears_of_failures_is_told_by_stock(provider: Provider, switch: Switch) -> None:

    def heard() -> Any:
        logger = Failures()
        with without_callbacks():
            litellm.callbacks.append(logger)
            play(provider, "async", [failing(500)] * 3)
        return logger.told

    expected = heard()
    with switch.on():
        found = heard()
    assert found == expected
    assert len(found) == 3
    assert switch.gate.declined[str(decline.REPLY_LEFT)] == 3


class Successes(CustomLogger):
    """Is told of successes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(kwargs["standard_logging_object"]["total_tokens"])

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(-kwargs["standard_logging_object"]["total_tokens"])


@pytest.mark.parametrize("given", [{}, {"metadata": {"a": 1}}], ids=["alone", "metadata"])
@pytest.mark.parametrize("way", WAYS)
def test_who_hears_of_successes_alone(provider: Provider, switch: Switch, way: str, given: dict[str, Any]) -> None:
    """Where LiteLLM notes nothing in what the caller has passed, no trace of a failed call is left."""
    notes = []

    def heard() -> Any:
        logger = Successes()
        metadata = copy.deepcopy(given)
        with without_callbacks():
            litellm.callbacks.append(logger)
            found = play(provider, way, [*[asked("plain")] * 7, *[failing(500)] * 3, HELLO], **metadata)
        notes.append({name: sorted(held) for name, held in metadata.items()})
        return found, logger.told

    expected = heard()
    with switch.on():
        found = heard()
    assert found == expected
    assert notes[0] == notes[1]
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert given or switch.gate.declined[str(decline.REPLY_LEFT)] == 1


def test_another_exception_is_never_made_here(provider: Provider, switch: Switch) -> None:
    """What differs from stock's in the least refuses replies of this status."""
    with mock.patch.object(errors.CallErrors, "arguments", _other_arguments(errors.CallErrors.arguments)):
        assert same(provider, switch, "async", [failing(500)] * 4) == 0
    assert switch.gate.declined[str(decline.UNLEARNABLE.of(decline.ERROR_DIFFERS))] == 1


def _other_arguments(arguments: Any) -> Any:
    def others(self: Any, call: Any, original: Exception) -> Any:
        return {**arguments(self, call, original), "completion_kwargs": {"messages": []}}

    return others


def test_a_failing_provider_is_not_watched_each_time(provider: Provider, switch: Switch) -> None:
    watched = []
    begin = recorder.Recording.__init__

    def begins(self: Any, *args: Any) -> None:
        watched.append(self)
        begin(self, *args)

    async def calls() -> None:
        for _ in range(100):
            await one("async", failing(500), api_base=provider.url)

    with mock.patch.object(recorder.Recording, "__init__", begins), switch.on():
        asyncio.run(calls())
    assert len(watched) == 5
    assert switch.gate.declined[str(decline.SHOWS_NOTHING)] == 95


# --- routers ----------------------------------------------------------------------------------------------------------


def router_of(provider: Provider, **settings: Any) -> Router:
    entries = [
        {
            "model_name": name,
            "litellm_params": {"model": "openai/gpt-4o", "api_base": url, "api_key": f"sk-{name}"},
            "model_info": {"id": name},
        }
        for name, url in (("g", provider.url), ("other", provider.at("plain")))  # whatever the messages ask for
    ]
    return Router(model_list=entries, **{"num_retries": 0, "retry_after": 0, **settings})


def books(router: Any) -> Any:
    core = router._core
    memory = core._cache.in_memory_cache.cache_dict
    counters = (
        dict(getattr(core._endpoints.counters, name)) for name in ("total_calls", "success_calls", "fail_calls")
    )
    return (*counters, {key: value for key, value in memory.items() if type(value) is int})


def routed(provider: Provider, said: list[Any], way: str, **settings: Any) -> Any:
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()

    async def calls() -> Any:
        router, found = router_of(provider, **settings), []
        for messages in [*[HELLO] * 3, *said]:
            try:
                if way == "async":
                    result = await router.acompletion("g", copy.deepcopy(messages))
                else:
                    result = router.completion("g", copy.deepcopy(messages))
                found.append(seen(result, None))
            except Exception as error:
                found.append(chain(error))
        await settled()
        return found, books(router)

    return asyncio.run(calls()), sent(provider)


def same_routed(provider: Provider, switch: Switch, said: list[Any], way: str, **settings: Any) -> None:
    expected = routed(provider, said, way, **settings)
    with switch.on():
        found = routed(provider, said, way, **settings)
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault


FALLBACKS = {"fallbacks": [{"g": ["other"]}], "disable_cooldowns": True}


@has_cores
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [429, 500])
def test_fallbacks(provider: Provider, switch: Switch, way: str, status: int) -> None:
    """The failed attempt is served, and the one that follows."""
    said = [asked(f"error-{status}")] * 12
    same_routed(provider, switch, said, way, **FALLBACKS)
    assert switch.gate.declined[str(decline.REPLY_LEFT)] == 1
    assert switch.gate.served > len(said), switch.gate.declined


@has_cores
def test_fallbacks_where_successes_are_heard(provider: Provider, switch: Switch) -> None:
    def heard() -> Any:
        logger = Successes()
        with without_callbacks():
            litellm.callbacks.append(logger)
            found = routed(provider, [*[asked("plain")] * 8, *[asked("error-500")] * 12], "async", **FALLBACKS)
        return found, logger.told

    expected = heard()
    with switch.on():
        found = heard()
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.declined[str(decline.REPLY_LEFT)] == 1, switch.gate.declined


@has_cores
@pytest.mark.parametrize("way", WAYS)
def test_retries_and_cooldowns(provider: Provider, switch: Switch, way: str) -> None:
    said = [asked("error-429-then-ok"), HELLO, asked("error-500-then-ok-2"), asked("error-500"), HELLO]
    same_routed(provider, switch, said, way, num_retries=2, cooldown_time=0.01)
