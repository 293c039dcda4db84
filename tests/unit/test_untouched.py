"""What must stay as it is: attributes of classes, names in namespaces, modules as wholes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import litellm.types.utils as types
import pytest
from litellm import utils

from litellm_accel.gateway.untouched import Untouched, looked_up


class Base:
    def read(self) -> None: ...


class Kind(Base):
    pass


def test_once_something_is_replaced_it_no_longer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, Any] = {"name": 1, "other": 2}
    module = ModuleType("module")
    module.name = 1  # type: ignore[attr-defined]
    kinds = (type("Bare", (), {}),)

    def made() -> Untouched:
        watched = Untouched(kinds, ["read"], [(held, "name"), (held, "other")], [module])
        assert watched.holds()
        return watched

    for change in (
        lambda part: part.setattr(kinds[0], "read", 1, raising=False),
        lambda part: part.setitem(held, "other", 3),
        lambda part: part.delitem(held, "name"),
        lambda part: part.setattr(module, "name", 2),
        lambda part: part.setattr(module, "more", 2, raising=False),
    ):
        watched = made()
        with pytest.MonkeyPatch.context() as part:
            change(part)
            assert not watched.holds()
        assert not watched.holds()


def test_what_is_not_a_packages_own_never_holds() -> None:
    stranger = ModuleType("stranger")
    vars(stranger)["function"] = Base.read
    assert Untouched((types.ModelResponseStream,), ("__getattr__", "model_dump")).holds()
    assert not Untouched((Kind,), ("read",)).holds()
    assert not Untouched(places=[({"read": Base.read}, "read")]).holds()
    assert not Untouched(modules=[stranger]).holds()
    assert not Untouched(given=False).holds()


def test_what_a_function_and_those_that_it_calls_look_up() -> None:
    found = looked_up(utils._is_streaming_request, ["litellm.utils"])
    assert {name for _, name in found} <= vars(utils).keys()
    assert all(held is vars(utils) for held, _ in found)
