"""Trees made in many threads at a time."""

import ast
import threading

import pytest

from litellm_accel.stock import syntax


def test_another_threads_tree_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, failures = ast.parse, iter((SystemError("AST constructor recursion depth mismatch"),) * 3)

    def disturbed(*args: object, **given: object) -> object:
        for failure in failures:
            raise failure
        return parse(*args, **given)  # type: ignore[call-overload]

    monkeypatch.setattr(ast, "parse", disturbed)
    assert ast.dump(syntax.expression("a.b")) == ast.dump(parse("a.b", mode="eval").body)


def test_what_cannot_be_made_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SyntaxError):
        syntax.module("a b")

    def failing(*args: object, **given: object) -> object:
        raise SystemError

    monkeypatch.setattr(ast, "parse", failing)
    with pytest.raises(SystemError):
        syntax.module("a")


def test_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    within, parse = threading.Lock(), ast.parse

    def alone(*args: object, **given: object) -> object:
        assert within.acquire(blocking=False)
        try:
            return parse(*args, **given)  # type: ignore[call-overload]
        finally:
            within.release()

    monkeypatch.setattr(ast, "parse", alone)
    source, made = "a = [1, 2, {3: (4, 5)}]\n" * 200, []
    threads = [threading.Thread(target=lambda: made.append(syntax.module(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert syntax.code(made[0], "here").co_filename == "here"
