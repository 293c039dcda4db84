"""The parts of a payload that are made of each answer, and what is learned for them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from litellm.types.utils import Choices, Message, ModelResponse, Usage
from pydantic import BaseModel, field_serializer

from litellm_accel.fastpath.notify import model_dumps
from litellm_accel.fastpath.notify.model_dumps import ModelDumps

NUMBERS = ["10", "-1", " 7 ", "+7", "1_000", "٣", ""]
TEXTS = ["197ms", "2020-10-01", "ma=86400", "--1", "1_", "_1", "1-", "é1", "12 3", None, "1\x00"]


class Shouting(BaseModel):
    text: str = "a"

    @field_serializer("text")
    def shout(self, text: str) -> str:
        return text.upper()


def answer(content: Any = "Hello", **more: Any) -> ModelResponse:
    message = Message(content=content, role="assistant")
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    made = ModelResponse(id="1", created=1, model="m", choices=[Choices(index=0, message=message)], usage=usage)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def as_int(value: Any) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError):
        return value


@pytest.mark.parametrize("value", [*NUMBERS, *TEXTS, 5, 1.5], ids=repr)
def test_numbers_are_what_python_takes_for_numbers(hot: Callable[[str], ModuleType], value: Any) -> None:
    made = hot("payload_parts").numbered({"a": value, "b": value}, (("x", "a", True), ("y", "b", False)))
    assert repr(made) == repr({"x": as_int(value), "y": value})


def test_answers_are_dumped_as_pydantic_does(hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_dumps, "payload_parts", hot("payload_parts"))
    dumps, asked = ModelDumps(), []
    method = ModelResponse.model_dump
    monkeypatch.setattr(ModelResponse, "model_dump", lambda model: asked.append(model) or method(model))
    dumps.made(answer())
    for made in (answer("Another"), answer(None), answer(None), answer(note="b"), answer(note="c")):
        assert repr(dumps.made(made)) == repr(method(made))
    assert len(asked) == 3  # the first, the first without a text, and the first with a note
    odd = answer()
    odd.choices[0].message.content = 5  # of which pydantic warns
    for made in (odd, odd, answer(note={"a": 1}), answer(note=Shouting()), answer(note=Shouting())):
        asked.clear()
        with pytest.warns(UserWarning) if made is odd else pytest.MonkeyPatch.context():
            assert repr(dumps.made(made)) == repr(method(made))
        assert asked == [made]
    monkeypatch.setattr(ModelResponse, "model_dump", lambda model: {"patched": 1})
    assert dumps.made(answer()) == {"patched": 1}
