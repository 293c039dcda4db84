"""The demo's parts, with stand-ins for the workers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import itertools
import json
import os
import re
import threading
import time
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pydantic
import pytest
from click.testing import CliRunner
from rich.console import Console

from litellm_accel import cli, demo
from litellm_accel.demo import runner, worker
from litellm_accel.demo.comparison import comparable, difference
from litellm_accel.demo.results import Outcome, Result, Times
from litellm_accel.demo.table import duration, print_table, ratio, reasons
from litellm_accel.demo.work import ROWS, Row


class Answer(pydantic.BaseModel):
    id: str
    created: int
    text: str
    usage: dict[str, Any] = {}


class OtherAnswer(Answer):
    pass


# --- comparison ---


def test_ids_and_clocks_of_a_model_are_masked() -> None:
    assert comparable(Answer(id="a", created=1, text="x")) == comparable(Answer(id="b", created=2, text="x"))


def test_what_openai_fills_chunks_up_with_is_masked() -> None:
    class Chunk(Answer):
        obfuscation: str

    one, other = (Chunk(id="a", created=1, text="x", obfuscation=text) for text in ("A", "Bcd"))
    assert comparable(one) == comparable(other)


def test_what_is_inside_is_not_masked() -> None:
    one, other = (Answer(id="a", created=1, text="x", usage={"id": name}) for name in "12")
    assert difference(comparable(one), comparable(other)) == "result.usage.id: '1' in stock, '2' accelerated"


def test_type_of_a_model_counts() -> None:
    one, other = Answer(id="a", created=1, text="x"), OtherAnswer(id="a", created=1, text="x")
    assert difference(comparable(one), comparable(other)) == (
        "result.type: 'Answer' in stock, 'OtherAnswer' accelerated"
    )


def test_comparable_survives_json() -> None:
    value = comparable([Answer(id="a", created=1, text="é", usage={"n": 0.1 + 0.2, "s": {1}}), None, True, (1, 2)])
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("stock", "accelerated", "where"),
    [
        (1, 2, "result"),
        (1, 1.0, "result"),
        (1, True, "result"),
        ([1, 2], [1, 3], "result[1]"),
        ([1, 2], [1], "result"),
        ({"a": [{"b": None}]}, {"a": [{"b": 0}]}, "result.a[0].b"),
        ({"a": 1}, {"a": 1, "b": 2}, "result"),
        ([1], {"0": 1}, "result"),
    ],
)
def test_difference_tells_where(stock: Any, accelerated: Any, where: str) -> None:
    found = difference(stock, accelerated)
    assert found is not None and found.startswith(f"{where}: ")
    assert difference(stock, stock) is None
    assert difference(accelerated, accelerated) is None


def test_difference_is_one_short_line() -> None:
    found = difference("x" * 1000 + "\n", "y" * 1000)
    assert found is not None and len(found) < 200 and "\n" not in found


# --- rows ---


def test_rows_have_names_and_titles_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)


def test_units_of_a_stream_are_its_chunks() -> None:
    row = {row.unit: row for row in ROWS}
    assert row["chunk"].units([["a", "b"], ["c"]]) == 3
    assert row["call"].units([["a", "b"], ["c"]]) == 2


# --- measuring ---


class StubWorker:
    """Answers from a list; ``turns`` notes who worked in what order."""

    def __init__(self, mode: str, turns: list[str], answers: list[dict[str, Any]]) -> None:
        self.mode = mode
        self.turns = turns
        self.answers = iter(answers)

    def send(self, row: Row, url: str) -> None:
        self.turns.append(f"{self.mode} works")

    def answer(self) -> dict[str, Any]:
        self.turns.append(f"{self.mode} is done")
        return next(self.answers)


def answer(cpu: float = 1.0, results: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "cpu": cpu,
        "wall": 2 * cpu,
        "units": 20,
        "served": 0,
        "declined": {},
        "results": results,
    } | more


def measure(
    stock: list[dict[str, Any]], accelerated: list[dict[str, Any]], until: float = 0.0
) -> tuple[Any, list[str]]:
    turns: list[str] = []
    outcome = Outcome(ROWS[0])
    workers: Any = StubWorker("stock", turns, stock), StubWorker("accelerated", turns, accelerated)
    runner._warm_up(outcome, *workers, "http://unused")
    runner._measure(outcome, *workers, "http://unused", until)
    return outcome, turns


def test_workers_take_turns_after_the_warm_up() -> None:
    outcome, turns = measure([answer(9), answer(4), answer(2)], [answer(9), answer(1), answer(2)])
    both = ["stock works", "stock is done", "accelerated works", "accelerated is done"]
    assert turns[4:] == both * runner.MIN_ROUNDS
    assert outcome.stock == Times([0.2, 0.1], [0.4, 0.2])
    assert outcome.accelerated == Times([0.05, 0.1], [0.1, 0.2])
    assert outcome.cpu_ratio == pytest.approx(2.0)


def test_each_round_of_a_beginning_has_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    costs = iter((8, 9, 4, 3))  # stock and accelerated, in turn

    def start(mode: str, trust: Any) -> Any:
        turns.append(f"{mode} starts")
        return contextlib.nullcontext(StubWorker(mode, turns, [{}, answer(next(costs))]))

    monkeypatch.setattr(runner, "Worker", start)
    outcome = Outcome(ROWS[0])
    runner._measure_cold(outcome, {}, "http://unused", until=0.0)
    assert [turn for turn in turns if "starts" in turn] == ["stock starts", "accelerated starts"] * runner.MIN_ROUNDS
    assert outcome.stock == Times([0.4, 0.2], [0.8, 0.4])
    assert outcome.accelerated == Times([0.45, 0.15], [0.9, 0.3])


def test_rounds_have_a_limit() -> None:
    many = [answer()] * (runner.MAX_ROUNDS + 1)
    outcome, _ = measure(many, many, until=float("inf"))
    assert len(outcome.stock.cpu) == runner.MAX_ROUNDS


def test_counters_leave_out_the_warm_up() -> None:
    rounds = [answer(units=10, served=8, declined={"odd": 2})] * 3
    outcome, _ = measure([answer()] * 3, rounds)
    assert (outcome.calls, outcome.served, outcome.declined) == (20, 16, Counter(odd=4))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_difference_in_any_round_is_found(number: int) -> None:
    rounds = [answer() for _ in range(3)]
    rounds[number]["results"] = 2
    outcome, _ = measure([answer()] * 3, rounds)
    assert outcome.difference == "result: 1 in stock, 2 accelerated"
    assert not outcome.ok


@pytest.mark.parametrize("number", [0, 1])
def test_an_error_ends_the_row(number: int) -> None:
    rounds = [answer() for _ in range(number)] + [{"error": "Traceback: no"}]
    outcome, _ = measure([answer()] * 3, rounds)
    assert outcome.error == "In the accelerated worker:\nTraceback: no"
    assert outcome.difference is None
    assert not outcome.ok


@pytest.mark.parametrize("number", [0, 1])
def test_work_that_litellm_cannot_do_is_left_out_and_no_failure(number: int) -> None:
    rounds = [answer() for _ in range(number)] + [{"left_out": "a core of their own"}]
    outcome, _ = measure(list(rounds), list(rounds))
    assert outcome.ok and not outcome.is_measured
    shown = result(outcome)
    assert f"Left out: {ROWS[0].title}: a core of their own" in table(shown)
    assert f"Left out: {ROWS[0].title}: a core of their own" in demo.page(shown)
    assert json.loads(json.dumps(shown.to_dict()))["rows"][0]["left_out"] == "a core of their own"


def test_rows_share_processes_as_they_say_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Started:
        def __init__(self, mode: str, environment: Any) -> None:
            self.rows: list[str] = []
            started.append(self.rows)

        def __enter__(self) -> Started:
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def send(self, row: Row, url: str) -> None:
            if row.name not in self.rows:
                self.rows.append(row.name)

        def answer(self) -> dict[str, Any]:
            return answer(versions={}, report={"components": []})

    monkeypatch.setattr(runner, "Worker", Started)
    rows = [dataclasses.replace(ROWS[n], process=process) for n, process in enumerate(["", "apart", ""])]
    measured = runner.run(seconds=0, rows=rows)
    first, second, third = (row.name for row in rows)
    assert started == [[first, third]] * 2 + [[second]] * 2
    assert [outcome.row.name for outcome in measured.outcomes] == [first, second, third]


# --- the worker's bench ---


def bench(monkeypatch: pytest.MonkeyPatch, batch: Any, *, is_accelerated: bool = False) -> dict[str, Any]:
    """Return what a worker measures of ``batch``."""
    monkeypatch.setattr(worker, "_rows", {"row": Row("row", "Row", ("tokens",), lambda url: batch)})
    runner = worker.Bench(is_accelerated)
    try:
        return runner.measure("row", "http://unused")
    finally:
        runner.loop.close()


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def asynchronous(first: int) -> list[int]:
    return [1, 2, 3]


@pytest.mark.parametrize("batch", [lambda first: [1, 2, 3], asynchronous])
def test_bench_runs_both_kinds_of_batches(monkeypatch: pytest.MonkeyPatch, batch: Any) -> None:
    measured = bench(monkeypatch, batch)
    assert (measured["results"], measured["units"]) == ([1, 2, 3], 3)
    assert (measured["served"], measured["declined"]) == (0, {})


def test_bench_counts_what_a_thread_does_after_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(first: int) -> list[int]:
        threading.Thread(target=burn, args=(0.1,)).start()
        return [1]

    assert bench(monkeypatch, batch)["cpu"] >= 0.1


def test_bench_counts_what_a_task_does_after_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = []

    async def afterwards() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
            burn(0.01)

    async def batch(first: int) -> list[int]:
        tasks.append(asyncio.ensure_future(afterwards()))
        return [1]

    measured = bench(monkeypatch, batch)
    assert measured["cpu"] >= 0.1 > measured["wall"]


def test_bench_does_not_count_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = bench(monkeypatch, lambda first: [time.sleep(0.1)])
    assert measured["wall"] >= 0.1 > 0.05 > measured["cpu"]


def test_bench_counts_served_and_declined_calls_of_the_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [
        [("tokens", 5, {"a": 1}), ("chat", 7, {"z": 1})],
        [("tokens", 8, {"a": 3, "b": 1}), ("chat", 9, {"z": 4})],
    ]
    warm: list[Any] = [[("tokens", 0, {})], [("tokens", 1, {})]] * 2  # before and after each of two batches
    tell(monkeypatch, warm + counts)
    measured = bench(monkeypatch, lambda first: [1] * 6, is_accelerated=True)
    assert (measured["served"], measured["declined"]) == (3, {"a": 2, "b": 1})


def test_bench_warms_up_with_other_questions_until_no_fewer_calls_are_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = [(0, 0), (0, 20), (12, 28), (32, 28), (52, 28)]  # calls served and declined, after each batch
    shown = [[("tokens", served, {"being proven": declined})] for served, declined in totals]
    tell(monkeypatch, [count for pair in itertools.pairwise(shown) for count in pair] + shown[-1:] * 2)
    asked: list[int] = []
    bench(monkeypatch, lambda first: asked.append(first) or [1], is_accelerated=True)
    assert asked == [20, 40, 60, 80, 0]


def tell(monkeypatch: pytest.MonkeyPatch, counts: list[Any]) -> None:
    """Have ``status()`` tell of these ``counts`` of components, one after the other."""

    class Status:
        def to_dict(self) -> dict[str, Any]:
            rows = [{"name": name, "served": served, "declined": declined} for name, served, declined in counts.pop(0)]
            return {"components": rows}

    monkeypatch.setattr("litellm_accel.status", Status)


# --- results, table, page ---


def outcome(number: int = 0, **fields: Any) -> Outcome:
    times = {"stock": Times([0.004, 0.002], [0.006, 0.004]), "accelerated": Times([0.0002, 0.0003], [0.001, 0.001])}
    return Outcome(ROWS[number], **{**times, "calls": 10, "served": 10, **fields})


def result(*outcomes: Outcome) -> Result:
    return Result(
        "A processor, 2 cores, Linux",
        {"litellm": "1.106.2"},
        "openai over TLS",
        {"components": []},
        list(outcomes),
        12.0,
    )


def table(shown: Result, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_table(shown, console)
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2.00 s"), (0.0027123, "2.71 ms"), (0.000312, "312 µs"), (1.5e-6, "1.50 µs"), (2e-7, "0.200 µs")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0.98, "1.0×"), (9.94, "9.9×"), (9.96, "10×"), (400.4, "400×")])
def test_ratio(value: float, text: str) -> None:
    assert ratio(value) == text


@pytest.mark.parametrize(
    ("fields", "share", "reason"),
    [
        ({"served": 10}, "yes", ""),
        ({"served": 8, "declined": Counter(b=1, a=3)}, "80%", "a, b"),
        ({"served": 0, "unavailable": "not accelerated yet"}, "no", "not accelerated yet"),
    ],
)
def test_what_was_served(fields: dict[str, Any], share: str, reason: str) -> None:
    assert (outcome(**fields).served_share, outcome(**fields).left_to_stock) == (share, reason)


def test_reasons_gather_their_rows() -> None:
    shown = result(outcome(0, served=0, unavailable="x"), outcome(1), outcome(2, served=0, unavailable="x"))
    assert reasons(shown) == {"x": [ROWS[0].title, ROWS[2].title]}


@pytest.mark.parametrize(
    ("components", "reason"),
    [
        ([], "not accelerated yet"),
        ([{"name": "other", "state": "active", "reason": ""}], "not accelerated yet"),
        ([{"name": "tokens", "state": "active", "reason": "counts"}], ""),
        ([{"name": "tokens", "state": "unproven", "reason": "no record"}], "tokens is unproven (no record)"),
    ],
)
def test_why_a_row_cannot_be_served(components: list[dict[str, str]], reason: str) -> None:
    assert runner._unavailable(ROWS[0], components) == reason


def test_table_shows_every_row_on_one_line_of_80() -> None:
    text = table(result(*(outcome(number) for number in range(len(ROWS)))))
    for row in ROWS:
        line = next(line for line in text.splitlines() if row.title in line)
        assert re.search(r"2\.00 ms +200 µs +10× +4\.0× +yes +yes", line)
    assert "A processor, 2 cores, Linux, litellm 1.106.2, answers: openai over TLS; 12 s" in text


def test_table_tells_differences_errors_and_reasons() -> None:
    text = table(
        result(
            outcome(0, difference="result[3]: 12 in stock, 13 accelerated"),
            outcome(1, stock=Times(), accelerated=Times(), error="In the stock worker:\nValueError: [no markup]"),
            outcome(2, served=0, unavailable="not accelerated yet"),
        ),
    )
    assert "result[3]: 12 in stock, 13 accelerated" in text
    assert "ValueError: [no markup]" in text
    assert f"Left to stock: {ROWS[2].title}: not accelerated yet" in text
    assert re.search(rf"{ROWS[0].title}.* no *$", text, re.MULTILINE)
    assert re.search(rf"{ROWS[1].title}.* failed *$", text, re.MULTILINE)


class Page(HTMLParser):
    """Collects a page's tags, and checks that they are closed in order."""

    # Closed by themselves, or allowed to stay open.
    OPEN = frozenset({"meta", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.OPEN:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_self_contained_and_well_formed() -> None:
    text = demo.page(result(outcome(0), outcome(1, served=0, unavailable="not accelerated yet")))
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"link", "script", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|src=|href=", text)
    assert "prefers-color-scheme: dark" in text


def test_page_draws_bars_to_scale() -> None:
    bars = [attributes for tag, attributes in Page(demo.page(result(outcome(0)))).tags if tag == "rect"]
    assert [(bar["class"], bar["width"]) for bar in bars] == [("stock", "100.00%"), ("accel", "10.00%")]


def test_page_escapes_what_it_tells() -> None:
    failed = outcome(1, stock=Times(), accelerated=Times(), error="<b>ValueError</b>")
    text = demo.page(result(outcome(0, difference="'<i>' in stock"), failed))
    assert "&lt;b&gt;ValueError&lt;/b&gt;" in text and "&lt;i&gt;" in text
    assert "<b>" not in text and "<i>" not in text
    assert "results differ" in text


def test_result_is_json() -> None:
    failed = outcome(1, stock=Times(), accelerated=Times(), error="no")
    told = json.loads(json.dumps(result(outcome(0), failed).to_dict()))
    first, second = told["rows"]
    assert told["ok"] is False
    assert first["stock"] == {"cpu_min": 0.002, "cpu_median": 0.003, "wall_min": 0.004, "wall_median": 0.005}
    assert (first["cpu_ratio"], first["equal"], first["rounds"]) == (pytest.approx(10.0), True, 2)
    assert (second["cpu_ratio"], second["equal"], second["error"]) == (None, None, "no")


# --- the command ---


@pytest.mark.parametrize(
    ("fields", "code"), [({}, 0), ({"difference": "result: 1 in stock, 2 accelerated"}, 1), ({"error": "no"}, 1)]
)
def test_exit_code_tells_whether_all_went_well(monkeypatch: pytest.MonkeyPatch, fields: Any, code: int) -> None:
    monkeypatch.setattr(demo, "run", lambda **how: result(outcome(0, **fields)))
    assert CliRunner().invoke(cli.commands, ["demo"]).exit_code == code
    assert CliRunner().invoke(cli.commands, ["demo", "--json"]).exit_code == code


def test_page_is_written_and_json_stands_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(demo, "run", lambda **how: result(outcome(0)))
    file = tmp_path / "demo.html"
    ran = CliRunner().invoke(cli.commands, ["demo", "--json", "--html", str(file)])
    assert json.loads(ran.stdout)["ok"] is True
    assert Page(file.read_text(encoding="utf-8")).tags


def test_a_dead_worker_is_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**how: Any) -> Result:
        raise demo.WorkerFailed("the stock worker ended with code 1\nits last words")

    monkeypatch.setattr(demo, "run", fail)
    ran = CliRunner().invoke(cli.commands, ["demo"])
    assert ran.exit_code == 1
    assert "its last words" in ran.stderr


def test_worker_that_cannot_start_shows_what_it_wrote(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "litellm.py").write_text("raise ImportError('a broken LiteLLM')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with runner.Worker("stock") as child, pytest.raises(demo.WorkerFailed, match="a broken LiteLLM") as caught:
        child.answer()
    assert str(caught.value).startswith("the stock worker ended with code 1\n")


def test_worker_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "litellm.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(runner, "ANSWER_SECONDS", 0.5)
    with runner.Worker("stock") as child, pytest.raises(demo.WorkerFailed, match=r"has not answered for 0\.5 s"):
        child.answer()
    with pytest.raises(ProcessLookupError):
        os.kill(child.process.pid, 0)


def test_worker_has_what_makes_it_trust_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(runner.subprocess, "Popen", lambda *_, env, **__: started.append(env))
    for environment in ({"SSL_CERT_FILE": "/authority"}, None):
        runner.Worker("stock", environment).errors.close()
    assert started[0]["SSL_CERT_FILE"] == "/authority"
    assert started[1].get("SSL_CERT_FILE") == os.environ.get("SSL_CERT_FILE")
