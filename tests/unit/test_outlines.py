"""Outlines of texts and numbers: what counts as compared, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_accel.fastpath.plans.outlines import Clues, Outlines, of_arguments, of_reply, of_request, of_text

LIMIT = 400


def asks(text: str, extra: tuple[str, ...] = ("hidden",)) -> bool:
    """Code that nobody knows."""
    if len(text) > LIMIT or len(text) == 77:
        return True
    return "Secret" in text or text in {"first", "second"}


@pytest.fixture
def clues() -> Clues:
    found = Clues()
    found.read(asks.__code__, globals())
    return found


def covered(one: Any, two: Any) -> bool:
    """Return whether ``two`` counts as compared once ``one`` was."""
    outlines = Outlines()
    outlines.add(one)
    assert outlines.cover(one)
    return outlines.cover(two)


def test_texts_of_about_one_size_are_alike() -> None:
    clues = Clues()
    assert covered(of_text(b'["Hello, what is"]', "x", clues), of_text(b'["Hullo, what is it"]', "x", clues))


@pytest.mark.parametrize(
    "other",
    [
        b'["Hello you, how are you today, and yesterday?"]',
        '["Hällo you"]'.encode(),
        b'["Hello, 1"]',
        b'["hello you"]',
        b'["Hello yo "]',
        b'["Hell", ""]',
        b'["Hello\\nyo"]',
        b'["Hello \\"y"]',
    ],
)
def test_other_sizes_and_sorts_of_characters_are_told_apart(other: bytes) -> None:
    clues = Clues()
    assert not covered(of_text(b'["Hello you"]', "x", clues), of_text(other, "x", clues))


def test_what_lies_between_is_compared() -> None:
    clues, outlines = Clues(), Outlines()
    for length in (10, 1000):
        outlines.add(of_text(b"x" * length, "x", clues))
    assert outlines.cover(of_text(b"x" * 300, "x", clues))
    assert not outlines.cover(of_text(b"x" * 3000, "x", clues))
    assert not outlines.cover(of_text(b"x" * 5, "x", clues))


def test_numbers_that_code_names_are_limits(clues: Clues) -> None:
    def number(value: int, found: Clues) -> Any:
        return {"x": found.number(value)}

    assert covered(number(399, Clues()), number(401, Clues()))
    assert not covered(number(399, clues), number(401, clues))
    assert not covered(number(76, clues), number(77, clues))
    assert not covered(number(78, clues), number(77, clues))
    assert covered(number(401, clues), number(402, clues))
    assert not covered(number(3, clues), number(4, clues))  # small ones are told apart one by one


@pytest.mark.parametrize(
    ("said", "named"),
    [("secret", "Secret"), ("SECRET", "Secret"), ("first", "first"), ("other", None), ("hidden", None)],
)
def test_words_that_code_names_are_looked_for(clues: Clues, said: str, named: str | None) -> None:
    """However they are written; a default value is no constant of the code."""
    one, two = (of_text(f'["say {word} to me"]'.encode(), "x", clues) for word in ("nothing", said))
    assert [name for name in two if name not in one] == ([] if named is None else [f"x, {named!r}"])


def test_requests_are_told_apart_by_roles_and_free_arguments() -> None:
    clues = Clues()
    user, system = {"role": "user", "content": "x"}, {"role": "system", "content": "x"}

    def request(*messages: Any, **free: bytes) -> Any:
        return of_request(list(messages), b"[]", free, clues)

    assert covered(request(user), request(user))
    assert not covered(request(user), request(system))
    assert not covered(request(user, system), request(system, user))
    assert not covered(request(user), request(user, user))
    assert not covered(request(user, temperature=b"0.5"), request(user, temperature=b"0.7"))
    assert covered(request(user, seed=b"100"), request(user, seed=b"101"))
    assert not covered(request(user, seed=b"100"), request(user, seed=b"1000"))
    assert covered(request(user, user=b'"ann"'), request(user, user=b'"bob"'))


def test_replies_and_arguments_are_told_apart_by_their_numbers() -> None:
    clues = Clues()
    one, two, three = (of_reply(b'{"prompt_tokens": %d}' % number, clues) for number in (100, 110, 900))
    assert covered(one, two)
    assert not covered(one, three)
    assert not covered(of_arguments((5, "x"), clues), of_arguments((50, "x"), clues))
    assert covered(of_arguments((50, "x"), clues), of_arguments((51, "y"), clues))
