"""Run by ``test_changes`` in the environment of a proxy: the proxy is changed while component ``proxy`` serves it.

Prints, for each change, what a request was answered before, what two are answered afterwards by the component and then
by stock, and how many requests the component had served before.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import litellm_accel

_KEY = "sk-master-of-the-tests"
_CONFIG = f"""
model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o-mini, api_key: sk-up, mock_response: hello}}
general_settings:
  master_key: {_KEY}
"""
_LEARNING = 6  # requests after which the component serves
_MASKED = ("x-litellm-call-id", "x-litellm-response-duration-ms", "x-litellm-overhead-duration-ms", "content-length")


class Changes:
    """What is done to the running proxy; each is undone when it has been looked at."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self._litellm: Any = importlib.import_module("litellm")
        self._checks: Any = importlib.import_module("litellm.proxy.auth.route_checks").RouteChecks

    def all(self) -> dict[str, Callable[[], Any]]:
        """Return the changes, as context managers, by name."""
        names = [name for name in vars(type(self)) if not name.startswith("_") and name != "all"]
        return {name.replace("_", " "): getattr(self, name) for name in names}

    @contextmanager
    def another_master_key(self) -> Iterator[None]:
        """The key that clients have is no longer valid."""
        with _put(self._proxy, "master_key", "sk-another"):
            yield

    @contextmanager
    def a_setting(self) -> Iterator[None]:
        """Requests must name their user."""
        settings = self._proxy.general_settings
        settings["enforce_user_param"] = True
        try:
            yield
        finally:
            del settings["enforce_user_param"]

    @contextmanager
    def a_hook(self) -> Iterator[None]:
        """A callback that rejects requests."""
        logger: Any = importlib.import_module("litellm.integrations.custom_logger").CustomLogger
        exception: Any = importlib.import_module("fastapi").HTTPException

        class Rejecting(logger):  # type: ignore[misc]
            async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Any, call_type: Any) -> Any:
                raise exception(status_code=451, detail={"error": "rejected"})

        hook = Rejecting()
        self._litellm.callbacks.append(hook)
        try:
            yield
        finally:
            self._litellm.callbacks.remove(hook)

    @contextmanager
    def no_such_model(self) -> Iterator[None]:
        """The model list has changed."""
        router = self._proxy.llm_router
        before = [dict(deployment) for deployment in router.model_list]
        router.set_model_list([{**deployment, "model_name": "other"} for deployment in before])
        try:
            yield
        finally:
            router.set_model_list(before)

    @contextmanager
    def another_route(self) -> Iterator[None]:
        """A route of the application's own takes the path."""
        routing: Any = importlib.import_module("starlette.routing")
        responses: Any = importlib.import_module("starlette.responses")

        async def own(request: Any) -> Any:
            return responses.PlainTextResponse("my own")

        self._proxy.app.router.routes.insert(0, routing.Route("/v1/chat/completions", own, methods=["POST"]))
        try:
            yield
        finally:
            del self._proxy.app.router.routes[0]

    @contextmanager
    def another_authentication(self) -> Iterator[None]:
        """The application puts something in the place of LiteLLM's authentication."""
        exception: Any = importlib.import_module("fastapi").HTTPException

        async def own() -> Any:
            raise exception(status_code=418, detail="my own")

        self._proxy.app.dependency_overrides[self._proxy.user_api_key_auth] = own
        try:
            yield
        finally:
            self._proxy.app.dependency_overrides.clear()

    @contextmanager
    def a_middleware(self) -> Iterator[None]:
        """A middleware that stands before the application's others."""
        middleware: Any = importlib.import_module("starlette.middleware").Middleware

        class Own:
            def __init__(self, app: Any) -> None:
                self._app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                async def marked(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        message["headers"].append((b"x-my-own", b"yes"))
                    await send(message)

                await self._app(scope, receive, marked)

        app = self._proxy.app
        app.user_middleware.insert(0, middleware(Own))
        app.middleware_stack = None
        try:
            yield
        finally:
            del app.user_middleware[0]
            app.middleware_stack = None

    @contextmanager
    def an_exception_handler(self) -> Iterator[None]:
        """A handler of the application's own for LiteLLM's errors."""
        responses: Any = importlib.import_module("starlette.responses")
        kind = importlib.import_module("litellm.proxy._types").ProxyException
        handlers = self._proxy.app.exception_handlers
        before = handlers[kind]

        async def own(request: Any, error: Any) -> Any:
            return responses.PlainTextResponse("my own", 400)

        handlers[kind] = own
        self._proxy.app.middleware_stack = None
        try:
            with _put(self._proxy, "master_key", "sk-another"):
                yield
        finally:
            handlers[kind] = before
            self._proxy.app.middleware_stack = None

    @contextmanager
    def another_check_of_routes(self) -> Iterator[None]:
        """Somebody has replaced a helper of LiteLLM's authorization."""
        before = vars(self._checks)["_route_matches_pattern"]
        exception: Any = importlib.import_module("fastapi").HTTPException

        def own(route: str, pattern: str) -> bool:
            raise exception(status_code=451, detail="my own")

        self._checks._route_matches_pattern = staticmethod(own)
        try:
            yield
        finally:
            self._checks._route_matches_pattern = before


@contextmanager
def _put(owner: Any, name: str, value: Any) -> Iterator[None]:
    held = vars(owner)
    before = held.get(name)
    held[name] = value
    try:
        yield
    finally:
        if before is None:
            del held[name]
        else:
            held[name] = before


async def ask(app: Any) -> Any:
    """Return what the proxy sends for a chat completion."""
    body = json.dumps({"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"host": "proxy", "authorization": f"Bearer {_KEY}", "content-type": "application/json"}
    headers["content-length"] = str(len(body))
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions", "query_string": b"", "root_path": ""},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 4000), "state": {}},
    }
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop() if waiting else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception as error:  # which the server would answer
        return [0, [], repr(error)]
    names = [(name.decode().lower(), value.decode()) for name, value in sent[0]["headers"]]
    shown = [(name, "" if name in _MASKED else value) for name, value in names]
    content = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    try:
        told = json.loads(content)
        told = {**told, "id": "", "created": 0} if "choices" in told else told
    except ValueError:
        told = content
    return [sent[0]["status"], shown, told]


def served() -> int:
    """Return how many requests the component has served."""
    return next(part.served for part in litellm_accel.status().components if part.name == "proxy")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "config.yaml"
        place.write_text(_CONFIG)
        os.environ["CONFIG_FILE_PATH"] = str(place)
        proxy: Any = importlib.import_module("litellm.proxy.proxy_server")
        found: dict[str, Any] = {}
        async with proxy.app.router.lifespan_context(proxy.app):
            for name, change in Changes(proxy).all().items():
                litellm_accel.accelerate("proxy")
                before = [await ask(proxy.app) for _ in range(_LEARNING)][-1]
                count = served()
                with change():
                    accelerated = [await ask(proxy.app) for _ in range(2)]
                    litellm_accel.restore()
                    stock = [await ask(proxy.app) for _ in range(2)]
                found[name] = {"served": count, "before": before, "accelerated": accelerated, "stock": stock}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
