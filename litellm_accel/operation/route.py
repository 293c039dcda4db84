"""``GET /litellm-accel/status`` in LiteLLM's proxy: what this worker tells of itself, for its administrators alone.

The route is there while settings ask for it, as soon as the proxy's module has been imported. Whoever calls is
authenticated by the proxy's own means, and must hold the master key or have the role of a proxy admin.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from typing import Any

from litellm_accel import import_watch
from litellm_accel.operation import server

PATH = "/litellm-accel/status"
_PROXY = "litellm.proxy.proxy_server"
_AUTHENTICATION = "litellm.proxy.auth.user_api_key_auth"
_logger = logging.getLogger("litellm_accel")


class Route:
    """Adds the route to the proxy of this process, and takes it away again."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._watch = import_watch.ImportWatch(_PROXY, self._imported)
        self._routes: list[Any] | None = None  # the proxy's, that hold ours
        self._route: Any = None

    def set(self, wanted: bool) -> None:
        """Have the route from now on, or no longer. What goes wrong is logged."""
        if wanted is self._is_wanted:
            return
        self._is_wanted = wanted
        if not wanted:
            self._watch.stop()
            self._remove()
        elif import_watch.is_imported(_PROXY):
            self._imported()
        else:
            self._watch.start()

    def _imported(self) -> None:
        self._watch.stop()
        try:
            self._add(sys.modules[_PROXY])
        except Exception as error:  # the proxy starts all the same
            _logger.warning("litellm-accel: %s cannot be added to LiteLLM's proxy: %r", PATH, error)

    def _add(self, proxy: Any) -> None:
        fastapi = importlib.import_module("fastapi")
        authenticated = importlib.import_module(_AUTHENTICATION).user_api_key_auth
        admin = importlib.import_module("litellm.proxy._types").LitellmUserRoles.PROXY_ADMIN

        def report(caller: Any = fastapi.Depends(authenticated)) -> Any:  # noqa: B008  # FastAPI's way
            if caller.user_role != admin:
                raise fastapi.HTTPException(403, f"{PATH} is for proxy admins")
            return fastapi.Response(json.dumps(server.told()), media_type="application/json")

        routes = proxy.app.router.routes
        proxy.app.add_api_route(PATH, report, methods=["GET"], response_model=None, include_in_schema=False)
        self._routes, self._route = routes, routes.pop()
        routes.insert(0, self._route)  # before any that take whatever comes

    def _remove(self) -> None:
        routes, self._routes = self._routes, None
        if routes is not None and self._route in routes:
            routes.remove(self._route)


ROUTE = Route()
