"""Authentication with virtual keys in one process with a database: LiteLLM's, and what is remembered of it.

Run by ``test_virtual_keys.py`` with an interpreter that has ``litellm[proxy]``; the argument is a configuration.
Prints, as JSON, what differs, and how many requests were served by what is remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from proxy.admitting import CHAT, KEY, made

_CLOCK = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*([+-]\d\d:\d\d)?")
_GROUPS = "model_access_group_registry"
_RELOADS = 70  # more than changes of settings that are taken before all is left to LiteLLM
_GROUPED: dict[str, Any] = {**CHAT, "model": "grouped"}
_TOOL = {"type": "function", "function": {"name": "a"}}
_SEARCH = {"type": "file_search", "vector_store_ids": ["one"]}
# Keys by what they are made with, what is asked with them, and whether two of four requests are served.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "plain": ({}, CHAT, True),
    "an alias": ({"key_alias": "an-alias"}, CHAT, True),
    "an end": ({"duration": "1h"}, CHAT, True),
    "a spend": ({"spend": 3.5}, CHAT, True),
    "models": ({"models": ["gpt", "grouped"]}, _GROUPED, True),
    "a model's alias": ({}, {**CHAT, "model": "alias"}, True),
    "arguments": ({}, {**CHAT, "temperature": 0.5, "stream": True, "tools": [_TOOL]}, True),
    "metadata of the request": ({}, {**CHAT, "metadata": {"own": 1}}, True),
    "no end user": ({}, {**CHAT, "user": ""}, True),
    "other models": ({"models": ["grouped"]}, CHAT, False),
    "models by a group": ({"models": ["some"]}, _GROUPED, False),
    "all models": ({"models": ["all-proxy-models"]}, CHAT, False),
    "a budget": ({"max_budget": 10.0}, CHAT, False),
    "an exceeded budget": ({"max_budget": 1.0, "spend": 2.0}, CHAT, False),
    "a soft budget": ({"soft_budget": 1.0}, CHAT, False),
    "requests a minute": ({"rpm_limit": 100}, CHAT, False),
    "tokens a minute": ({"tpm_limit": 100}, CHAT, False),
    "requests at once": ({"max_parallel_requests": 3}, CHAT, False),
    "metadata": ({"metadata": {"own": 1}}, CHAT, False),
    "tags": ({"metadata": {"tags": ["a"]}}, CHAT, False),
    "a user": ({"user_id": "somebody"}, CHAT, False),
    "aliases": ({"aliases": {"own": "gpt"}}, {**CHAT, "model": "own"}, False),
    "routes": ({"allowed_routes": ["/v1/embeddings"]}, CHAT, False),
    "a blocked key": ({"blocked": True}, CHAT, False),
    "an end user": ({}, {**CHAT, "user": "someone"}, False),
    "an end user in metadata": ({}, {**CHAT, "metadata": {"user_id": "someone"}}, False),
    "tags of the request": ({}, {**CHAT, "tags": ["a"]}, False),
    "tags in metadata": ({}, {**CHAT, "metadata": {"tags": ["a"]}}, False),
    "a store": ({}, {**CHAT, "tools": [_SEARCH]}, False),
    "another model": ({}, {**CHAT, "model": "nothing"}, False),
    "a banned argument": ({}, {**CHAT, "api_base": "http://a"}, False),
}
# What an administrator does to a plain key between two requests: a path, and what is sent there besides the key.
ADMINISTERED: dict[str, tuple[str, dict[str, Any]]] = {
    "blocked": ("/key/block", {}),
    "deleted": ("/key/delete", {}),
    "a spent budget": ("/key/update", {"max_budget": 1.0, "spend": 2.0}),
    "another spend": ("/key/update", {"spend": 2.0}),
    "models": ("/key/update", {"models": ["grouped"]}),
    "requests a minute": ("/key/update", {"rpm_limit": 5}),
    "metadata": ("/key/update", {"metadata": {"own": 1}}),
    "an alias": ("/key/update", {"key_alias": "another-alias"}),
    "routes": ("/key/update", {"allowed_routes": ["/v1/embeddings"]}),
}


class Desk:
    """The proxy, and the two authentications of it; ``asked`` counts requests that come to LiteLLM's."""

    def __init__(self, proxy: Any, client: Any, run: str) -> None:
        from litellm_accel import hot
        from litellm_accel.gateway import admissions, entry

        self.proxy, self._client, self._run = proxy, client, run
        self.stock = proxy.user_api_key_auth
        self._keys = entry._keys_of(self.stock)
        self.gate = hot.gate.Gate("proxy")
        self.gate.switch(True)
        self._make = lambda: admissions.Admissions(self.gate, self._observed)
        self.remembered: Any = None
        self.asked = 0
        self._made = 0

    async def begin(self) -> None:
        """Forget everything that is remembered."""
        self.remembered = self._make()
        key = await self.key({})
        for _ in range(2):
            await self.outcome(self.remembered.admit, key, CHAT)

    async def _observed(self, **arguments: Any) -> Any:
        self.asked += 1
        return await self.stock(**arguments)

    async def administer(self, path: str, body: Any) -> Any:
        """Return what the proxy answers an administrator. Raises ``RuntimeError`` if that is a refusal."""
        answer = await self._client.post(path, json=body, headers={"Authorization": f"Bearer {KEY}"})
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.text}")
        return answer.json()

    async def key(self, given: dict[str, Any]) -> str:
        """Return a new key, which LiteLLM has cached."""
        self._made += 1
        key = f"sk-virtual-{self._run}-{self._made}"
        rest = {name: value for name, value in given.items() if name not in ("spend", "key_alias", "blocked")}
        alias = {"key_alias": f"{given['key_alias']}-{key}"} if "key_alias" in given else {}
        await self.administer("/key/generate", {"key": key, **rest, **alias})
        if "spend" in given:
            await self.administer("/key/update", {"key": key, "spend": given["spend"]})
        if given.get("blocked"):
            await self.administer("/key/block", {"key": key})
        await self.outcome(self.stock, key, CHAT)
        return key

    async def outcome(self, ask: Any, key: str, body: dict[str, Any]) -> Any:
        """Return what becomes of a request: the key's object or the error, what is noted of it, what is cached."""
        request = made(self.proxy, body, {"Authorization": f"Bearer {key}"})
        keys = {name: await find(request) for name, find in self._keys}
        try:
            found = await ask(request=request, **keys)
            told: Any = [found.__class__, vars(found), found.__pydantic_fields_set__, found.__pydantic_private__]
            principal = request.scope["state"]["principal"]
            told += [principal.source_key is found, principal.model_copy(update={"source_key": None})]
        except Exception as error:
            told = [type(error), str(error), vars(error)]
        scope = dict(request.scope)
        state = scope.pop("state")
        noted = {name: value for name, value in state.items() if name not in ("litellm_received_at", "principal")}
        parts = (told, scope.get("parsed_body"), sorted(scope), list(state), noted, self.cached(key))
        return [_CLOCK.sub("<time>", repr(part)) for part in parts]

    def cached(self, key: str) -> Any:
        """Return what LiteLLM has in its cache of a key."""
        memory = self.proxy.user_api_key_cache.key_object_cache.in_memory_cache
        return memory.cache_dict.get(hashed(key))

    async def serve(self, key: str, body: dict[str, Any], times: int = 4) -> tuple[list[Any], int]:
        """Return what becomes of so many requests, and how many are served by what is remembered."""
        self.asked = 0
        outcomes = [await self.outcome(self.remembered.admit, key, body) for _ in range(times)]
        return outcomes, times - self.asked


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def reload(proxy: Any) -> None:
    """Have LiteLLM read its settings from the database, as it does every half minute."""
    await proxy.proxy_config.add_deployment(proxy.prisma_client, proxy.proxy_logging_obj)
    await proxy.proxy_config.reload_search_tools_from_db()


@asynccontextmanager
async def stored(desk: Desk, name: str, value: Any) -> AsyncIterator[None]:
    """Have another setting in the database, which LiteLLM reads from there."""
    named = {"field_name": name, "config_type": "general_settings"}
    await desk.administer("/config/field/update", {**named, "field_value": value})
    await reload(desk.proxy)
    yield
    await desk.administer("/config/field/delete", named)
    await reload(desk.proxy)


@asynccontextmanager
async def plainly(change: Any) -> AsyncIterator[None]:
    with change:
        yield


def changes(desk: Desk, key: str) -> dict[str, Callable[[], Any]]:
    """Return what may change between two requests besides what an administrator does to a key."""
    from litellm.proxy.auth.route_checks import RouteChecks

    proxy, cache = desk.proxy, desk.proxy.user_api_key_cache
    hooks = proxy.proxy_logging_obj.proxy_hook_mapping
    limiter = hooks["parallel_request_limiter"]

    class Refusing(type(limiter)):  # type: ignore[misc]
        async def raise_if_over_limit_before_body(self, user_api_key_dict: Any) -> None:
            raise ValueError("refused")

    refusing = Refusing.__new__(Refusing)
    vars(refusing).update(vars(limiter))
    held = desk.cached(key)
    memory = cache.key_object_cache.in_memory_cache
    return {
        "a key that is not cached": lambda: mock.patch.dict(memory.cache_dict, {hashed(key): None}),
        "a cached key that is blocked in its place": lambda: mock.patch.dict(held, {"blocked": True}),
        "a cached key with other metadata in its place": lambda: mock.patch.dict(held["metadata"], {"own": 1}),
        "a cached key that is equal": lambda: mock.patch.dict(memory.cache_dict, {hashed(key): dict(held)}),
        "budgets of groups": lambda: mock.patch.dict(cache.in_memory_cache.cache_dict, {_GROUPS: ("some",)}),
        "no database": lambda: mock.patch.object(proxy, "prisma_client", None),
        "another limiter": lambda: mock.patch.dict(hooks, {"parallel_request_limiter": refusing}),
        "a replaced method": lambda: mock.patch.object(limiter, "raise_if_over_limit_before_body", _refuse),
        "a replaced function": lambda: mock.patch.object(RouteChecks, "should_call_route", _refuse_route),
        "own authentication": lambda: mock.patch.object(proxy, "user_custom_auth", _refuse),
        "a budget of the proxy": lambda: mock.patch.object(proxy.litellm, "max_budget", 1.0),
    }


async def _refuse(*given: Any, **named: Any) -> Any:
    raise ValueError("refused")


def _refuse_route(*given: Any, **named: Any) -> None:
    raise ValueError("refused")


async def compare(desk: Desk, found: dict[str, Any], name: str, key: str, body: dict[str, Any], change: Any) -> None:
    """Have something change after a request that is served; the next one must be LiteLLM's, and equal.

    With what LiteLLM reads anew for it, it is only told the same; the one after that is equal in everything.
    """
    before, found["served"][name] = await desk.serve(key, body)
    async with change:
        first, still = await desk.serve(key, body, 1)
        second, _ = await desk.serve(key, body, 1)
        theirs = await desk.outcome(desk.stock, key, body)
    if still or first[0][0] != theirs[0] or second != [theirs]:
        found["differ"][name] = first, second, theirs
    found["changed"][name] = theirs[0] != before[-1][0]


@asynccontextmanager
async def administered(desk: Desk, key: str, path: str, more: dict[str, Any]) -> AsyncIterator[None]:
    await desk.administer(path, {"keys": [key]} if path == "/key/delete" else {"key": key, **more})
    yield


@asynccontextmanager
async def over(seconds: float) -> AsyncIterator[None]:
    await asyncio.sleep(seconds)
    yield


async def run(desk: Desk, found: dict[str, Any]) -> None:
    await desk.begin()
    for name, (given, body, _) in KINDS.items():
        key = await desk.key(given)
        ours, found["served"][name] = await desk.serve(key, body)
        theirs = [await desk.outcome(desk.stock, key, body) for _ in range(4)]
        if ours != theirs:
            found["differ"][name] = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    found["reasons"] = desk.remembered.left.declined
    for name, (path, more) in ADMINISTERED.items():
        key = await desk.key({})
        own = {"key_alias": f"another-alias-{key}"} if "key_alias" in more else {}
        change = administered(desk, key, path, {**more, **own})
        await compare(desk, found, f"administered: {name}", key, CHAT, change)
        if name == "blocked":
            await desk.administer("/key/unblock", {"key": key})
            found["served"]["administered: unblocked"] = (await desk.serve(key, CHAT))[1]
    key = await desk.key({"duration": "3s"})
    await compare(desk, found, "administered: over", key, CHAT, over(3.5))
    for name in changes(desk, await desk.key({})):
        await desk.begin()
        key = await desk.key({})
        await compare(desk, found, name, key, CHAT, plainly(changes(desk, key)[name]()))


async def reloads(desk: Desk, found: dict[str, Any]) -> None:
    """Have LiteLLM read its settings again and again, with few requests in between."""
    await desk.begin()
    key = await desk.key({})
    served = []
    looks: list[None] = []
    look = desk.remembered._look

    def counted() -> Any:
        looks.append(None)
        return look()

    await reload(desk.proxy)
    await desk.serve(key, CHAT)
    with mock.patch.object(desk.remembered, "_look", counted):
        for _ in range(_RELOADS):
            await reload(desk.proxy)
            served.append((await desk.serve(key, CHAT, 6))[1])
    found["reloads"] = {"looks": len(looks), "served": sorted(set(served)), "reason": desk.remembered.reason}
    await compare(
        desk, found, "another setting in the database", key, CHAT, stored(desk, "user_header_name", "x-request-id")
    )
    await desk.begin()  # with settings in the database, none of which is one of these any more
    found["served"]["no such setting any more"] = (await desk.serve(key, CHAT))[1]


async def main() -> None:
    import httpx
    import litellm.proxy.proxy_server as proxy

    from litellm_accel.gateway import admissions

    os.environ["CONFIG_FILE_PATH"] = sys.argv[1]
    lifespan = proxy.proxy_startup_event(proxy.app)  # which ends once nobody holds it
    await lifespan.__aenter__()
    found: dict[str, Any] = {"known": admissions.is_known(proxy.user_api_key_auth)}
    found |= {"served": {}, "differ": {}, "changed": {}}
    transport = httpx.ASGITransport(app=proxy.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        if found["known"]:
            desk = Desk(proxy, client, str(os.getpid()))
            await run(desk, found)
            await reloads(desk, found)
            found["fault"] = desk.gate.last_fault
    print("found", json.dumps(found), flush=True)
    await proxy.prisma_client.disconnect()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
