"""Plays scripts on a stock and on an accelerated proxy of one configuration, and compares.

Each proxy has a provider, a database and a Redis of its own. Answers are compared as they come. What is done beside or
after them (what the provider was asked, callbacks, logs, metrics, Redis) is compared until it is the same, at most
``PATIENCE`` seconds: it is late on a busy machine, but what one proxy does too much or not at all stays a difference.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from litellm_accel.provider import Provider
from litellm_accel.verify.comparison import FAULT, Difference, Verdict, WayTaken, differ
from litellm_accel.verify.proxy import masks
from litellm_accel.verify.proxy.script import Ask, Config, GatewayRun
from litellm_accel.verify.proxy.services import Database, Gateway, Redis, missing
from litellm_accel.verify.scenario import At

PATIENCE = 30.0
#: Limits count for a minute from the first request of a key on; a run that takes longer shows nothing.
MINUTE = 40.0
EVENTS = "events.jsonl"
_ANSWER_SECONDS = 60.0
_COMPONENT = "proxy"


def unavailable(config: Config, database: Path | None) -> str | None:
    """Return what a configuration needs and is not here, None if all is."""
    if "database" in config.needs and database is None:
        return "a database (--database)"
    if "redis" in config.needs and (not shutil.which("redis-server") or missing("redis")):
        return "redis-server and the package redis"
    if "prometheus" in config.needs and missing("prometheus_client"):
        return "the package prometheus_client"
    if "gunicorn" in config.needs and missing("gunicorn"):
        return "the package gunicorn"
    return None


class Side:
    """One proxy, with a provider and what else it needs, of its own."""

    def __init__(self, config: Config, folder: Path, database: Database | None, *, accelerated: bool) -> None:
        self.config = config
        self.folder = folder
        self._offsets: Counter[str] = Counter()  # up to where effects have been compared
        self._resources = ExitStack()
        folder.mkdir()
        self.name = f"verify-{folder.parent.name}-{folder.name}"
        self.redis: Redis | None = None
        self.database = database if "database" in config.needs else None
        with self._resources:
            self.provider = self._resources.enter_context(Provider())
            environment = dict(config.environment)
            if "redis" in config.needs:
                self.redis = Redis(folder)
                self._resources.callback(self.redis.stop)
                environment.update(REDIS_HOST="127.0.0.1", REDIS_PORT=str(self.redis.port))
            if self.database is not None:
                environment.update(self.database.fresh(self.name), PROXY_BATCH_WRITE_AT="1")
                self._resources.callback(self.database.drop, self.name)
            (folder / EVENTS).touch()
            (folder / "config.yaml").write_text(json.dumps(self._resolved(config.file), indent=1))
            for name, source in config.modules.items():
                (folder / f"{name}.py").write_text(source)
            self.gateway = Gateway(folder, config.options, environment, accelerated=accelerated)
            self._resources.callback(self.stop)
            self._resources = self._resources.pop_all()
        self.is_up = True
        self.ended_well = True

    def _resolved(self, value: Any) -> Any:
        """Return a value of the configuration with the provider's addresses in it."""
        if isinstance(value, At):
            return self.provider.at(value.answer)
        if isinstance(value, Mapping):
            return {key: self._resolved(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._resolved(item) for item in value]
        return value

    def begin(self) -> None:
        """Return when the proxy answers."""
        self.gateway.wait()
        self._offsets["log"] = len(self.gateway.log())

    def stop(self) -> None:
        """Stop the proxy, if it has not been stopped."""
        if self.is_up:
            self.is_up = False
            self.ended_well = self.gateway.stop()

    def close(self) -> None:
        """Stop everything."""
        self._resources.close()

    # --- asking

    def ask(self, ask: Ask) -> list[Any]:
        """Return all answers to what is asked, as they are compared."""
        if not ask.together:
            return [self._exchange(ask, number) for number in range(ask.times)]
        with ThreadPoolExecutor(ask.times) as threads:
            found = list(threads.map(lambda number: self._exchange(ask, number), range(ask.times)))
        return sorted(found, key=str)

    def _exchange(self, ask: Ask, number: int) -> Any:
        """Return what comes until the proxy closes the connection, as it is compared."""
        asked = len(self.provider.requests()) if ask.leaves == "asked" else 0
        with socket.create_connection(("127.0.0.1", self.gateway.port), _ANSWER_SECONDS) as connection:
            connection.sendall(_bytes(ask, number))
            if ask.leaves == "asked":
                self._wait(lambda: len(self.provider.requests()) > asked)
                return "left"
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(1 << 16):
                    parts.append(part)
                    if ask.leaves:
                        return masks.answer(part.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        raw = b"".join(parts)
        return raw.partition(b"\r\n")[0].decode("latin-1") if ask.status_only else masks.answer(raw)

    @staticmethod
    def _wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds() and time.monotonic() < end:
            time.sleep(0.01)

    # --- effects

    def effects(self) -> dict[str, Any]:
        """Return what has been done beside the answers since effects were last compared."""
        requests = [request for request in self.provider.requests() if request.method == "POST"]
        lines = (self.folder / EVENTS).read_text().splitlines()
        self._seen = {"requests": len(requests), "events": len(lines), "log": len(self.gateway.log())}
        found: dict[str, Any] = {
            "requests": sorted(map(_request, requests[self._offsets["requests"] :])),
            "events": masks.events(lines[self._offsets["events"] :]),
            "log": masks.log(self.gateway.log()[self._offsets["log"] :]),
        }
        if self.is_up and "prometheus" in self.config.needs:
            raw = self._raw(Ask(path="/metrics/", method="GET", headers=("Accept: text/plain",)))
            found["metrics"] = masks.metrics(raw.decode("latin-1").partition("\r\n\r\n")[2])
        if self.redis is not None:
            found["redis"] = masks.keys(self.redis.keys())
        if self.database is not None and not self.is_up:
            found["tables"] = masks.rows(self.database.rows(self.name))
        return found

    def compared(self) -> None:
        """Note that effects so far have been compared."""
        self._offsets.update(Counter(self._seen) - self._offsets)

    def _raw(self, ask: Ask) -> bytes:
        with socket.create_connection(("127.0.0.1", self.gateway.port), _ANSWER_SECONDS) as connection:
            connection.sendall(_bytes(ask, 0))
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    def counted(self) -> tuple[Counter[str], Counter[str], int]:
        """Return how many calls each component has served and declined by reason, and faults, in all processes."""
        served: Counter[str] = Counter()
        declined: Counter[str] = Counter()
        faults = 0
        for report in self.gateway.reports():
            for name, row in report.items():
                served[name] += row["served"]
                faults += row["faults"]
            declined.update(report.get(_COMPONENT, {}).get("declined", {}))
        return served, declined, faults


def _bytes(ask: Ask, number: int) -> bytes:
    """Return a request as it is sent."""
    if ask.raw is not None:
        return ask.raw.replace(b"{n}", str(number).encode())
    if isinstance(ask.body, bytes):
        body = ask.body
    else:
        body = b"" if ask.body is None else json.dumps(ask.body).replace("{n}", str(number)).encode()
    named = {line.partition(":")[0].lower() for line in ask.headers}
    lines = [f"{ask.method} {ask.path} HTTP/1.1", "Host: proxy"]
    if ask.key is not None:
        lines.append(f"Authorization: Bearer {ask.key}")
    if not named & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    if "content-type" not in named:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, *ask.headers, "Connection: close", "", ""]).encode("latin-1") + body


def _request(request: Any) -> str:
    """Return what the provider was asked, as it is compared: the order of headers counts, and every byte."""
    headers = [[name, masks.masked(value, name.lower())] for name, value in request.headers]
    return json.dumps([request.path, headers, masks.text(request.body.decode("latin-1"))])


class Pair:
    """A stock proxy and an accelerated one of the same configuration."""

    def __init__(self, config: Config, folder: Path, database: Database | None) -> None:
        self.config = config
        with ExitStack() as stack:
            self.stock = Side(config, folder / "stock", database, accelerated=False)
            stack.callback(self.stock.close)
            self.accelerated = Side(config, folder / "accelerated", database, accelerated=True)
            stack.callback(self.accelerated.close)
            for side in (self.stock, self.accelerated):
                side.begin()
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Stop everything."""
        self._resources.close()

    def begin(self) -> list[Difference]:
        """Ask what a configuration begins with; return what differs."""
        found = self._answers(self.config.begins)
        return [*found, *self._effects()]

    def compare(self, run: GatewayRun) -> Verdict:
        """Play a run on both sides and compare."""
        begun = time.monotonic()
        served, declined, faults = self.accelerated.counted()
        differences = self._answers(run.scenario.asks)
        if self.config.by_minutes and time.monotonic() - begun > MINUTE:
            differences = []  # some of the limits have begun anew
        served_after, declined_after, faults_after = self.accelerated.counted()
        count = served_after[_COMPONENT] - served[_COMPONENT]
        reasons = dict(declined_after - declined)
        if run.scenario.way == "served" and not count:
            differences.append(Difference("way", "must serve", f"left to stock: {', '.join(reasons)}"))
        if faults_after > faults:
            differences.append(Difference("way", "no internal fault", f"{faults_after - faults} internal faults"))
            reasons[FAULT] = faults_after - faults
        if run.scenario.ends:
            with ThreadPoolExecutor(2) as threads:
                list(threads.map(lambda side: side.stop(), (self.stock, self.accelerated)))
            if self.accelerated.ended_well is not self.stock.ended_well:
                differences.append(Difference("end", self.stock.ended_well, self.accelerated.ended_well))
        differences += self._effects(("requests",) if run.scenario.races else ())
        way: WayTaken = "mixed" if count and reasons else "served" if count else "declined" if reasons else "unknown"
        return Verdict(run, way, reasons, tuple(differences), time.monotonic() - begun, served=count)

    def _answers(self, asks: Sequence[Ask]) -> list[Difference]:
        found: list[Difference] = []
        for number, ask in enumerate(asks):
            with ThreadPoolExecutor(2) as threads:
                stock, accelerated = threads.map(lambda side, ask=ask: side.ask(ask), (self.stock, self.accelerated))
            found += differ(stock, accelerated, f"answers[{number}]")
        return found

    def _effects(self, apart: Sequence[str] = ()) -> list[Difference]:
        """Return what differs in what was done beside the answers, once it has had its time, but not in ``apart``."""
        end = time.monotonic() + PATIENCE
        while True:
            stock, accelerated = self.stock.effects(), self.accelerated.effects()
            for name in apart:
                stock.pop(name)
                accelerated.pop(name)
            if "redis" in stock:
                stock["redis"] = _with_times_of(stock["redis"], accelerated["redis"])
            differences = list(differ(stock, accelerated, "effects"))
            if not differences or time.monotonic() > end:
                break
            time.sleep(0.2)
        for side in (self.stock, self.accelerated):
            side.compared()
        return differences


def _with_times_of(one: Mapping[str, list[Any]], other: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return ``one`` with the remaining time of each key as in ``other``, if it is about the same."""
    found = {}
    for key, values in one.items():
        others = other.get(key, ())
        found[key] = [
            [kind, others[place][1] if place < len(others) and _is_about(left, others[place][1]) else left, value]
            for place, (kind, left, value) in enumerate(values)
        ]
    return found


def _is_about(one: int, other: int) -> bool:
    return (one < 0) == (other < 0) and abs(one - other) <= PATIENCE


@contextlib.contextmanager
def pair(config: Config, database: Database | None) -> Iterator[Pair]:
    """A pair of proxies for as long as the block runs."""
    with TemporaryDirectory(prefix="verify") as folder:
        made = Pair(config, Path(folder), database)
        try:
            yield made
        finally:
            made.close()
