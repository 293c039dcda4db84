"""The router's deployments as the proxy asks for them: the entries and objects that LiteLLM would find and make."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from litellm import Router

from litellm_accel import hot, patching
from litellm_accel.gateway import deployment_lists, deployment_objects

_PARAMS = {"model": "openai/gpt-4o-mini", "api_key": "sk-a"}
_ROWS: list[dict[str, Any]] = [
    {"model_name": "gpt", "litellm_params": _PARAMS, "model_info": {"id": "one"}},
    {
        "model_name": "gpt",
        "litellm_params": {**_PARAMS, "rpm": 5, "timeout": 2.5, "own": "b"},
        "model_info": {"id": "two"},
    },
    {"model_name": "tagged", "litellm_params": {**_PARAMS, "tags": ["a"]}, "model_info": {"id": "tagged"}},
    {"model_name": "priced", "litellm_params": {**_PARAMS, "input_cost_per_token": 1e-6}, "model_info": {"id": "pri"}},
    {"model_name": "warned", "litellm_params": {**_PARAMS, "drop_params": "perhaps"}, "model_info": {"id": "warned"}},
    {"model_name": "any/*", "litellm_params": {**_PARAMS, "model": "openai/*"}, "model_info": {"id": "any"}},
    {
        "model_name": "inner",
        "litellm_params": _PARAMS,
        "model_info": {"id": "team", "team_id": "t", "team_public_model_name": "outer"},
    },
]
_ALIASES = {"alias": "gpt", "hidden": {"model": "tagged", "hidden": True}}


class Asked:
    """What is tested, LiteLLM's method, and how often that is asked."""

    def __init__(self, module: ModuleType, kind: str, door: str, target: str) -> None:
        try:
            self.stock = patching.stock_copy(patching.resolve(target))
        except patching.PatchError:
            pytest.skip("a release whose routers have no core")
        if not module.is_known(self.stock):
            pytest.skip("a release in which it is another")
        self.gate = hot.gate.Gate("proxy")
        self.gate.switch(True)
        self.times = 0
        self.answering: Any = getattr(module, kind)(self.gate, self.stock)
        self.answering._stock = self
        self.door: Callable[..., Any] = getattr(self.answering, door)

    def __call__(self, *given: Any) -> Any:
        self.times += 1
        return self.stock(*given)

    def is_asked(self, *given: Any) -> bool:
        """Return whether LiteLLM was asked; fails unless the answer is LiteLLM's."""
        expected, before = said(self.stock, *given), self.times
        answer = said(self.door, *given)
        assert answer == expected
        assert type(answer) is type(expected)
        assert not self.gate.faults
        return self.times > before


def said(ask: Callable[..., Any], *given: Any) -> Any:
    try:
        return ask(*given)
    except Exception as error:
        return type(error), str(error)


@pytest.fixture
def lists() -> Asked:
    return Asked(deployment_lists, "DeploymentLists", "find", deployment_lists.TARGET)


@pytest.fixture
def all_lists() -> Asked:
    return Asked(deployment_lists, "DeploymentLists", "find_all", deployment_lists.TARGET_OF_ALL)


@pytest.fixture
def objects() -> Asked:
    return Asked(deployment_objects, "DeploymentObjects", "make", deployment_objects.TARGET)


def router(**more: Any) -> Any:
    return Router(model_list=_ROWS, model_group_alias=_ALIASES, **more)


def registry_of(made: Any) -> Any:
    return made.registry()._router


_NAMES: list[tuple[Any, Any, bool]] = [
    ("gpt", None, True),
    ("gpt", "t", True),
    ("tagged", None, True),
    ("outer", "t", True),
    ("outer", None, True),
    ("nobody", None, True),
    ("any/thing", None, False),
    ("alias", None, False),
    ("hidden", None, False),
    (None, None, False),
    (3, None, False),
    ("gpt", 3, False),
    ([], None, False),
]


@pytest.mark.parametrize(("name", "team", "is_kept"), _NAMES)
def test_lists_are_the_same_entries(lists: Asked, name: Any, team: Any, is_kept: bool) -> None:
    registry = registry_of(router())
    assert lists.is_asked(registry, name, team)
    assert lists.is_asked(registry, name, team) is not is_kept
    if is_kept:
        first, second = lists.door(registry, name, team), lists.door(registry, name, team)
        assert first is not second
        assert all(one is two for one, two in zip(first, lists.stock(registry, name, team), strict=True))
        first.append("a caller's")
        assert lists.door(registry, name, team) == second


@pytest.mark.parametrize(("name", "team", "is_kept"), _NAMES)
@pytest.mark.parametrize("alias", [None, "alias", "another"])
def test_lists_of_all_are_the_same_entries(all_lists: Asked, name: Any, team: Any, is_kept: bool, alias: Any) -> None:
    registry = registry_of(router())
    assert all_lists.is_asked(registry, name, alias, team)
    is_kept = alias is None and (is_kept or name == "any/thing")
    assert all_lists.is_asked(registry, name, alias, team) is not is_kept
    if is_kept:
        first, stock = all_lists.door(registry, name, alias, team), all_lists.stock(registry, name, alias, team)
        assert all(one is two for one, two in zip(first, stock, strict=True))
        first.append("a caller's")
        assert not all_lists.is_asked(registry, name, alias, team)


def test_lists_follow_each_change_of_the_router(lists: Asked, all_lists: Asked) -> None:
    made = router()
    registry = registry_of(made)
    chance = random.Random(5)
    changes: list[Callable[[], Any]] = [
        lambda: made.set_model_list(_ROWS[: chance.randrange(1, 4)]),
        lambda: made.set_model_list(_ROWS),
        lambda: registry._core_model_list.pop(),
        lambda: registry._core_model_list[0]["litellm_params"].update(api_key=str(chance.random())),
        lambda: registry._core_model_name_to_deployment_indices.update(gpt=[0]),
        lambda: registry._core_team_model_to_deployment_indices.update({("t", "gpt"): [0]}),
        lambda: registry._core_model_group_alias.update(gpt="tagged"),
        lambda: registry._core_model_group_alias.pop("gpt", None),
    ]
    kept = 0
    for _ in range(60):
        chance.choice(changes)()
        for name, team, _ in [*chance.sample(_NAMES, 4), _NAMES[0]]:
            lists.is_asked(registry, name, team)
            kept += not lists.is_asked(registry, name, team)
            all_lists.is_asked(registry, name, None, team)
            kept += not all_lists.is_asked(registry, name, None, team)
    assert kept > 120


def test_a_group_of_groups_is_litellm_s(lists: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registry_of(router())
    lists.door(registry, "gpt")
    assert not lists.is_asked(registry, "gpt")
    monkeypatch.setattr(registry, "_core_routing_groups", {"group": None})
    before = lists.times
    said(lists.door, registry, "gpt")
    assert lists.times > before


def test_while_a_list_is_built_litellm_is_asked(lists: Asked) -> None:
    registry = registry_of(router())
    lists.door(registry, "gpt")
    registry._core_model_list.begin_build(replacing=False)
    assert lists.is_asked(registry, "gpt")
    registry._core_model_list.end_build()
    assert not lists.is_asked(registry, "gpt")


@pytest.mark.parametrize("name", ["_rows", "_list_scope", "_lookup"])
@pytest.mark.parametrize("is_on_class", [True, False])
def test_somebody_s_methods_of_lists_are_called(
    lists: Asked, name: str, is_on_class: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_of(router())
    lists.door(registry, "gpt")
    assert not lists.is_asked(registry, "gpt")
    own = getattr(registry, name)
    owner = type(registry) if is_on_class else registry
    monkeypatch.setattr(owner, name, lambda *given, **more: own(*given[is_on_class:], **more))
    assert lists.is_asked(registry, "gpt")


def test_each_router_has_its_own_and_ends(lists: Asked, objects: Asked) -> None:
    registry, other = registry_of(router()), registry_of(Router(model_list=_ROWS[1:]))
    for asked, given in ((lists, ("gpt",)), (objects, ("two",))):
        for held in (registry, other, registry, other):
            asked.is_asked(held, *given)
        assert not asked.is_asked(registry, *given)
    assert len(lists.door(registry, "gpt")) == 2
    assert len(lists.door(other, "gpt")) == 1
    kept = weakref.ref(other)
    del held, other
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(
    ("number", "is_kept"),
    [
        ("one", True),
        ("two", True),
        ("pri", True),
        ("any", True),
        ("team", True),
        ("tagged", False),
        ("warned", False),
        ("nobody", False),
        (None, False),
        (3, False),
        ([], False),
    ],
)
def test_objects_are_the_same(objects: Asked, number: Any, is_kept: bool) -> None:
    registry = registry_of(router())
    said(objects.door, registry, number)
    assert objects.is_asked(registry, number) is not is_kept
    if not is_kept:
        return
    one, two, stock = (make(registry, number) for make in (objects.door, objects.door, objects.stock))
    assert parts(one) == parts(two) == parts(stock)
    assert one.model_dump() == stock.model_dump()
    one.litellm_params.model = one.model_info.own = "a caller's"
    one.litellm_params["another"] = 1
    assert parts(objects.door(registry, number)) == parts(stock)
    assert objects.door(registry, number).litellm_params is not two.litellm_params


def parts(made: Any) -> Any:
    """Return all that makes up an object, in its order and with its types."""
    if not hasattr(made, "__pydantic_fields_set__"):
        return type(made), made
    extra = made.__pydantic_extra__
    named = {**vars(made), **({} if extra is None else extra)}
    return (
        type(made),
        [(name, parts(value)) for name, value in named.items()],
        made.__pydantic_fields_set__,
        made.__pydantic_private__,
        None if extra is None else list(extra),
    )


def test_objects_follow_each_change_of_their_entry(objects: Asked) -> None:
    made = router()
    registry = registry_of(made)
    chance = random.Random(7)
    kept = 0
    for _ in range(60):
        entry = chance.choice(registry._core_model_list)
        name, value = chance.choice([("rpm", 1), ("rpm", 2), ("own", "a"), ("own", 1), ("own", True), ("tags", ["b"])])
        entry["litellm_params"][name] = value
        for number in ("one", "two", "pri"):
            stock = objects.stock(registry, number)
            assert parts(objects.door(registry, number)) == parts(stock)
            before = objects.times
            assert parts(objects.door(registry, number)) == parts(stock)
            kept += objects.times == before
    assert kept > 60
    assert not objects.gate.faults


@pytest.mark.parametrize("name", ["Deployment", "LiteLLM_Params", "ModelInfo"])
def test_somebody_s_classes_are_called(objects: Asked, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from litellm.types import router as types

    registry = registry_of(router())
    objects.door(registry, "one")
    assert not objects.is_asked(registry, "one")
    kind = getattr(types, name)
    stock = kind.__init__
    monkeypatch.setattr(kind, "__init__", lambda self, *given, **more: stock(self, *given, **more))
    assert objects.is_asked(registry, "one")


def test_switched_off_litellm_is_asked(lists: Asked, objects: Asked) -> None:
    registry = registry_of(router())
    for asked, given in ((lists, "gpt"), (objects, "one")):
        asked.door(registry, given)
        assert not asked.is_asked(registry, given)
        asked.gate.switch(False)
        assert asked.is_asked(registry, given)


def test_a_fault_leaves_it_to_litellm(lists: Asked, objects: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registry_of(router())
    for asked, given in ((lists, "gpt"), (objects, "one")):
        monkeypatch.setattr(asked.answering, "_untouched", None)
        assert asked.door(registry, given) == asked.stock(registry, given)
        assert asked.gate.faults


def test_validators_made_anew_are_asked(objects: Asked) -> None:
    from litellm.types.router import Deployment

    registry = registry_of(router())
    objects.door(registry, "one")
    assert not objects.is_asked(registry, "one")
    Deployment.model_rebuild(force=True)
    assert objects.is_asked(registry, "one")
    assert not objects.is_asked(registry, "one")
