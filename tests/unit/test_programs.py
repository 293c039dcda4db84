"""The runner of programs: what the provider answers them, what counts as a difference, what is demanded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from litellm_accel.provider import Address, Provider, scenario

PROGRAMS = Path(__file__).parents[1] / "programs"


@pytest.fixture(autouse=True)
def runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner's modules, importable as they are for it."""
    monkeypatch.syspath_prepend(str(PROGRAMS))


def ask(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **members}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def answered(request: dict[str, Any], *rules: dict[str, Any]) -> Any:
    from answers import Script

    return scenario(Script(list(rules)).scenario(request))


def test_every_program_says_what_the_runner_needs() -> None:
    from answers import literal

    programs = sorted((PROGRAMS / "suite").glob("*.py"))
    assert len(programs) >= 17
    for program in programs:
        assert isinstance(literal(program, "REQUIREMENTS"), list), program
        assert 0 <= literal(program, "SERVED", 95) <= 100, program
        assert literal(program, "SHOWN"), program
        for rule in literal(program, "ANSWERS", []):
            assert rule.keys() <= {"in", "last", "answer"}, program


def test_a_rule_answers_by_words_and_by_turn() -> None:
    rule = {"in": ["one", "two"], "answer": [{"call": ["look", {"at": "it"}]}, "done"]}
    first = answered(ask("one, two"), rule)
    assert [call["function"]["name"] for call in first.tool_calls] == ["look"]
    assert json.loads(first.tool_calls[0]["function"]["arguments"]) == {"at": "it"}
    later = ask("one, two")
    later["messages"] += [{"role": "assistant", "content": None}, {"role": "tool", "content": "seen"}]
    assert answered(later, rule).content == "done"
    assert answered(ask("one"), rule).content == "auto"


def test_without_a_rule_the_request_says_what_it_wants() -> None:
    tools = [tool("first"), tool("second", city={"type": "string"}, days={"type": "integer"})]
    assert not answered(ask("hello", tools=tools)).tool_calls
    called = answered(ask("use second", tools=tools)).tool_calls[0]["function"]
    assert (called["name"], json.loads(called["arguments"])) == ("second", {"city": "Oslo", "days": 3})
    assert answered(ask("hello", tools=tools, tool_choice="required")).tool_calls[0]["function"]["name"] == "first"
    schema = {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "$defs": {"N": {"enum": ["a", "b"]}}}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert json.loads(answered(ask("hello", response_format=wanted)).content or "") == {"n": "a"}


def test_failures_are_asked_for_in_words() -> None:
    from answers import Script

    script = Script([])
    assert script.scenario(ask("please fail with 429")) == "error-429"
    assert script.scenario(ask("refuse the key")) == "invalid-key"
    once = [scenario(script.scenario(ask("fail once with 500"))).status for _ in range(3)]
    assert once == [500, 200, 500]


def test_the_provider_answers_as_a_script_says(tmp_path: Path) -> None:
    import http.client

    file = tmp_path / "script.py"
    file.write_text(
        "def script(word):\n    return lambda r: 'error-418' if word in r['messages'][-1]['content'] else ''\n"
    )
    with Provider(script=(file, "tea")) as provider:
        statuses = []
        for text in ("tea", "answer as: error-503", "hello"):
            connection = http.client.HTTPConnection(provider.host, provider.port)
            connection.request("POST", "/v1/chat/completions", json.dumps(ask(text)))
            statuses.append(connection.getresponse().status)
            connection.close()
    assert statuses == [418, 503, 200]


def outcome(**members: Any) -> Any:
    from sides import Outcome

    return Outcome("program", states={"chat": "active"}, **members)


def test_what_is_learned_after_the_first_rounds_was_not_served() -> None:
    one = outcome(
        served=90,
        declined={
            "learned from": 18,
            "first of its kind: argument 'seed' differs each time": 2,
            "reply left to stock": 7,
            "messages": 10,
            "unlearnable: x": 1,
            "nothing learned: y": 1,
        },
    )
    one.first_served, one.first_declined = 0, {"learned from": 15, "messages": 5}
    assert (one.share, one.learning, one.handed_over) == (90.0, 20, 7)
    assert one.left == {
        "learned from": 3,
        "first of its kind: argument 'seed' differs each time": 2,
        "messages": 5,
    }


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"served": 95, "declined": {"messages": 5}}, ""),
        ({"served": 94, "declined": {"messages": 6}}, "served 94.0 %"),
        ({"served": 100, "differences": ["start: x"]}, "start: x"),
        ({"served": 100, "error": "it ended"}, "cannot run: it ended"),
    ],
)
def test_verdict(tmp_path: Path, members: dict[str, Any], wrong: str) -> None:
    from run import verdict

    program = tmp_path / "program.py"
    program.write_text("SERVED = 95\n")
    found = verdict(outcome(**members), program)
    assert (found == []) if not wrong else wrong in found[0]


def test_a_page_names_results_versions_and_what_was_left(tmp_path: Path) -> None:
    from dataclasses import asdict

    from page import written

    one = outcome(requests=10, served=8, declined={"messages": 2}, versions={"litellm": "1.2.3"}, measured=5)
    one.seconds = {"stock": 0.02, "accelerated": 0.005}
    held = {"day": "2026-12-01", "tree": "0123", "proven": False, **asdict(one)}
    (tmp_path / "program.json").write_text(json.dumps(held))
    page = written(tmp_path, {"program": 75, "absent": 95})
    assert "| program | 2026-12-01 | yes | 10 | 80.0 % (75 %) | 0 | 0 | 4.00, 1.00 ms | 4.0× |" in page
    assert "- program: 2 messages" in page and "litellm 1.2.3; our tree 0123" in page and "absent" not in page


def test_masked_addresses_and_clocks_are_no_difference_and_bodies_are() -> None:
    from types import SimpleNamespace

    from sides import _masked

    def seen(port: int, words: str) -> Any:
        request = {"method": "POST", "path": "/", "headers": [["host", f"127.0.0.1:{port}"]], "body": words}
        provider = Address("127.0.0.1", 1, port, secure=True)
        side: Any = SimpleNamespace(home=f"/tmp/{port}", environment=PROGRAMS, provider=provider)
        shown = {"outcome": {"_response_ms": port / 7, "home": f"/tmp/{port}"}, "requests": [request]}
        return _masked(shown, side, [], False)

    assert seen(40001, "a") == seen(40002, "a") != seen(40001, "b")


def test_the_wheel_is_another_when_the_tree_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import environment

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    module = tmp_path / "litellm_accel" / "x.py"
    module.parent.mkdir()
    module.write_text("a = 1\n")
    before = environment.digest_of_tree()
    (module.parent / "x.so").write_text("compiled")
    assert environment.digest_of_tree() == before
    module.write_text("a = 2\n")
    assert environment.digest_of_tree() != before
