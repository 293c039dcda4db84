"""What of ``verify --component proxy`` needs no proxy: what is played, what is masked, what is a difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from litellm_accel.verify.command import verify_command
from litellm_accel.verify.comparison import differ
from litellm_accel.verify.proxy import configs, masks, play, proof, scripts
from litellm_accel.verify.proxy.script import Ask


def test_there_are_enough_runs_and_each_has_one_name() -> None:
    runs = scripts.runs()
    assert len({run.id for run in runs}) == len(runs) >= 250
    assert {run.config.name for run in runs} == {config.name for config in configs.CONFIGS}
    assert {run.id for run in scripts.short()} < {run.id for run in runs}


def test_the_end_of_each_configuration_comes_last() -> None:
    last = {run.config.name: run for run in scripts.runs()}
    assert all(run.scenario.ends for run in last.values())
    assert sum(run.scenario.ends for run in scripts.runs()) == len(last)


def test_patterns_name_runs_and_scripts() -> None:
    assert [run.id for run in proof.matching(["everywhere/chat@plain"])] == ["everywhere/chat@plain"]
    assert len(proof.matching(["everywhere/chat"])) == len(configs.CONFIGS)
    assert proof.matching(["nothing"]) == []


def test_each_request_can_be_sent() -> None:
    for script in scripts.SCRIPTS:
        for ask in script.asks:
            assert b"\r\n\r\n" in play._bytes(ask, 3)
    sent = play._bytes(Ask({"text": "number {n}"}, headers=("X-One: 1",)), 7)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert json.loads(body) == {"text": "number 7"}
    assert b"X-One: 1" in head and b"Content-Length: %d" % len(body) in head


def _answer(body: bytes, *headers: bytes) -> bytes:
    lines = (b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (
            _answer(b'{"a": 1}', b"x-litellm-call-id: " + b"0" * 8),
            _answer(b'{"a": 2}', b"x-litellm-call-id: " + b"0" * 8),
        ),
        (_answer(b"{}", b"x-one: 1", b"x-two: 2"), _answer(b"{}", b"x-two: 2", b"x-one: 1")),
        (_answer(b"{}", b"x-one: 1"), _answer(b"{}")),
        (_answer(b"{}") * 2, _answer(b"{}")),
        (_answer(b"{}"), _answer(b"{}").replace(b"200", b"201")),
        (_CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", _CHUNKED + b"3\r\nabc\r\n"),
        (_CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", _CHUNKED + b"2\r\nab\r\n0\r\n\r\n"),
        (b"no HTTP", b"something else"),
        (_answer(b"{}"), b""),
    ],
)
def test_answers_that_differ(one: bytes, two: bytes) -> None:
    assert list(differ(masks.answer(one), masks.answer(two)))
    assert not list(differ(masks.answer(one), masks.answer(one)))


def test_what_is_measured_or_drawn_is_no_difference() -> None:
    ids = ("7c1f0a54-e2b9-4d6f-8a3b-e0d1c5927f46", "00000000-e2b9-4d6f-8a3b-e0d1c5927f46")
    made = [
        _answer(
            json.dumps({"id": found, "created": number, "took": f"took {number}.5 s at 127.0.0.1:{number}"}).encode(),
            f"x-litellm-response-duration-ms: {number}".encode(),
            f"x-litellm-call-id: {found}".encode(),
        )
        for number, found in enumerate(ids, 1000)
    ]
    assert masks.answer(made[0]) == masks.answer(made[1])


def test_the_chunks_of_a_body_are_no_difference() -> None:
    one, two = _CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", _CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    assert masks.answer(one) == masks.answer(two)


def test_rows_are_compared_to_the_last_digit_and_in_no_order() -> None:
    rows: list[dict[str, Any]] = [{"spend": 0.1, "startTime": "a"}, {"spend": 0.2, "startTime": "b"}]
    assert masks.rows({"T": rows}) == masks.rows({"T": rows[::-1]})
    assert masks.rows({"T": rows}) != masks.rows({"T": [rows[0], {**rows[1], "spend": 0.20000000000000004}]})
    assert masks.rows({"T": rows}) != masks.rows({"T": [*rows, rows[0]]})
    assert masks.rows({"T": rows}) == masks.rows({"T": [{**row, "startTime": "c"} for row in rows]})


@pytest.mark.parametrize(
    ("mask", "one", "two"),
    [
        (masks.log, "a\nTraceback (most recent call last):\n  File x\n    y\nError: z\n", "Error: z\na\n"),
        (masks.log, "INFO: Finished server process [12]\n", "INFO: Finished server process [3456]\n"),
        (masks.metrics, "# HELP a\na_total 1\na_latency_sum 3\n", "a_total 1\na_latency_sum 4\n"),
    ],
)
def test_texts_that_are_the_same(mask: Callable[[str], Any], one: str, two: str) -> None:
    assert mask(one) == mask(two)


def test_logs_and_metrics_that_differ() -> None:
    assert masks.log("a\na\n") != masks.log("a\n")
    assert masks.log("Error: z\n") != masks.log("Error: y\n")
    assert masks.metrics("a_total 1\n") != masks.metrics("a_total 2\n")


@pytest.mark.parametrize(("left", "is_same"), [(595, True), (300, False), (-1, False)])
def test_how_long_a_key_is_kept(left: int, is_same: bool) -> None:
    one = masks.keys({"key": ("string", 600, "1")})
    two = masks.keys({"key": ("string", left, "1")})
    assert (play._with_times_of(one, two) == two) is is_same


def test_the_command_says_that_there_is_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(proof, "missing", lambda: "litellm[proxy] is not installed: there is no apscheduler")
    ran = CliRunner().invoke(verify_command, ["--component", "proxy", "--records", str(tmp_path)])
    assert ran.exit_code == 1
    assert "litellm[proxy] is not installed" in ran.output
