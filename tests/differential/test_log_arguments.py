"""What the access log tells of a request: LiteLLM's own answers, and asked once for what holds no credential."""

from __future__ import annotations

import re
from typing import Any

import pytest

from litellm_accel import hot, patching
from litellm_accel.gateway import log_arguments
from litellm_accel.gateway.log_arguments import LogArguments

try:
    STOCK = patching.stock_copy(patching.resolve(log_arguments.TARGET))
except patching.PatchError:
    pytest.skip("a release without it", allow_module_level=True)

_KEY = "sk-" + "a1" * 16


class Text(str):
    """A text of a class of its own."""


def arguments(switched: bool = True) -> tuple[LogArguments, list[Any]]:
    """Return what is tested, and the texts that LiteLLM was asked about meanwhile."""
    gate = hot.gate.Gate("proxy")
    gate.switch(switched)
    asked: list[Any] = []

    def stock(value: Any) -> Any:
        asked.append(value)
        return STOCK(value)

    made = LogArguments(gate, STOCK)
    made._stock = stock  # type: ignore[assignment]
    return made, asked


@pytest.mark.parametrize(
    ("value", "times"),
    [
        ("/v1/chat/completions", 1),
        ("127.0.0.1:50000", 1),
        ("", 1),
        ("/v1/models?a=b%20c", 1),
        (f"/v1/models?key={_KEY}", 3),
        (f"/{_KEY}", 3),
        ("/v1/models?k%65y=sk%2D" + "a1" * 16, 3),
        ("/" + "a" * 200, 3),
        ("/v1/models?" + "a=b&" * 200, 3),
        (Text("/v1/models"), 3),
    ],
)
def test_the_same(value: str, times: int) -> None:
    made, asked = arguments()
    assert [made.scrub(value) for _ in range(3)] == [STOCK(value)] * 3
    assert len(asked) == times


def test_no_more_is_kept_than_is_said() -> None:
    made, _ = arguments()
    for number in range(3 * log_arguments._MAX_KNOWN):
        made.scrub(f"/{number}")
    assert len(made._known) <= log_arguments._MAX_KNOWN


def test_litellm_is_asked_while_the_component_is_off() -> None:
    made, asked = arguments(switched=False)
    assert [made.scrub("/a"), made.scrub("/a")] == ["/a", "/a"]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("litellm._logging._hides_a_credential", lambda value: True),
        ("litellm.litellm_core_utils.secret_redaction._SECRET_RE", re.compile("models")),
    ],
)
def test_what_somebody_puts_in_the_place_of_litellms_is_asked(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    made, asked = arguments()
    assert [made.scrub("/models"), made.scrub("/models")] == ["/models"] * 2
    monkeypatch.setattr(name, value)
    assert made.scrub("/models") == STOCK("/models") != "/models"
    assert len(asked) == 2


def test_what_litellm_looks_at_is_known() -> None:
    assert log_arguments.is_known(STOCK)
