"""Calls whose arguments LiteLLM keeps its notes in: metadata of every kind, and what a proxy passes along."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from litellm_accel.stock.seams import CACHING_HANDLER
from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Made, Scenario, Via, deployment, themed, with_fields

# Two calls are watched, then another for what varies that did not before; two payloads are; then all is prepared.
PREPARED = 8
ASYNC: tuple[Via, ...] = ("acompletion", "arouter")
SYNC: tuple[Via, ...] = ("completion", "router")


class Span:
    """An object of the caller's that has no plain form."""

    def __init__(self) -> None:
        self.attributes = {"span": 1}


# Stock writes it while a thread writes other things.
_RACING = "_litellm_router_usage_counted_tokens"


def laid_out(value: Any, names: dict[int, int] | None = None) -> Any:
    """The keys of all dictionaries in their order, and which of the dictionaries and lists are one thing."""
    names = {} if names is None else names
    if type(value) not in (dict, list):
        return type(value).__name__
    if id(value) in names:
        return names[id(value)]
    names[id(value)] = len(names)
    if type(value) is list:
        return [names[id(value)], *(laid_out(item, names) for item in value)]
    return [names[id(value)], *([str(key), laid_out(value[key], names)] for key in value if key != _RACING)]


def _plain(number: int) -> dict[str, Any]:
    return {"request": f"r-{number}", "environment": "test", "nested": {"deep": {"list": [number, "x"]}}, "count": 3}


def _users(number: int) -> dict[str, Any]:
    """Other users, some of whom come again; some have no team."""
    user = number * number % 5
    return {
        "user_api_key_user_id": f"user-{user}",
        "user_api_key_team_id": f"team-{user % 2}" if user else None,
        "user_api_key_alias": "alias",
        "user_api_key": f"hash-{user}",
        "user_api_key_spend": user / 4,
        "user_api_key_end_user_id": f"end-{number % 2}",
        "requester_ip_address": f"10.0.0.{user}",
        "tags": ["a", f"t{user}"],
    }


def _objects(number: int) -> dict[str, Any]:
    shared = {"shared": number}
    return {
        "function": _plain,
        "lambda": lambda: number,
        "span": Span(),
        "class": Span,
        "moment": datetime.datetime(2024, 1, 1, number),
        "bytes": b"\xff",
        "tuple": (number, [number]),
        "set": {number},
        "one": shared,
        "other": shared,
        "exception": ValueError(number),
    }


def _keys(number: int) -> dict[str, Any]:
    """Other keys with every second call."""
    return {"common": number, f"key-{number % 2}": {f"inner-{number % 3}": number}, "nested": {f"k{number}": 1}}


def _known(number: int) -> dict[str, Any]:
    """Names that LiteLLM reads."""
    return {
        "session_id": f"s-{number // 2}",
        "trace_id": f"t-{number}",
        "generation_name": "g",
        "spend_logs_metadata": {"cost_center": number},
        "requester_metadata": {"from": "caller", "n": number},
        "metadata": {"inner": number},
        "headers": {"user-agent": f"agent/{number}"},
        "user_agent": f"agent/{number}",
        "applied_guardrails": ["g"],
        "hidden_params": {"x": number},
        "tags": ["same"],
        "caching_groups": None,
    }


def _steering(number: int) -> dict[str, Any]:
    """Names by which LiteLLM steers a call."""
    return {
        "model_group": "other",
        "model_info": {"id": f"id-{number}", "base_model": "gpt-4o-mini"},
        "deployment": "openai/gpt-4o-mini",
        "attempted_retries": 3,
        "previous_models": [{"model": "x"}],
        "llm_api_timing_windows": ((1.0, 2.0),),
        "raw_request": "x",
        "litellm_received_at": datetime.datetime.now(datetime.timezone.utc),
    }


def _calls(
    make: Callable[[int], dict[str, Any] | None],
    more: Callable[[int], dict[str, Any]] | None = None,
    calls: int = PREPARED,
) -> Callable[[Any], Any]:
    """A script: calls with a dictionary each, looked at right after the call, and when everybody has been told."""

    async def script(stage: Any) -> None:
        function = stage.entry()
        kept = []
        for number in range(calls):
            metadata = make(number)
            arguments = stage.arguments(messages=_said(number))
            arguments.update({} if metadata is None else {"metadata": metadata})
            arguments.update({} if more is None else more(number))
            if stage.run.via in ASYNC:
                await stage.acall(function, arguments)
                stage.observe(f"{number} after the call", [metadata, arguments])
                stage.observe(f"{number} laid out after the call", laid_out(metadata))
            else:
                # In a thread of its own: a synchronous router declines calls inside a running loop.
                await asyncio.to_thread(stage.call, function, arguments)
            await stage.settled()
            stage.observe(f"{number} told", [metadata, arguments])
            stage.observe(f"{number} laid out when told", laid_out(metadata))
            kept.append(metadata)
        stage.observe("at the end", kept)

    return script


def _said(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"question {number}"}]


async def _shared_in_flight(stage: Any) -> None:
    """One dictionary for calls one after another, then for many at a time."""
    function = stage.entry()
    metadata: dict[str, Any] = {"shared": "yes", "nested": {"a": 1}}
    for number in range(PREPARED):
        await stage.acall(function, stage.arguments(messages=_said(number)) | {"metadata": metadata})
        await stage.settled()
    for turn in range(2):
        numbers = range(10 * turn + 20, 10 * turn + 28)
        calls = (stage.arguments(messages=_said(number)) | {"metadata": metadata} for number in numbers)
        await asyncio.gather(*(stage.acall(function, arguments) for arguments in calls))
        await stage.settled()
        # Whose notes are the last is a race, and so is whose identifier, price and deployment stand in them.
        metadata.pop("llm_api_timing_windows", None)
        notes = metadata.get("hidden_params") or {}
        racing = ("litellm_call_id", "response_cost", *(("model_id",) if stage.scenario.deployments else ()))
        shown = {**metadata, "hidden_params": {k: v for k, v in notes.items() if k not in racing}}
        stage.observe(f"shared {turn}", [shown, laid_out(shown)])
        metadata = {"shared": "yes", "nested": {"a": 1}}


async def _at_once(stage: Any) -> None:
    """Many calls at a time, each with its own dictionary."""
    function = stage.entry()
    for number in range(PREPARED):
        await stage.acall(function, stage.arguments(messages=_said(number)) | {"metadata": _plain(number)})
        await stage.settled()
    kept = [_plain(number) for number in range(20)]
    calls = (stage.arguments(messages=_said(number)) | {"metadata": one} for number, one in enumerate(kept))
    await asyncio.gather(*(stage.acall(function, arguments) for arguments in calls))
    await stage.settled()
    stage.observe("each its own", [[one, laid_out(one)] for one in kept])


async def _cancelled(stage: Any) -> None:
    """What a cancelled call has noted so far; the first five are answered."""
    function = stage.entry()
    for number in range(PREPARED):
        metadata = _plain(number)
        task = asyncio.create_task(function(**stage.arguments(messages=_said(number)) | {"metadata": metadata}))
        await (task if number < 5 else stage.requested(number + 1))
        task.cancel()
        await asyncio.wait([task])
        await stage.settled()
        stage.observe(f"{number}", [metadata, laid_out(metadata)])


def _proxied(user: Callable[[int], str | None] = lambda number: f"u{number % 3}") -> Callable[[Any], Any]:
    """A script: what LiteLLM's proxy passes to its router, with a ``Logging`` object that is already there."""

    async def script(stage: Any) -> None:
        utils = stage.litellm.utils
        function = stage.entry()
        for number in range(PREPARED + 4):
            headers = {"host": "h", "user-agent": "agent/1", "content-length": str(70 + number)}
            data: dict[str, Any] = stage.arguments(messages=_said(number))
            call_id = f"00000000-0000-4000-8000-{number:012}"
            who = user(number)
            data |= {"litellm_call_id": call_id} | ({} if who is None else {"user": who})
            data["metadata"] = {
                **_users(number),
                "requester_metadata": {"headers": headers, "used_client_oauth_token": False},
                "headers": headers,
                "endpoint": "http://h/v1/chat/completions",
                "user_api_key_auth": Span(),
                "litellm_parent_otel_span": None,
                "litellm_received_at": datetime.datetime.now(datetime.timezone.utc),
                "queue_time_seconds": number / 8,
                "llm_api_timing_windows": (),
                "user_api_key_metadata": {},
                "tags": [],
            }
            request: dict[str, Any] = {"url": "http://h/v1", "method": "POST", "headers": headers, "body": data.copy()}
            request |= {"credential_fields": (), "arrival_time": 1_700_000_000.5 + number}
            data["proxy_server_request"] = request
            data["secret_fields"] = {"raw_headers": OrderedDict(headers)}
            logging, data = utils.function_setup("acompletion", utils.Rules(), datetime.datetime.now(), **data)
            data["litellm_logging_obj"] = logging
            await stage.acall(function, data)
            stage.observe(f"{number} after the call", [data, laid_out(data), _of(logging)])
            await stage.settled()
            stage.observe(f"{number} told", [data, laid_out(data), _of(logging)])

    return script


def _of(logging: Any) -> list[Any]:
    unread = ("message_copy_duration_ms", *CACHING_HANDLER)
    state = {name: None if name in unread else value for name, value in vars(logging).items()}
    return [state, laid_out(state)]


def _reserved(number: int) -> dict[str, Any]:
    """A budget that LiteLLM marks where no dictionary holds it."""
    reservation = {"amount": number}
    return {"user_api_key_auth": SimpleNamespace(budget_reservation=reservation), "seen": (reservation,)}


_MAKERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "fresh": _plain,
    "users": _users,
    "objects": _objects,
    "keys": _keys,
    "known": _known,
    "reserved": _reserved,
    "empty": lambda number: {},
    "one-empty": lambda number: {"a": {}, "b": [], "c": None, "d": "", "e": 0},
    "hooks-lists": lambda number: {"guardrails": [], "list": [{"a": number}, number]},
}

_PLAIN = (
    *(Scenario(name, via=ALL, script=_calls(make, calls=10)) for name, make in _MAKERS.items()),
    *(
        Scenario(f"{name}-told-{kind}", via=ALL, callbacks={"callbacks": (kind,)}, script=_calls(make, calls=10))
        for name, make in _MAKERS.items()
        for kind in ("success", "payload")
        if kind == "payload" or name in ("fresh", "users", "known")
    ),
    *(
        Scenario(f"reused-{kind}", {"metadata": _plain(0)}, via=ALL, calls=10, callbacks={"callbacks": kinds})
        for kind, kinds in (("unheard", ()), ("heard", ("success",)), ("payload", ("payload",)))
    ),
    # In an event loop, LiteLLM's threads change what a function is told while it is told.
    Scenario("function", via=SYNC, script=_calls(_plain, calls=10), callbacks={"success_callback": ("function",)}),
    Scenario(
        "async-function",
        via=ASYNC,
        script=_calls(_plain, calls=10),
        callbacks={"_async_success_callback": ("async function",)},
    ),
    Scenario("changing", via=ASYNC, callbacks={"callbacks": ("changing",)}, script=_calls(_plain)),
    Scenario("steering", via=ALL, way="either", script=_calls(_steering)),
    Scenario("none", {"metadata": None}, via=ALL, way="either"),
    Scenario("ordered-dictionary", {"metadata": Made(lambda: OrderedDict(a=1))}, via=ALL, way="declined"),
    Scenario("text", {"metadata": "text"}, via=DIRECT, way="declined"),
    Scenario("shared-in-flight", via=ASYNC, script=_shared_in_flight, ordered=False),
    Scenario(
        "shared-in-flight-deployments",
        via=("arouter",),
        script=_shared_in_flight,
        ordered=False,
        deployments=tuple(deployment("plain", api_key=f"sk-{number}") for number in range(3)),
    ),
    Scenario("at-once", via=ASYNC, script=_at_once, ordered=False),
    Scenario("cancelled", via=ASYNC, script=_cancelled, answer='stall{"plain_first": 5}'),
    *(
        Scenario(
            f"{answer}-{'fresh' if heard else 'unheard'}",
            {"max_retries": 0} if via in DIRECT else {},
            via=(via,),
            answer=with_fields(answer, plain_first=6, times=1),
            callbacks={"callbacks": ("success",)} if heard else {},
            script=_calls(_plain, calls=9),
            crossing=bool((row + heard + column) % 2),  # the others have every pair of answer, listener, entry point
        )
        for (row, answer), heard, (column, via) in itertools.product(
            enumerate(("error-400", "error-500", "not-json")), (True, False), enumerate(ALL)
        )
    ),
    Scenario(
        "router-retry",
        router={"num_retries": 1},
        answer='error-500{"plain_first": 6, "times": 1, "headers": {"retry-after-ms": "20"}}',
        via=("arouter",),
        script=_calls(_plain, calls=9),
    ),
    Scenario("tags", {"metadata": {"tags": ["a", "b"]}}, via=ALL, calls=PREPARED),
    Scenario("litellm-metadata", via=ALL, script=_calls(_plain, lambda number: {"litellm_metadata": _users(number)})),
    Scenario(
        "identifiers",
        via=ALL,
        script=_calls(
            _plain,
            lambda number: {
                "litellm_call_id": f"00000000-0000-4000-8000-{number:012}",
                "litellm_trace_id": f"00000000-0000-4000-8000-{number + 50:012}",
            },
        ),
    ),
    *(
        Scenario(
            f"free-arguments-{name}-{kind}",
            via=ALL,
            callbacks={"callbacks": (kind,)},
            script=_calls(
                make,
                lambda number: {"user": f"user-{number % 3}", "seed": number + 1, "max_tokens": 50 + number % 2},
                calls=11,
            ),
        )
        for name, make in (("without", lambda number: None), ("users", _users))
        for kind in ("success", "payload")
    ),
    Scenario(
        "previewed",
        via=DIRECT,
        settings={"enable_preview_features": True},
        way="declined",
        script=_calls(_plain),
    ),
    Scenario("sent-along", {"allowed_openai_params": ["metadata"]}, via=DIRECT, way="either", script=_calls(_plain)),
    Scenario("stored", {"store": True}, via=DIRECT, way="either", script=_calls(_plain)),
    *(
        Scenario(f"proxied-{name}", via=ASYNC, script=_proxied(user), callbacks={"callbacks": kinds})
        for name, user, kinds in (
            ("user", lambda number: "u", ()),
            ("users", lambda number: f"u{number % 3}", ()),
            ("users-payload", lambda number: f"end-{number % 2}", ("payload",)),  # as the metadata say, mostly
            ("no-user", lambda number: None, ()),
            ("no-user-heard", lambda number: None, ("success",)),
            ("no-user-payload", lambda number: None, ("payload",)),
        )
    ),
    Scenario(
        "default-metadata",
        via=ROUTED,
        router={"default_litellm_params": {"metadata": {"a": "b"}}},
        script=_calls(_plain),
    ),
)


# Streams that a short proof plays.
_STREAMED = frozenset(
    (
        "cancelled",
        "error-500-fresh",
        "fresh",
        "identifiers",
        "keys-told-payload",
        "objects",
        "proxied-no-user-heard",
        "proxied-users-payload",
        "shared-in-flight",
        "users-told-payload",
    )
)


def _streamed(*scenarios: Scenario) -> tuple[Scenario, ...]:
    """The same scenarios as streams. Functions are told of each chunk, by threads that race."""
    return tuple(
        replace(
            scenario,
            name=f"streamed-{scenario.name}",
            arguments={**scenario.arguments, "stream": True},
            crossing=scenario.crossing or scenario.name not in _STREAMED,
        )
        for scenario in scenarios
        if scenario.name != "function"
    )


SCENARIOS = themed("metadata", *_PLAIN, *_streamed(*_PLAIN))
