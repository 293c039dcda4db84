"""What a request through LiteLLM's proxy costs its worker, stock and accelerated in turn.

    python -m benchmarks.proxy --python ENVIRONMENT/bin/python [--of key,stream-31] [--set LITELLM_ACCEL_GC=freeze]
        [--without proxy]

Rows: chat with a master key (``key``), with a database and a virtual key, with Redis, with Prometheus, or with a logger
of the user's; streams of 31 and of 300 events; embeddings; and answers from a cache in memory (``cached``).

With ``--without`` the first proxy is no stock one, but accelerated without that component: whether it pays.

ENVIRONMENT holds ``litellm[proxy]``. One worker, 20 connections, ten deployments, answers of the embedded provider.
Both proxies run all the time, and are asked in turn; what counts is the processor time of the worker's process. Redis
and Postgres are those of ``tests/proxy``. Not one of asv's: it takes a minute for each row.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from litellm_accel.provider import Provider

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

gateways: Any = importlib.import_module("proxy.gateways")  # which is the tests'

_CONNECTIONS = 20
_DEPLOYMENTS = 10
_WARMING = 400  # requests after which ten deployments are learned and shown equal
_TICKS = os.sysconf("SC_CLK_TCK")
_COMMAND = ("litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", "{port}")
_VIRTUAL = "sk-virtual-of-the-benchmark"
_ROWS = ("key", "database", "redis", "prometheus", "logger", "stream-31", "stream-300", "embeddings", "cached")
# What the provider answers, where it is not its plain answer.
_ANSWERS = {
    "stream-31": 'stream-31{"profile": "openai"}',
    "stream-300": 'stream-31{"profile": "openai", "chunks": 298}',
}
_LISTENING = {"prometheus": "[prometheus]", "logger": "listening.logger"}
# A logger of the user's, beside the configuration.
_LOGGER = """
from litellm.integrations.custom_logger import CustomLogger


class Logger(CustomLogger):
    spent = 0.0

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.spent += kwargs["standard_logging_object"]["response_cost"]


logger = Logger()
"""


@dataclass
class Round:
    """One load on one proxy: processor time of its worker a request, requests a second, and latencies."""

    milliseconds: float
    per_second: float
    p50: float
    p99: float


@dataclass
class Row:
    """The rounds of both proxies, and how much less processor time an accelerated request takes (medians)."""

    name: str
    stock: list[Round]
    accelerated: list[Round]
    served: int
    ratio: float


def settings(kind: str, provider: Provider, redis: int, database: str) -> str:
    limits = ", rpm: 1000000, tpm: 1000000000" if kind == "redis" else ""
    model = "text-embedding-3-small" if kind == "embeddings" else "gpt-4o-mini"
    address = provider.at(_ANSWERS[kind]) if kind in _ANSWERS else provider.url
    lines = ["model_list:"]
    for number in range(_DEPLOYMENTS):
        params = f"model: openai/{model}, api_base: '{address}', api_key: sk-{number}{limits}"
        lines += ["  - model_name: gpt", f"    litellm_params: {{{params}}}", f"    model_info: {{id: d-{number}}}"]
    lines += ["general_settings:", f"  master_key: {gateways.KEY}"]
    if kind == "database":
        lines += [f"  database_url: {database}"]
    if kind == "redis":
        address = f"host: 127.0.0.1, port: {redis}"
        lines += [f"router_settings: {{redis_host: 127.0.0.1, redis_port: {redis}}}"]
        lines += [f"litellm_settings: {{cache: true, cache_params: {{type: redis, {address}}}}}"]
    if kind == "cached":
        lines += ["litellm_settings: {cache: true, cache_params: {type: local}}"]
    if kind in _LISTENING:
        lines += [f"litellm_settings: {{callbacks: {_LISTENING[kind]}}}"]
    return "\n".join(lines)


@contextmanager
def pair(kind: str, folder: Path, extra: Mapping[str, str], without: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield a stock proxy (or one ``without`` a component) and an accelerated one, and the key to ask them with."""
    with ExitStack() as stack:
        provider = stack.enter_context(Provider())
        made = stack.enter_context(gateways.database(folder / "database")) if kind == "database" else None
        started = []
        for name in ("stock", "accelerated"):
            place = folder / name
            place.mkdir(parents=True)
            redis = stack.enter_context(gateways.redis_server(place)) if kind == "redis" else 0
            environment = {} if made is None else made.fresh(name)
            text = settings(kind, provider, redis, environment.get("DATABASE_URL", ""))
            (place / "config.yaml").write_text(text)
            (place / "listening.py").write_text(_LOGGER)
            is_whole = name == "accelerated"
            more = {**environment, "PROXY_TESTS_REPORT_SECONDS": "0.9"}
            if is_whole or without:
                more.update(extra)
            if not is_whole and without:
                more[f"LITELLM_ACCEL_{without.upper()}"] = "off"
            gateway = gateways.Gateway(place, _COMMAND, more, accelerated=is_whole or bool(without))
            stack.callback(gateway.stop)
            started.append(gateway)
        for gateway in started:
            gateway.wait()
            if made is not None:
                assert gateway.ask("POST", "/key/generate", {"key": _VIRTUAL})[0] == 200
        yield started[0], started[1], gateways.KEY if made is None else _VIRTUAL


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def question(kind: str, salt: int, number: int) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request."""
    if kind == "embeddings":
        return "/v1/embeddings", {"model": "gpt", "input": f"text {salt} {number}"}
    content = "the same question" if kind == "cached" else f"question {salt} {number}"
    streamed = {"stream": True} if kind.startswith("stream") else {}
    return "/v1/chat/completions", {"model": "gpt", "messages": [{"role": "user", "content": content}], **streamed}


async def answer(reader: asyncio.StreamReader) -> None:
    """Read one answer. Raises ``RuntimeError`` unless it is good."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(head.decode("latin-1"))
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    else:
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))


async def load(gateway: Any, key: str, requests: int, salt: int, kind: str = "key") -> Round:
    """Ask a proxy so many times by ``_CONNECTIONS`` connections, each as soon as it has its answer."""
    left = iter(range(requests))
    latencies: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**24)
        for number in left:
            path, asked = question(kind, salt, number)
            body = json.dumps(asked).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {key}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            begun = time.perf_counter()
            writer.write(head.encode() + body)
            await answer(reader)
            latencies.append(time.perf_counter() - begun)
        writer.close()

    used, begun = processor_seconds(gateway.pid), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
    seconds = time.perf_counter() - begun
    await asyncio.sleep(0.5)  # what is told and written afterwards is part of a request
    used = processor_seconds(gateway.pid) - used
    ranked = sorted(latencies)
    middle, last = (ranked[int(len(ranked) * share)] * 1000 for share in (0.5, 0.99))
    return Round(used / requests * 1000, requests / seconds, middle, last)


async def measure(kind: str, rounds: int, requests: int, extra: Mapping[str, str], without: str) -> Row:
    """Return one row of the table. Raises ``RuntimeError`` if half of the requests were not served."""
    with tempfile.TemporaryDirectory() as folder, pair(kind, Path(folder), extra, without) as (stock, accelerated, key):
        found: dict[str, list[Round]] = {"stock": [], "accelerated": []}
        for number in range(rounds + 1):
            for name, gateway in (("stock", stock), ("accelerated", accelerated)):
                measured = await load(gateway, key, requests if number else _WARMING, number, kind)
                if number:
                    found[name].append(measured)
        one, two = (statistics.median(part.milliseconds for part in found[name]) for name in found)
        reports = accelerated.reports()
        served = {name: sum(report[name]["served"] for report in reports) for name in ("chat", "streaming", "proxy")}
        if max(served.values()) < rounds * requests / 2:
            raise RuntimeError(f"served: {served}")
        return Row(kind, found["stock"], found["accelerated"], served["chat"], one / two)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="an interpreter with litellm[proxy]; else PROXY_TESTS_PYTHON")
    parser.add_argument("--of", default=",".join(_ROWS), help=f"rows, of {', '.join(_ROWS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE in the accelerated proxy's environment")
    parser.add_argument("--without", default="", help="a component that the first proxy, then accelerated, lacks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    gateways.PYTHON = options.python or gateways.PYTHON
    problem = gateways.missing()
    if problem:
        sys.exit(problem)
    extra = dict(setting.split("=", 1) for setting in options.set)
    load_of = options.rounds, options.requests, extra, options.without
    rows = [asyncio.run(measure(kind, *load_of)) for kind in options.of.split(",")]
    if options.json:
        print(json.dumps(list(map(asdict, rows)), indent=2))
        return
    for row in rows:
        print(f"{row.name}: {row.ratio:.2f} x less processor time; served {row.served}")
        for name in ("stock", "accelerated"):
            for part in getattr(row, name):
                said = f"without {options.without}" if name == "stock" and options.without else name
                print(f"  {said:15}{part.milliseconds:6.2f} ms {part.per_second:5.0f}/s", end=" ")
                print(f"p50 {part.p50:.0f} ms, p99 {part.p99:.0f} ms")


if __name__ == "__main__":
    main()
