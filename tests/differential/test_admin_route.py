"""The proxy's route for administrators, with the roles that LiteLLM itself gives to callers."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import litellm_accel
from litellm_accel import import_watch
from litellm_accel.operation import route

fastapi = pytest.importorskip("fastapi")
types = pytest.importorskip("litellm.proxy._types")
from fastapi.testclient import TestClient  # noqa: E402

ROLES = types.LitellmUserRoles


def test_of_all_roles_a_proxy_admin_alone_is_told(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    role: Any = None

    def authenticate() -> Any:
        return types.UserAPIKeyAuth(api_key="sk-somebody", user_role=role)

    proxy = ModuleType("a_proxy")
    vars(proxy)["app"] = fastapi.FastAPI()
    monkeypatch.setitem(sys.modules, "a_proxy", proxy)
    monkeypatch.setitem(sys.modules, route._AUTHENTICATION, SimpleNamespace(user_api_key_auth=authenticate))
    monkeypatch.setattr(route, "_PROXY", "a_proxy")
    monkeypatch.setattr(route.ROUTE, "_watch", import_watch.ImportWatch("a_proxy", route.ROUTE._imported))
    litellm_accel.accelerate("cost", config={"admin_route": True})
    client, told = TestClient(proxy.app), {}
    for role in (None, *(one.value for one in types.LitellmUserRoles)):
        told[role] = client.get(route.PATH).status_code
    assert told.pop("proxy_admin") == 200
    assert {None, "proxy_admin_viewer", "internal_user"} < told.keys() and set(told.values()) == {403}
