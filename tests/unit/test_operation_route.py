"""The proxy's route for administrators, in an application made as LiteLLM's proxy makes its own."""

from __future__ import annotations

import enum
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import litellm_accel
from litellm_accel import import_watch
from litellm_accel.operation import route
from made_up import Part, Register

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

PROXY = """
import fastapi
app = fastapi.FastAPI()

@app.get("/{whatever:path}")
def page(whatever: str):
    return "the proxy's own"
"""


class Role(enum.Enum):
    PROXY_ADMIN = "proxy_admin"
    INTERNAL_USER = "internal_user"


async def authenticate(request: fastapi.Request) -> Any:
    key = request.headers.get("authorization", "")
    if not key:
        raise fastapi.HTTPException(401, "no key")
    return SimpleNamespace(user_role=Role.PROXY_ADMIN if key == "Bearer sk-master" else Role.INTERNAL_USER)


@pytest.fixture(autouse=True)
def gateway(tmp_path: Path, victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with what the route takes from LiteLLM's proxy; it is not imported yet."""
    (tmp_path / "gateway.py").write_text(PROXY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(route, "_PROXY", "gateway")
    monkeypatch.setattr(route.ROUTE, "_watch", import_watch.ImportWatch("gateway", route.ROUTE._imported))
    monkeypatch.setitem(sys.modules, route._AUTHENTICATION, SimpleNamespace(user_api_key_auth=authenticate))
    monkeypatch.setitem(sys.modules, "litellm.proxy._types", SimpleNamespace(LitellmUserRoles=Role))
    monkeypatch.delitem(sys.modules, "gateway", raising=False)
    register(Part("one", "double"))


def ask(key: str | None = "sk-master") -> Any:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return TestClient(sys.modules["gateway"].app).get("/litellm-accel/status", headers=headers)


@pytest.mark.parametrize("is_early", [True, False])
def test_admins_get_what_the_socket_tells_and_nobody_else_does(is_early: bool, victim: ModuleType) -> None:
    if is_early:
        importlib.import_module("gateway")
    litellm_accel.accelerate(config={"admin_route": True})
    victim.double(3)
    importlib.import_module("gateway")
    told = ask()
    assert told.status_code == 200 and told.headers["content-type"] == "application/json"
    found = told.json()
    assert found["process"] == os.getpid() and found["stats"]["one"]["served"] == 1
    assert found.keys() == {"process", "version", "report", "stats", "health", "recommendations"}
    assert ask("sk-someone").status_code == 403 and ask(None).status_code == 401
    assert "/litellm-accel/status" not in sys.modules["gateway"].app.openapi()["paths"]


def test_the_route_is_there_while_it_is_asked_for() -> None:
    proxy = importlib.import_module("gateway")
    litellm_accel.accelerate()
    own = list(proxy.app.router.routes)
    assert ask().json() == "the proxy's own"
    litellm_accel.configure(admin_route=True)
    assert ask().json()["process"] == os.getpid()
    litellm_accel.configure(admin_route=False)
    assert ask().json() == "the proxy's own" and proxy.app.router.routes == own
    litellm_accel.configure(admin_route=True)
    litellm_accel.restore()
    assert proxy.app.router.routes == own and route.ROUTE._watch not in sys.meta_path


def test_a_proxy_that_has_become_another_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "litellm.proxy._types", SimpleNamespace())
    litellm_accel.accelerate(config={"admin_route": True})
    assert importlib.import_module("gateway").app.router.routes
    assert "cannot be added to LiteLLM's proxy" in caplog.text and ask().json() == "the proxy's own"
