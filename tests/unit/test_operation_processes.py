"""A running process can be asked: its socket, what others collect of it, and alerts."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

import litellm_accel
from litellm_accel import activation, cli, hot
from litellm_accel.operation import alerts, metrics, server
from litellm_accel.operation.alerts import Alerts
from litellm_accel.operation.schema import AlertSettings, checked
from litellm_accel.operation.ticker import TICKER
from made_up import Part, Register
from settling import becomes

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    path = Path(f"/tmp/accel-{os.getpid()}-{time.monotonic_ns() % 10**9}")
    path.mkdir()
    yield path
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


@pytest.fixture
def asked(place: Path, victim: ModuleType, register: Register) -> Path:
    """The directory of the socket of this process, in which a component serves."""
    register(Part("one", "double"))
    litellm_accel.accelerate(config={"stats": str(place), "components": {"one": {"mode": "rollout", "percent": 50}}})
    for number in range(100):
        victim.double(number % 7)
    return place


# --- the socket


def test_where_a_process_listens() -> None:
    assert server.socket_path("/run/accel", 7) == "/run/accel/7.sock"
    assert server.socket_path("unix:/run/x-%p.sock", 7) == "/run/x-7.sock"
    assert server.socket_path("unix:run/x.sock") == str(Path.cwd() / "run" / "x.sock")


def test_a_process_tells_its_figures(asked: Path) -> None:
    path = asked / f"{os.getpid()}.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    answer = server.ask(str(path))
    assert answer["process"] == os.getpid() and answer["health"]["healthy"]
    assert answer["stats"]["one"]["calls"] == 100 and answer["stats"]["one"]["sides"]["served"]["calls"] > 0
    assert litellm_accel.Report.of(answer["report"]) == litellm_accel.status()
    litellm_accel.configure(stats=f"unix:{asked}/other-%p.sock")
    assert not path.exists() and server.ask(f"{asked}/other-{os.getpid()}.sock")["process"] == os.getpid()
    litellm_accel.restore()
    assert list(asked.iterdir()) == []


def test_readers_that_die_or_hang_do_not_matter(asked: Path, victim: ModuleType, monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 2.0)
    monkeypatch.setattr(server, "told", lambda: {"process": 1, "report": {}, "stats": {}, "much": "x" * (2 << 20)})
    path = str(asked / f"{os.getpid()}.sock")
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as dying:
            dying.connect(path)
    hanging = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for each in hanging:
        each.connect(path)
    began = time.monotonic()
    victim.double(3)
    assert time.monotonic() - began < 0.1, "calls do not wait"
    assert len(server.ask(path)["much"]) == 2 << 20
    for each in hanging:
        each.close()

    def broken() -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(server, "told", broken)
    with pytest.raises(ValueError):
        server.ask(path)
    monkeypatch.undo()
    assert server.ask(path)["process"] == os.getpid()


def test_a_forked_process_has_a_socket_of_its_own(asked: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.read(reader, 1)
        os._exit(0)
    try:
        until = time.monotonic() + 5
        while len(list(asked.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        answers, problems = server.ask_all(str(asked))
        assert sorted(answer["process"] for answer in answers) == sorted([os.getpid(), child]) and problems == []
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    answers, problems = server.ask_all(str(asked))
    assert [answer["process"] for answer in answers] == [os.getpid()] and problems == [], "it has left a socket behind"


def test_what_stands_in_the_way_is_left_alone(
    place: Path, victim: ModuleType, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register(Part("one", "double"))
    (place / "file.sock").write_text("precious")
    litellm_accel.accelerate(config={"stats": f"unix:{place}/file.sock"})
    assert (place / "file.sock").read_text() == "precious"
    assert litellm_accel.status()["one"].state == "active" and "is no socket" in caplog.text
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(place / "dead.sock"))
    dead.close()
    litellm_accel.configure(stats=f"unix:{place}/dead.sock")
    assert server.ask(str(place / "dead.sock"))["process"] == os.getpid()
    litellm_accel.configure(stats="unix:/proc/nowhere/x.sock")
    assert "cannot listen at /proc/nowhere/x.sock" in caplog.text
    litellm_accel.configure(stats="unix:/tmp/" + "x" * 200)
    assert "too long" in caplog.text


def test_the_command_line_asks_running_processes(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.commands, list(arguments))

    done = run("status", "--process", str(asked))
    assert done.exit_code == 0 and f"process {os.getpid()}" in done.output and "rollout 50 %" in done.output
    monkeypatch.setenv("LITELLM_ACCEL_STATS", str(asked))
    done = run("status", "--process", str(os.getpid()), "--json")
    assert json.loads(done.output)["components"][0]["name"] == "one"
    done = run("stats", "--watch", "--count", "2", "--interval", "0.1")
    assert done.exit_code == 0 and done.output.count("litellm-accel, 1 process") == 2 and "\x1b" not in done.output
    assert "rollout 50 %" in done.output
    assert json.loads(run("stats", "--json").output)[0]["stats"]["one"]["calls"] == 100
    done = run("status", "--process", "1")
    assert done.exit_code == 1 and "No process answers" in done.output
    monkeypatch.delenv("LITELLM_ACCEL_STATS")
    monkeypatch.chdir(asked)
    done = run("stats")
    assert done.exit_code == 1 and "Where to ask is not known" in done.output


def test_figures_of_several_processes_are_added_up(asked: Path) -> None:
    from litellm_accel.operation.fleet import added_up

    one = server.told()
    text = json.loads(json.dumps(one))
    total = added_up([text, text, text])["one"]
    assert total["calls"] == 300 and total["modes"] == {"rollout 50 %": 3}
    assert sum(total["buckets"]["served"].values()) == 3 * one["stats"]["one"]["sides"]["served"]["calls"]


# --- Prometheus and OpenTelemetry


def test_a_registry_has_what_has_happened(victim: ModuleType, register: Register, monkeypatch: Any) -> None:
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    made = metrics.Prometheus()
    client = SimpleNamespace(
        Counter=lambda *args: prometheus_client.Counter(*args, registry=registry),
        Gauge=lambda *args, **how: prometheus_client.Gauge(*args, registry=registry, **how),
    )
    monkeypatch.setitem(sys.modules, "prometheus_client", client)
    register(Part("one", "double"))
    litellm_accel.accelerate(config={"statistics": True})

    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"litellm_accel_{name}", {"component": "one", **labels}) or 0.0

    for expected in (10, 20):
        for _ in range(10):
            victim.double(3)
        made.push()
        assert value("calls_total", side="served") == expected
        assert value("call_seconds_below_total", side="served", le="+Inf") == expected
    litellm_accel.reset_stats()
    victim.double(0)
    made.push()
    assert value("calls_total", side="served") == 20 and value("declined_total", reason="zero") == 1
    assert value("active") == 1 and value("breaker_open") == 0


WORKER = """
import os
import sys
sys.path.insert(0, {tests!r})
import made_up
sys.path.insert(0, {place!r})
from litellm_accel import activation, components
components.NAMES = ("one",)
components.get = {{"one": made_up.Part("one", "double")}}.__getitem__
activation._HOST = "victim"
activation._watches = {{"victim": activation._watch_for("victim")}}
import victim
import litellm_accel
from litellm_accel.operation import metrics
metrics._SECONDS = 0.1
litellm_accel.accelerate(config={{"prometheus": True}})
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        body = generate_latest(registry)
    else:
        victim.double(3)
        body = str(os.getpid()).encode()
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]}})
    await send({{"type": "http.response.body", "body": body}})
"""


def test_two_workers_are_scraped_as_one(tmp_path: Path) -> None:
    import urllib.request

    from made_up import SOURCE

    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "__init__.py").write_text(SOURCE)
    (tmp_path / "files").mkdir()
    tests = str(Path(__file__).parents[1])
    (tmp_path / "app.py").write_text(WORKER.format(tests=tests, place=str(tmp_path)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--workers", "2", "--log-level", "error"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "files"),
            "PYTHONPATH": os.pathsep.join([str(Path(cli.__file__).parents[1]), tests, str(tmp_path)]),
        },
    )

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return str(reply.read(), "utf-8")

    try:
        workers: set[str] = set()
        calls = 0
        until = time.monotonic() + 60
        while (len(workers) < 2 or calls < 40) and time.monotonic() < until:
            try:
                workers.add(get("/call"))
                calls += 1
            except OSError:
                time.sleep(0.1)
        assert len(workers) == 2
        wanted = f'litellm_accel_calls_total{{component="one",side="served"}} {calls}.0'
        while wanted not in get("/metrics") and time.monotonic() < until:
            time.sleep(0.1)
        found = get("/metrics")
        assert wanted in found and 'litellm_accel_active{component="one"} 2.0' in found
    finally:
        process.terminate()
        process.wait(20)


def test_opentelemetry_is_given_the_figures(victim: ModuleType, register: Register, monkeypatch: Any) -> None:
    observers: dict[str, Any] = {}

    class Meter:
        def create(self, name: str, callbacks: list[Any], description: str) -> None:
            observers[name] = callbacks[0]

        create_observable_counter = create_observable_gauge = create

    api = SimpleNamespace(get_meter=lambda name: Meter(), Observation=lambda value, labels: (value, labels))
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", api)
    register(Part("one", "double"))
    monkeypatch.setattr("litellm_accel.operation.control.OPENTELEMETRY", metrics.OpenTelemetry())
    litellm_accel.accelerate(config={"opentelemetry": True})
    victim.double(3)
    assert (1, {"component": "one", "side": "served"}) in observers["litellm.accel.calls"](None)
    litellm_accel.restore()
    assert observers["litellm.accel.calls"](None) == []


def test_libraries_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("prometheus_client", "opentelemetry.metrics"):
        monkeypatch.setitem(sys.modules, name, None)
    metrics.Prometheus().set(True)
    metrics.OpenTelemetry().set(True)
    assert "pip install prometheus_client" in caplog.text and "pip install opentelemetry-api" in caplog.text


# --- alerts


def gate_of(name: str = "one") -> Any:
    gate = hot.gate.Gate(name)
    gate.switch(True)
    gate.measure(True)
    return gate


def alert(**settings: Any) -> AlertSettings:
    return checked({"alerts": [settings]}, "here").alerts[0]


@pytest.fixture
def watched() -> Iterator[tuple[Any, Alerts]]:
    gate = gate_of()
    yield gate, Alerts(lambda: {"one": gate})
    TICKER.stop("alerts")


def test_an_alert_is_told_when_it_begins_and_when_it_is_over(
    watched: tuple[Any, Alerts], caplog: pytest.LogCaptureFixture
) -> None:
    gate, found = watched
    told: list[Any] = []
    found.set([alert(metric="fault_rate", above=0.01, call=told.append), alert(metric="p95_us", above=500)])
    assert TICKER.jobs == ["alerts"]
    for faults, taken in ((0, 100), (5, 100), (5, 900), (0, 100), (0, 0)):
        for _ in range(100 if taken else 0):
            gate.serve()
            gate.record(0, None, taken * 1000, False, -1)
        for _ in range(faults):
            gate.fault(ValueError("x"))
        found.look()
        gate.reset_errors() if not faults else None
    states = [record.getMessage().split(": ", 1)[1].split(" is ")[0] for record in caplog.records]
    assert [state for state in states if state.startswith("alert")] == [
        "alert firing: fault_rate of one",
        "alert firing: p95_us of one",
        "alert resolved: fault_rate of one",
        "alert resolved: p95_us of one",
    ]
    assert [(one["state"], one["component"], one["above"]) for one in told] == [
        ("firing", "one", 0.01),
        ("resolved", "one", 0.01),
    ]
    found.set([])
    assert TICKER.jobs == []


@pytest.mark.parametrize(("metric", "value"), [("error_rate", 0.5), ("decline_rate", 1 / 3), ("p50_us", 100.0)])
def test_figures_that_alerts_compare(watched: tuple[Any, Alerts], metric: str, value: float) -> None:
    gate, found = watched
    told: list[Any] = []
    found.set([alert(metric=metric, above=0.1, call=told.append)])
    found.look()
    for number in range(100):
        gate.serve()
        gate.record(0, None, 100_000, number % 2 == 0, -1)
    for _ in range(50):
        gate.decline("odd")
    found.look()
    assert told[0]["value"] == pytest.approx(value, rel=0.02)


def test_a_function_that_fails_is_logged(watched: tuple[Any, Alerts], caplog: pytest.LogCaptureFixture) -> None:
    def broken(told: Any) -> None:
        raise RuntimeError("broken")

    gate, found = watched
    found.set([alert(metric="decline_rate", above=0.1, call=broken)])
    found.look()
    gate.decline("odd")
    found.look()
    assert "an alert's function failed" in caplog.text


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; hangs where it is asked to."""

    received: ClassVar[list[Any]] = []
    released = threading.Event()

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.path == "/hang":
            self.released.wait(20)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.received.clear()
    Hook.released.clear()
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    Hook.released.set()
    serving.shutdown()
    serving.server_close()


def test_a_webhook_is_told(watched: tuple[Any, Alerts], hook: str) -> None:
    gate, found = watched
    found.set([alert(metric="decline_rate", above=0.1, webhook=f"{hook}/alerts")])
    found.look()
    gate.decline("odd")
    found.look()
    assert becomes(lambda: Hook.received)
    (told,) = Hook.received
    assert (told["alert"], told["component"], told["value"], told["state"]) == ("decline_rate", "one", 1.0, "firing")


def test_a_webhook_that_hangs_holds_nothing_up(
    watched: tuple[Any, Alerts], hook: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "_PATIENCE", 0.5)
    gate, found = watched
    found.set([alert(metric="decline_rate", above=0.5, webhook=f"{hook}/hang")])
    found.look()
    began = time.monotonic()
    gate.decline("odd")
    found.look()
    for _ in range(10):
        gate.serve()
    found.look()
    assert time.monotonic() - began < 0.4
    assert becomes(lambda: "an alert's webhook failed: " in caplog.text)
    assert "has not answered yet" in caplog.text
    found.set([alert(metric="decline_rate", above=0.5, webhook="http://127.0.0.1:1/")])
    found.look()
    gate.decline("odd")
    found.look()
    assert becomes(lambda: "Connection refused" in caplog.text)


def test_settings_switch_alerts_on(victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_SECONDS", 0.05)
    register(Part("one", "double"))
    told: list[Any] = []
    litellm_accel.accelerate(config={"alerts": [{"metric": "decline_rate", "above": 0.5, "call": told.append}]})
    assert activation.activations()["one"].gate.sides is not None
    until = time.monotonic() + 10
    while not told and time.monotonic() < until:
        victim.double(0)
        time.sleep(0.01)
    assert told[0]["component"] == "one"
    litellm_accel.restore()
    assert TICKER.jobs == []
