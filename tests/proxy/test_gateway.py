"""A stock proxy and an accelerated one, asked the same: answers, the provider's requests, tables and Redis are equal.

Needs ``litellm[proxy]`` (PROXY_TESTS_PYTHON names an interpreter that has it), Redis and Postgres for what
needs them. Run by ``-m slow``.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from litellm_accel.provider import Provider
from litellm_accel.verify.proxy.services import Database
from proxy import masks
from proxy.gateways import KEY, Gateway, database, database_is_missing, missing, redis_server

pytestmark = pytest.mark.slow

# After so many calls of one kind the fast path has learned it and shown it equal.
_LEARNED = 8
_CALLS = 16
_FLUSH_SECONDS = 60
_COMMAND = ("litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", "{port}")


class Side:
    """One proxy with a provider, and what else it may need, of its own."""

    def __init__(self, gateway: Gateway, provider: Provider) -> None:
        self.gateway = gateway
        self.provider = provider

    def requests(self) -> Any:
        """Return what the provider was asked, as it is compared."""
        return [
            (
                request.method,
                request.path,
                [(name, masks.masked(value)) for name, value in request.headers],
                request.body,
            )
            for request in self.provider.requests()
            if request.method == "POST"  # the proxy looks for models when it starts, in tasks of their own
        ]


class Pair:
    """A stock proxy and an accelerated one."""

    def __init__(self, stock: Side, accelerated: Side) -> None:
        self.stock = stock
        self.accelerated = accelerated

    def ask(self, method: str, path: str, body: Any = None, **how: Any) -> Any:
        """Ask both, and return the answer, which must be the same."""
        sides = self.stock, self.accelerated
        one, two = (masks.answer(*side.gateway.ask(method, path, body, **how)) for side in sides)
        assert two[0] == one[0], (two, one)
        assert [found for found in zip_longest(one[1], two[1]) if found[0] != found[1]] == []
        assert two == one
        return one

    def compare_requests(self) -> None:
        """The provider was asked the same."""
        assert self.accelerated.requests() == self.stock.requests()


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [{"role": "user", "content": text}], **more}


def settings(provider: Provider, more: str = "", limits: str = "") -> str:
    address = provider.at('plain{"profile": "openai"}')
    return f"""
model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{address}', api_key: sk-up{limits}}}
    model_info: {{id: the-deployment}}
  - model_name: failing
    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{provider.at("error-400")}', api_key: sk-up}}
    model_info: {{id: the-failing-deployment}}
general_settings:
  master_key: {KEY}
{more}
"""


Start = Callable[..., Pair]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a pair: its settings, its command, and what gives each side's environment and settings."""
    if problem := missing():
        pytest.skip(problem)
    with ExitStack() as stack:

        def starts(
            command: tuple[str, ...] = _COMMAND,
            limits: str = "",
            own: Callable[[str], tuple[dict[str, str], str]] = lambda side: ({}, ""),
        ) -> Pair:
            sides = []
            for name in ("stock", "accelerated"):
                folder = tmp_path / name
                folder.mkdir()
                provider = stack.enter_context(Provider())
                environment, more = own(name)
                (folder / "config.yaml").write_text(settings(provider, more, limits))
                gateway = Gateway(folder, command, environment, accelerated=name == "accelerated")
                stack.callback(gateway.stop)
                sides.append(Side(gateway, provider))
            with ThreadPoolExecutor() as threads:
                list(threads.map(lambda side: side.gateway.wait(), sides))
            return Pair(*sides)

        yield starts


ROUTE = "/litellm-accel/status"


def with_a_route(side: str, folder: Path) -> dict[str, str]:
    """Return what has a proxy tell its admins what is accelerated, in the environment of the side that is."""
    settings = folder / "accel.json"
    settings.write_text('{"admin_route": true}')
    return {"LITELLM_ACCEL_CONFIG": str(settings)} if side == "accelerated" else {}


def test_a_master_key(start: Start, tmp_path: Path) -> None:
    pair = start(own=lambda side: (with_a_route(side, tmp_path), ""))
    for number in range(_CALLS):
        assert pair.ask("POST", "/v1/chat/completions", chat(f"hello {number}"))[0] == 200
    pair.ask("POST", "/chat/completions", chat("with more", temperature=0.5, user="someone"))
    pair.ask("POST", "/v1/chat/completions", b"{no json")
    pair.ask("POST", "/v1/chat/completions", {"model": "gpt", "messages": "none"})
    pair.ask("POST", "/v1/chat/completions", {**chat("unknown"), "model": "nothing"})
    pair.ask("POST", "/v1/chat/completions", {**chat("fails"), "model": "failing"})
    assert pair.ask("POST", "/v1/chat/completions", chat("nobody"), key="sk-wrong")[0] != 200
    assert pair.ask("POST", "/v1/chat/completions", chat("nobody"), key=None)[0] != 200
    pair.compare_requests()
    assert pair.accelerated.gateway.served() >= _CALLS - _LEARNED
    status, _, body = pair.accelerated.gateway.ask("GET", ROUTE)
    assert status == 200 and json.loads(body)["stats"]["chat"]["served"] >= _CALLS - _LEARNED
    for key in ("sk-wrong", None):  # the proxy's own refusals
        refused = pair.accelerated.gateway.ask("GET", ROUTE, key=key)[0]
        assert refused == pair.stock.gateway.ask("GET", "/key/list", key=key)[0] != 200
    assert pair.stock.gateway.ask("GET", ROUTE)[0] == 404


_LIMITED = """
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request, api_key):
    return UserAPIKeyAuth(
        api_key=api_key, user_id="somebody", team_id="a-team", rpm_limit=6, tpm_limit=100_000, max_parallel_requests=5,
        team_rpm_limit=9, user_tpm_limit=50_000, metadata={"model_rpm_limit": {"gpt": 8}},
    )
"""


def test_limits_of_keys_teams_and_models(start: Start, tmp_path: Path) -> None:
    """Counted in memory: the same requests are let through, with the same ``x-ratelimit-*``, and refused alike."""

    def own(side: str) -> tuple[dict[str, str], str]:
        (tmp_path / side / "limited.py").write_text(_LIMITED)
        return {}, "  custom_auth: limited.user_api_key_auth\n"

    pair = start(own=own)
    told = [
        pair.ask("POST", "/v1/chat/completions", chat(f"hello {number}"), key=key)
        for number, key in enumerate(["sk-one"] * 8 + ["sk-two"] * 5)
    ]
    assert [status for status, *_ in told] == [200] * 6 + [429] * 2 + [200] * 2 + [429] * 3
    headers = dict(told[0][1])
    assert headers["x-ratelimit-api_key-limit-requests"] == "6"
    assert headers["x-ratelimit-api_key-remaining-requests"] == "5"
    assert "a-team" in str(told[-1][2]) and dict(told[-1][1])["retry-after"] == "60"
    pair.compare_requests()
    found = [report["rate_limit"] for report in pair.accelerated.gateway.reports()]
    assert sum(row["served"] for row in found) >= 13
    assert not any(row["faults"] or row["declined"] for row in found), found


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if problem := missing("litellm_proxy_extras") or database_is_missing():
        pytest.skip(problem)
    with database(tmp_path_factory.mktemp("postgres") / "server") as made:
        yield made


def spent(tables: Database, side: str) -> list[Any]:
    return tables.rows(side).get("LiteLLM_SpendLogs", [])


def test_a_database(start: Start, tables: Database, tmp_path: Path) -> None:
    def own(side: str) -> tuple[dict[str, str], str]:
        environment = {**tables.fresh(side), **with_a_route(side, tmp_path)}
        address = environment["DATABASE_URL"]
        return {**environment, "PROXY_BATCH_WRITE_AT": "1"}, f"  database_url: {address}\n"

    pair = start(own=own)
    team = {"team_alias": "a team", "team_id": "the-team", "max_budget": 10}
    assert pair.ask("POST", "/team/new", team)[0] == 200
    assert pair.ask("POST", "/user/new", {"user_id": "the-user", "auto_create_key": False})[0] == 200
    keys = {
        "sk-of-the-user-1234567": {"user_id": "the-user", "metadata": {"tags": ["one", "two"]}},
        "sk-of-the-team-1234567": {"team_id": "the-team", "max_budget": 5, "rpm_limit": 1000},
    }
    for key, more in keys.items():
        assert pair.ask("POST", "/key/generate", {"key": key, **more})[0] == 200
    for number, key in itertools.product(range(_CALLS), keys):
        assert pair.ask("POST", "/v1/chat/completions", chat(f"hello {number}"), key=key)[0] == 200
    for number in range(_CALLS):
        metadata = {"tags": [f"tag {number % 2}"]}
        asked = chat(f"tagged {number}", metadata=metadata, user=f"end user {number % 2}")
        assert pair.ask("POST", "/v1/chat/completions", asked, key=next(iter(keys)))[0] == 200
    pair.ask("POST", "/v1/chat/completions", {**chat("fails"), "model": "failing"}, key=next(iter(keys)))
    pair.ask("POST", "/v1/chat/completions", chat("nobody"), key="sk-unknown-key-1234567")
    for side in (pair.stock, pair.accelerated):  # whose answers say what has been written so far
        assert side.gateway.ask("POST", "/key/block", {"key": next(iter(keys))})[0] == 200
    assert pair.ask("POST", "/v1/chat/completions", chat("blocked"), key=next(iter(keys)))[0] != 200
    pair.compare_requests()
    assert pair.accelerated.gateway.served() >= 2 * (_CALLS - _LEARNED)
    admin = {"key": "sk-of-an-admin-1234567", "user_id": "the-admin"}
    assert (
        pair.ask("POST", "/user/new", {"user_id": "the-admin", "user_role": "proxy_admin", "auto_create_key": False})[0]
        == 200
    )
    assert pair.ask("POST", "/key/generate", admin)[0] == 200
    assert pair.accelerated.gateway.ask("GET", ROUTE, key=admin["key"])[0] == 200
    assert pair.accelerated.gateway.ask("GET", ROUTE, key=list(keys)[1])[0] in (401, 403)

    deadline = time.monotonic() + _FLUSH_SECONDS
    sides = ("stock", "accelerated")
    while time.monotonic() < deadline and any(len(spent(tables, side)) < 3 * _CALLS for side in sides):
        time.sleep(1)
    pair.stock.gateway.stop()  # which writes what is still to be written
    pair.accelerated.gateway.stop()
    one, two = (tables.rows(side) for side in sides)
    assert len([row for row in two["LiteLLM_SpendLogs"] if row["status"] == "success"]) == 3 * _CALLS
    differing = {
        name: found
        for name in sorted(one.keys() | two.keys())
        if (found := masks.differences(name, one.get(name, []), two.get(name, [])))
    }
    assert differing == {}


_VIRTUAL = {
    "plain": {},
    "models": {"models": ["gpt"], "duration": "1h", "key_alias": "an-alias"},
    "metadata": {"metadata": {"own": 1}},
    "requests": {"rpm_limit": 3},
    "budget": {"max_budget": 0.00001},
    "other-models": {"models": ["failing"]},
    "over": {"duration": "1s"},
}


def test_virtual_keys(start: Start, tables: Database) -> None:
    """Keys that are plain are authenticated by what is remembered of them, until an administrator changes them."""

    def own(side: str) -> tuple[dict[str, str], str]:
        environment = tables.fresh(side)
        return environment, f"  database_url: {environment['DATABASE_URL']}\n"

    pair = start(own=own)
    keys = {name: f"sk-of-the-tests-{name}" for name in _VIRTUAL}
    for name, more in _VIRTUAL.items():
        assert pair.ask("POST", "/key/generate", {"key": keys[name], **more})[0] == 200

    told: list[int] = []

    def ask(name: str, times: int) -> list[int]:
        bodies = (chat(f"{name} {number}") for number in range(times))
        found = [pair.ask("POST", "/v1/chat/completions", body, key=keys[name])[0] for body in bodies]
        told.extend(found)
        return found

    time.sleep(1)
    assert ask("over", 2) == [401, 401]
    assert ask("other-models", 2) == [403, 403]
    assert ask("requests", 6) == [200] * 3 + [429] * 3
    assert ask("metadata", 4) == [200] * 4
    spent = ask("budget", 8)
    assert spent[0] == 200 and spent[-1] >= 400
    assert ask("plain", _CALLS) == ask("models", _CALLS) == [200] * _CALLS
    for path, refused in (("block", [401, 401]), ("unblock", [200] * 6)):
        assert pair.ask("POST", f"/key/{path}", {"key": keys["plain"]})[0] == 200
        assert ask("plain", len(refused)) == refused
    assert pair.ask("POST", "/key/update", {"key": keys["models"], "models": ["failing"]})[0] == 200
    assert ask("models", 2) == [403, 403]
    assert pair.ask("POST", "/key/delete", {"keys": [keys["plain"]]})[0] == 200
    assert ask("plain", 2) == [401, 401]
    pair.compare_requests()
    (found,) = [report["proxy"] for report in pair.accelerated.gateway.reports()]
    left = found["partly"]
    assert not found["faults"]
    assert left["authentication: the key's rpm_limit"] and left["authentication: the key's max_budget"]
    # FastAPI has had the first two; of a key's requests, one is read from the database and two are watched.
    assert len(told) - 2 - sum(left.values()) >= 2 * (_CALLS - 4), left


def redis_keys(port: int) -> Any:
    """Return all keys of a Redis server with what they hold and for how many minutes."""

    def ask(*command: str) -> str:
        asked = ["redis-cli", "-p", str(port), *command]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    held = {}
    for key in ask("keys", "*").splitlines():
        kind, left = ask("type", key), int(ask("ttl", key))
        value = masks.masked(ask("get", key)) if kind == "string" else ""
        held[masks.masked(key)] = kind, left if left < 0 else round(left / 60), value
    return held


@pytest.mark.parametrize("what", ["router", "cache", "both"])
def test_redis(start: Start, what: str, tmp_path: Path) -> None:
    if problem := missing("redis"):
        pytest.skip(problem)
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server: apt-get install redis-server")
    with ExitStack() as stack:
        ports = {side: stack.enter_context(redis_server(tmp_path)) for side in ("stock", "accelerated")}

        def own(side: str) -> tuple[dict[str, str], str]:
            address = f"host: 127.0.0.1, port: {ports[side]}"
            more = ""
            if what != "cache":
                more += f"router_settings: {{redis_host: 127.0.0.1, redis_port: {ports[side]}}}\n"
            if what != "router":
                more += f"litellm_settings: {{cache: true, cache_params: {{type: redis, ttl: 600, {address}}}}}\n"
            return {}, more

        pair = start(own=own, limits=", rpm: 1000, tpm: 1000000")
        if time.time() % 60 > 35:
            time.sleep(60 - time.time() % 60)  # what is counted in a minute is counted in one
        for number in range(_CALLS):
            assert pair.ask("POST", "/v1/chat/completions", chat(f"hello {number}"))[0] == 200
        for number in range(2):
            assert pair.ask("POST", "/v1/chat/completions", chat(f"hello {number}"))[0] == 200  # cached, perhaps
        pair.compare_requests()
        time.sleep(1)
        assert redis_keys(ports["accelerated"]) == redis_keys(ports["stock"])
        assert pair.accelerated.gateway.served() >= _CALLS - _LEARNED


# Until a worker has imported LiteLLM, uvicorn takes it for dead after five seconds.
_PATIENCE = "120"
_SERVERS = {
    "uvicorn": (*_COMMAND, "--num_workers", "2", "--timeout_worker_healthcheck", _PATIENCE),
    "gunicorn": (*_COMMAND, "--num_workers", "2", "--run_gunicorn"),
    "granian": (*_COMMAND, "--num_workers", "2", "--run_granian"),
    "hypercorn": (*_COMMAND, "--run_hypercorn"),
    "gunicorn-preload": (
        *("gunicorn", "litellm.proxy.proxy_server:app", "--preload", "--workers", "2", "--bind", "127.0.0.1:{port}"),
        *("--worker-class", "uvicorn.workers.UvicornWorker"),
    ),
    "uvicorn-alone": (
        *("uvicorn", "litellm.proxy.proxy_server:app", "--workers", "2", "--host", "127.0.0.1", "--port", "{port}"),
        *("--timeout-worker-healthcheck", _PATIENCE),
    ),
}


@pytest.mark.parametrize("server", _SERVERS)
def test_workers(start: Start, server: str) -> None:
    own = lambda side: ({"CONFIG_FILE_PATH": "config.yaml"}, "")  # noqa: E731
    if problem := missing(_SERVERS[server][0] if "gunicorn" not in server else "gunicorn"):
        pytest.skip(problem)
    pair = start(_SERVERS[server], own=own)
    for number in range(4 * _CALLS):
        one = masks.answer(*pair.stock.gateway.ask("POST", "/v1/chat/completions", chat(f"hello {number}")))
        two = masks.answer(*pair.accelerated.gateway.ask("POST", "/v1/chat/completions", chat(f"hello {number}")))
        assert (one[0], one[2]) == (two[0], two[2]) and one[0] == 200
    workers = [report["chat"]["served"] for report in pair.accelerated.gateway.reports()]
    assert sum(workers) >= _CALLS
