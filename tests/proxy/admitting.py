"""A proxy's authentication in one process: LiteLLM's and what is remembered of it. Prints what differs, as JSON.

Run by ``test_admissions.py`` with an interpreter that has ``litellm[proxy]``; the argument is a configuration.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

KEY = "sk-master-of-the-tests"
CHAT: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}
_OWN = {"Authorization": f"Bearer {KEY}"}
_OF_TIME = ("litellm_received_at", "principal")
_PATH = "/v1/chat/completions"
# What is sent: the body, headers, and how many pairs of four requests may be served by what is remembered.
ROWS: dict[str, tuple[Any, dict[str, str], int]] = {
    "plain": (CHAT, _OWN, True),
    "arguments": ({**CHAT, "temperature": 0.5, "stream": True, "tools": []}, _OWN, True),
    "an alias": ({**CHAT, "model": "alias"}, _OWN, True),
    "a model with access groups": ({**CHAT, "model": "grouped"}, _OWN, True),
    "a header": (CHAT, {**_OWN, "x-some": "1"}, True),
    "an end user's header": (CHAT, {**_OWN, "x-litellm-end-user-id": "someone"}, True),
    "an end user": ({**CHAT, "user": "someone"}, _OWN, True),
    "no end user": ({**CHAT, "user": ""}, _OWN, True),
    "another model": ({**CHAT, "model": "nothing"}, _OWN, False),
    "tags": (CHAT, {**_OWN, "x-litellm-tags": "a,b"}, False),
    "a wrong key": (CHAT, {"Authorization": "Bearer sk-wrong-1234567"}, False),
    "no key": (CHAT, {}, False),
    "no bearer": (CHAT, {"Authorization": KEY}, False),
    "another header": (CHAT, {"api-key": KEY}, False),
    "Anthropic's header": (CHAT, {"x-api-key": KEY}, False),
    "LiteLLM's header": (CHAT, {"x-litellm-api-key": KEY}, False),
    "two headers": (CHAT, {**_OWN, "x-litellm-api-key": "sk-wrong-1234567"}, False),
    "a custom header": (CHAT, {**_OWN, "x-own-key": "Bearer sk-wrong-1234567"}, True),
    "metadata": ({**CHAT, "metadata": {"tags": ["a"], "own": {"more": [1, None]}}}, _OWN, True),
    "other values in metadata": ({**CHAT, "metadata": {"tags": "b", "own": 2}}, _OWN, 2),  # of the same kind
    "tags in the body": ({**CHAT, "tags": ["a"]}, _OWN, True),
    "metadata and a user": ({**CHAT, "user": "", "metadata": {"user_id": "a"}}, _OWN, True),
    "metadata of another user": ({**CHAT, "user": "", "metadata": {"user_id": "b"}}, _OWN, True),
    "other names in metadata": ({**CHAT, "metadata": {"trace_id": "a"}}, _OWN, True),
    "metadata with a user that is none": ({**CHAT, "metadata": {"user_id": 1}}, _OWN, False),
    "metadata with guardrails": ({**CHAT, "metadata": {"guardrails": ["a"]}}, _OWN, False),
    "metadata with a banned argument": ({**CHAT, "metadata": {"langfuse_host": "http://a"}}, _OWN, False),
    "metadata with a secret's name": ({**CHAT, "metadata": {"api_key": "oidc/env/A"}}, _OWN, False),
    "metadata that is a text": ({**CHAT, "metadata": '{"user_id": "a"}'}, _OWN, False),
    "LiteLLM's metadata": ({**CHAT, "litellm_metadata": {"user": "a"}}, _OWN, False),
    "guardrails": ({**CHAT, "disable_global_guardrails": True}, _OWN, False),
    "a banned argument": ({**CHAT, "api_base": "http://a"}, _OWN, False),
    "a user that is none": ({**CHAT, "user": 1}, _OWN, False),
    "no model": ({"messages": []}, _OWN, False),
    "no JSON": (b"{no", _OWN, False),
    "a list": ([1], _OWN, False),
    "nothing": (b"", _OWN, False),
    "a form": (b"model=gpt", {**_OWN, "content-type": "application/x-www-form-urlencoded"}, False),
    "a client that leaves": (None, _OWN, False),
}


def made(proxy: Any, body: Any, headers: dict[str, str], number: int = 1) -> Any:
    """Return a request as the framework makes it, from the ``number``-th client."""
    from starlette.requests import Request

    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    own = {"host": "proxy", "content-type": "application/json", "content-length": str(len(data or b"")), **headers}
    own["x-request-id"] = own["x-forwarded-for"] = str(number)
    messages = [{"type": "http.request", "body": data, "more_body": False}] if data is not None else []

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    scope = {
        **{"type": "http", "http_version": "1.1", "method": "POST", "path": _PATH, "root_path": ""},
        **{"query_string": b"", "scheme": "http", "client": (f"10.0.0.{number}", 1), "server": ("127.0.0.1", 4000)},
        **{"state": {}, "app": proxy.app, "path_params": {}, "endpoint": proxy.chat_completion},
        "headers": [(name.lower().encode(), value.encode()) for name, value in own.items()],
    }
    return Request(scope, receive)


async def outcome(proxy: Any, ask: Any, row: tuple[Any, dict[str, str], int], number: int = 1) -> Any:
    """Return what becomes of a request: the key or the error, what is noted of it, and what is cached then."""
    from litellm_accel.gateway import entry

    body, headers, _ = row
    request = made(proxy, body, headers, number)
    cached = proxy.user_api_key_cache.key_object_cache.in_memory_cache
    cached.flush_cache()
    keys = {name: await find(request) for name, find in entry._keys_of(proxy.user_api_key_auth)}
    try:
        found = await ask(request=request, **keys)
        fields = {**vars(found), "last_refreshed_at": type(found.last_refreshed_at)}
        told: Any = [found.__class__, fields, found.__pydantic_fields_set__, found.__pydantic_private__]
        principal = request.scope["state"]["principal"]
        told += [principal.source_key is found, principal.model_copy(update={"source_key": None})]
    except Exception as error:
        told = [type(error), str(error), vars(error)]
    scope = dict(request.scope)
    state = scope.pop("state")
    noted = {name: value for name, value in state.items() if name not in _OF_TIME}
    entry_held = cached.cache_dict.get(hashlib.sha256(KEY.encode()).hexdigest())
    kept = json.loads(entry_held) if isinstance(entry_held, str) else entry_held
    if isinstance(kept, dict):
        kept.pop("last_refreshed_at", None)
    lasting = [type(value) for value in cached.ttl_dict.values()]
    parts = (told, list(scope.items())[-4:], list(state), noted, kept, lasting, sorted(scope))
    return [repr(part) for part in parts]


def changes(proxy: Any) -> dict[str, tuple[Any, tuple[Any, dict[str, str], int]]]:
    """Return what may change between two requests, each with a request that shows it."""
    import litellm
    from litellm.proxy.auth.route_checks import RouteChecks

    plain, routing = ROWS["plain"], proxy.llm_router.registry()._router
    changed: dict[str, Any] = {
        **{f"allowed routes {held}": _setting(proxy, "allowed_routes", held) for held in ([], [_PATH])},
        "addresses": _setting(proxy, "allowed_ips", ["1.2.3.4"]),
        "a size": _setting(proxy, "max_request_size_mb", 0.00001),
        "an end user is needed": _setting(proxy, "enforce_user_param", True),
        "trusted proxies": _setting(proxy, "trusted_proxy_ranges", ["10.0.0.0/8"]),
        "passing through": _setting(proxy, "pass_through_endpoints", [{"path": _PATH, "target": "http://a"}]),
        "other settings": mock.patch.object(proxy, "general_settings", {"allowed_routes": []}),
        "the master key": mock.patch.object(proxy, "master_key", "sk-another"),
        "no master key": mock.patch.object(proxy, "master_key", None),
        "the administrator": mock.patch.object(proxy, "litellm_proxy_admin_name", "another"),
        "a row of the administrator's": _row(proxy),
        "a deployment": _deployment(proxy),
        "own authentication": mock.patch.object(proxy, "user_custom_auth", _refuse),
        "a database": mock.patch.object(proxy, "prisma_client", mock.MagicMock()),
        "no endpoints": mock.patch.dict(os.environ, {"DISABLE_LLM_API_ENDPOINTS": "true"}),
        "no prices": mock.patch.object(litellm, "block_requests_for_models_without_pricing", True),
        "a budget": mock.patch.object(litellm, "max_budget", 1.0),
        "a replaced function": mock.patch.object(RouteChecks, "should_call_route", _refuse_route),
        "a log of every step": _level(logging.getLogger("LiteLLM Proxy")),
        "no router": mock.patch.object(proxy, "llm_router", None),
        "routing groups": mock.patch.dict(routing._core_routing_groups, {"group": mock.MagicMock()}),
        "other aliases": mock.patch.object(routing, "_core_model_group_alias", {}),
    }
    found = {name: (change, plain) for name, change in changed.items()}
    found["a header for the key"] = _setting(proxy, "litellm_key_header_name", "x-own-key"), ROWS["a custom header"]
    found["a header for end users"] = _setting(proxy, "user_header_name", "x-some"), ROWS["a header"]
    return found


class _setting:
    def __init__(self, proxy: Any, name: str, value: Any) -> None:
        self._held, self._name, self._value = proxy.general_settings, name, value

    def __enter__(self) -> None:
        self._held[self._name] = self._value

    def __exit__(self, *error: object) -> None:
        del self._held[self._name]


class _level:
    def __init__(self, logger: logging.Logger) -> None:
        self._logger, self._before = logger, logger.level

    def __enter__(self) -> None:
        self._logger.setLevel(logging.DEBUG)

    def __exit__(self, *error: object) -> None:
        self._logger.setLevel(self._before)


class _deployment:
    def __init__(self, proxy: Any) -> None:
        self._router: Any = proxy.llm_router

    def __enter__(self) -> None:
        from litellm.types.router import Deployment

        row = {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o"}, "model_info": {"id": "another"}}
        self._router.upsert_deployment(Deployment(**row))

    def __exit__(self, *error: object) -> None:
        self._router.delete_deployment("another")


class _row:
    def __init__(self, proxy: Any) -> None:
        self._held: Any = proxy.user_api_key_cache

    def __enter__(self) -> None:
        self._held.set_cache("default_user_id", {"user_id": "default_user_id", "spend": 1.0, "max_budget": 0.5})

    def __exit__(self, *error: object) -> None:
        self._held.delete_cache("default_user_id")


async def _refuse(request: Any, api_key: str) -> Any:
    raise ValueError("refused")


def _refuse_route(*given: Any, **named: Any) -> None:
    raise ValueError("refused")


async def answer(proxy: Any, row: tuple[Any, dict[str, str], int]) -> Any:
    """Return what the whole application answers."""
    request = made(proxy, row[0], row[1])
    scope = {name: request.scope[name] for name in ("type", "http_version", "method", "path", "root_path", "headers")}
    scope |= {"query_string": b"", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 4000)}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await proxy.app({**scope, "raw_path": scope["path"].encode(), "state": {}}, request._receive, send)
    said = json.loads(b"".join(message.get("body", b"") for message in sent))
    return sent[0]["status"], {name: value for name, value in said.items() if name not in ("id", "created")}


async def main() -> None:
    import litellm.proxy.proxy_server as proxy

    import litellm_accel
    from litellm_accel import hot
    from litellm_accel.gateway import admissions

    os.environ["CONFIG_FILE_PATH"] = sys.argv[1]
    lifespan = proxy.proxy_startup_event(proxy.app)  # which ends once nobody holds it
    await lifespan.__aenter__()
    stock = proxy.user_api_key_auth
    found: dict[str, Any] = {"known": admissions.is_known(stock), "served": {}, "differ": {}, "faults": []}
    served: list[Any] = []
    asked: list[Any] = []

    def remembering() -> Callable[..., Any]:
        gate = hot.gate.Gate("proxy")
        gate.switch(True)
        remembered = admissions.Admissions(gate, observed)
        kept.append((gate, remembered))
        return remembered.admit

    async def observed(**arguments: Any) -> Any:
        asked.append(arguments)
        return await stock(**arguments)

    kept: list[Any] = []
    if found["known"]:
        admit = remembering()
        for _ in range(admissions._WAITED):
            await outcome(proxy, admit, ROWS["plain"])
        for name, row in ROWS.items():
            asked.clear()
            ours = [await outcome(proxy, admit, row, number) for number in range(4)]
            found["served"][name] = len(ours) - len(asked)
            theirs = [await outcome(proxy, stock, row, number) for number in range(4)]
            if ours != theirs:
                found["differ"][name] = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
        for number in range(2 * admissions._CREDIT):  # kinds that never come again are not all looked at
            await outcome(proxy, admit, ({**CHAT, "user": str(number)}, _OWN, True))
        found["seen"] = len(kept[0][1]._seen)
        for name, (change, row) in changes(proxy).items():
            admit = remembering()
            for _ in range(admissions._WAITED + 2):
                await outcome(proxy, admit, row)
            asked.clear()
            before = await outcome(proxy, admit, row)
            found["served"][name] = 1 - len(asked)
            with change:
                ours, theirs = [await outcome(proxy, ask, row) for ask in (admit, stock)]
            if ours != theirs or not asked:
                found["differ"][name] = ours, theirs
            if before != (theirs := await outcome(proxy, stock, row)):
                found["differ"][f"before {name}"] = before, theirs
        found["faults"] = [str(gate.last_fault) for gate, _ in kept if gate.last_fault]
        admitted = admissions._admitted

        async def counted(*given: Any) -> Any:
            served.append(given)
            return await admitted(*given)

        theirs = [await answer(proxy, ROWS[name]) for name in ("plain", "a wrong key")]
        admissions._admitted = counted  # type: ignore[assignment]
        litellm_accel.accelerate()
        ours = [await answer(proxy, ROWS["plain"]) for _ in range(8)]
        ours.append(await answer(proxy, ROWS["a wrong key"]))
        if ours != [*[theirs[0]] * 8, theirs[1]]:
            found["differ"]["the application"] = ours, theirs
        found["served"]["the application"] = len(served)
    print("found", json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
