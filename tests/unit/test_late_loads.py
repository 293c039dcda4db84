"""What a module or a model loads when it is first needed, told apart from what somebody put there."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from litellm_accel.stock.late_loads import is_late_load

MISSING = object()


def put_off() -> type[pydantic.BaseModel]:
    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(defer_build=True)
        text: str = ""

    return Model


def changed(before: dict[str, Any], model: type) -> list[str]:
    return [name for name, value in vars(model).items() if before.get(name, MISSING) is not value]


def test_a_model_that_is_built_for_its_first_object_has_loaded() -> None:
    model = put_off()
    before = dict(vars(model))
    model(text="a")
    names = changed(before, model)
    assert "__pydantic_validator__" in names
    assert [name for name in names if not is_late_load(model, name, before.get(name, MISSING), MISSING)] == []


@pytest.mark.parametrize("name", ["__pydantic_validator__", "model_dump", "__signature__"])
def test_what_somebody_puts_into_a_model_is_no_load(name: str) -> None:
    class Validator:
        """Somebody's."""

    model = put_off()
    before = dict(vars(model))
    model(text="a")
    setattr(model, name, Validator())
    assert not is_late_load(model, name, before.get(name, MISSING), MISSING)


def test_a_model_that_is_built_again_is_no_load() -> None:
    model = put_off()
    model(text="a")
    before = dict(vars(model))
    model.model_rebuild(force=True)
    assert not is_late_load(model, "__pydantic_validator__", before["__pydantic_validator__"], MISSING)
