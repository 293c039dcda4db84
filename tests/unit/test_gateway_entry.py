"""The entry to the proxy's chat endpoints, on an application that is made like LiteLLM's."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from litellm_accel import patching
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.hot import gate as gates

pytest.importorskip("fastapi")

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from starlette.routing import Host, Router

from litellm_accel.gateway.entry import Entry

_PATH = "/v1/chat/completions"
_BEARER = Security(APIKeyHeader(name="Authorization", auto_error=False))
_OTHER = Security(APIKeyHeader(name="x-other", auto_error=False))
_answers: dict[str, Callable[[], Any]] = {
    "plain": lambda: {"id": "1", "choices": [{"text": "é\n", "n": 1.5, "none": None, "yes": True}]},
    "tuple": lambda: {"pair": (1, 2), "_sa_secret": 1, "kept": {3: 4}},
    "json": lambda: JSONResponse({"own": 1}, status_code=202, headers={"x-own": "1"}),
    "stream": lambda: StreamingResponse(iter([b"data: 1\n\n", b"data: 2\n\n"]), media_type="text/event-stream"),
    "nan": lambda: {"value": float("nan")},
}


class OtherJSON(JSONResponse):
    """Is rendered otherwise."""

    def render(self, content: Any) -> bytes:
        return b"other: " + super().render(content)


class Key:
    """Who asks."""


async def authenticate(request: Request, api_key: str = _BEARER, other: str | None = _OTHER) -> Key:
    """Look at the key, as LiteLLM does."""
    if api_key == "Bearer wrong":
        raise HTTPException(401, {"error": "wrong"}, headers={"x-why": "key"})
    request.state.seen = (api_key, other, sorted(await request.json()))
    return Key()


def application(**how: Any) -> tuple[FastAPI, Any, Any]:
    """Return an application with LiteLLM's endpoint on routes made like that, the endpoint, and its authentication."""
    asked: Any = patching.stock_copy(authenticate)  # type: ignore[arg-type]
    key = Depends(asked)

    async def chat_completion(
        request: Request,
        fastapi_response: Response,
        model: str | None = None,
        user_api_key_dict: Key = key,
    ):  # type: ignore[no-untyped-def]
        body = await request.json()
        fastapi_response.headers["x-seen"] = json.dumps([*request.state.seen, model, request.url.path])
        fastapi_response.headers["x-route"] = request.scope["route"].path
        if body.get("fails") == "http":
            raise HTTPException(418, "teapot")
        if body.get("fails"):
            raise KeyError(body["fails"])
        if "status" in body:
            fastapi_response.status_code = body["status"]
        return _answers[body["answer"]]()

    app = FastAPI()
    app.get("/other")(lambda: {"other": 1})
    for path in (_PATH, "/engines/{model:path}/chat/completions"):
        app.post(path, dependencies=[key], **how)(chat_completion)

    @app.post("/elsewhere/chat/completions")
    async def elsewhere(request: Request) -> Any:
        return {"elsewhere": len(await request.body())}

    @app.exception_handler(KeyError)
    async def missing(request: Request, error: KeyError) -> JSONResponse:
        return JSONResponse({"missing": str(error)}, status_code=500)

    return app, chat_completion, asked


def ask(app: FastAPI, body: Any, path: str = _PATH, query: bytes = b"", **headers: str) -> list[dict[str, Any]]:
    """Return what the application sends for a request; an exception is the last of it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = [
        {"type": "http.request", "body": data[:5], "more_body": True},
        {"type": "http.request", "body": data[5:], "more_body": False},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(json.loads(json.dumps(message, default=lambda held: bytes(held).decode("latin-1"))))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST" if path != "/other" else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"content-type", b"application/json")]
        + [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def run() -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            sent.append({"raised": repr(error)})

    asyncio.run(run())
    return sent


served_endpoint: Any = None


class Pair:
    """An application as it is, and one with an entry."""

    def __init__(self, **how: Any) -> None:
        self.stock = application(**how)[0]
        self.app, endpoint, asked = application(**how)
        self.gate = gates.Gate("proxy")
        self.gate.switch(True)
        global served_endpoint
        served_endpoint = endpoint
        names = {"/completions": f"{__name__}:served_endpoint", "/embeddings": "not.imported:yet"}
        self.entry = Entry(self.gate, Proof(self.gate), self.app, names, asked)
        function: Any = inspect.getattr_static(Router, "__call__")
        stock: Any = patching.stock_copy(function)
        self.entry.stock = stock
        self.patch = patching.Patch(function, gates.AsyncDoor(self.gate, self.entry.take, stock))
        self.patch.apply()

    def ask(self, body: Any, path: str = _PATH, query: bytes = b"", **headers: str) -> list[dict[str, Any]]:
        """Ask both, and return what was sent, which must be the same."""
        headers = {"authorization": "Bearer right", **headers}
        one, two = (ask(app, body, path, query, **headers) for app in (self.stock, self.app))
        assert two == one
        return one

    def learn(self) -> None:
        """Have plain answers served."""
        for _ in range(2):
            self.ask({"answer": "plain"})


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(**getattr(request, "param", {}))
    yield made
    assert made.patch.undo()


def test_a_request_is_served_once_two_have_agreed(pair: Pair) -> None:
    pair.learn()
    sent = pair.ask({"answer": "plain", "b": 1}, x_other="there")
    assert sent[0]["status"] == 200 and sent[1]["body"].startswith('{"id":"1"')
    assert (pair.gate.served, pair.gate.faults) == (1, 0)
    assert pair.gate.declined == {str(decline.LEARNED_FROM): 2}


@pytest.mark.parametrize(
    "body",
    [
        {"answer": "tuple"},
        {"answer": "json"},
        {"answer": "stream"},
        {"answer": "nan"},
        {"answer": "plain", "status": 201},
        {"answer": "plain", "status": 204},
        {"answer": "plain", "fails": "http"},
        {"answer": "plain", "fails": "key"},
        {"answer": "unknown"},
        b"{no json",
        b"",
    ],
)
def test_all_that_an_endpoint_may_do_is_as_in_stock(pair: Pair, body: Any) -> None:
    pair.ask(body)
    pair.learn()
    pair.ask(body)
    pair.ask({"answer": "plain"})
    assert pair.gate.served >= 1 and pair.gate.faults == 0


def test_a_path_that_only_streams_is_served(pair: Pair) -> None:
    for _ in range(5):
        assert [part.get("body") for part in pair.ask({"answer": "stream"})[1:]] == ["data: 1\n\n", "data: 2\n\n", ""]
    assert (pair.gate.served, pair.gate.faults) == (3, 0)
    for _ in range(3):
        for body in ({"answer": "plain", "status": 201}, {"answer": "tuple"}, {"answer": "plain", "status": 204}):
            pair.ask(body)
    assert (pair.gate.served, pair.gate.faults) == (12, 0)


def test_a_first_json_answer_that_differs_is_the_framework_s(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        pair.ask({"answer": "stream"})
    monkeypatch.setattr(pair.entry, "_encoder", lambda content: {"other": 1})
    for _ in range(3):
        pair.ask({"answer": "tuple"})
    assert pair.gate.served == 2 and pair.gate.declined[str(decline.DIFFERS.of("the answer"))] == 3


def test_keys_are_found_as_the_framework_finds_them(pair: Pair) -> None:
    pair.learn()
    for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}, {"x_other": "", "authorization": "é"}):
        pair.ask({"answer": "plain"}, **headers)
    assert ask(pair.app, {"answer": "plain"}) == ask(pair.stock, {"answer": "plain"})
    assert pair.gate.served == 3, "one is refused by the authentication"


def test_paths_with_a_model_are_kinds_of_their_own(pair: Pair) -> None:
    for model in ("a", "b/c"):
        for _ in range(4):
            assert f'"{model}"' in str(pair.ask({"answer": "plain"}, f"/engines/{model}/chat/completions")).replace(
                "\\", ""
            )
    assert pair.gate.served == 4


def test_everything_else_is_left_to_stock(pair: Pair) -> None:
    pair.learn()
    for _ in range(2):
        pair.ask({}, "/other")
        pair.ask({}, "/v1/embeddings")
        pair.ask({}, "/nowhere/chat/completion")
        pair.ask({"answer": "plain"}, query=b"model=x")
        pair.ask({"answer": "plain"}, "/elsewhere/chat/completions")
    assert pair.gate.served == 0
    reasons = pair.gate.declined
    assert reasons[str(decline.OTHER_ENDPOINT)] == 7 and reasons[str(decline.QUERY_STRING)] == 2


def test_an_override_of_the_authentication_is_stock_s(pair: Pair) -> None:
    pair.learn()
    pair.app.dependency_overrides[authenticate] = Key
    pair.ask({"answer": "plain"})
    assert pair.gate.declined[str(decline.DEPENDENCY_OVERRIDES)] == 1 and not pair.gate.served


def test_new_routes_are_seen(pair: Pair) -> None:
    pair.learn()

    async def first(request: Request) -> Any:
        return {"first": 1}

    for app in (pair.stock, pair.app):
        app.post(_PATH)(first)
        app.router.routes.insert(0, app.router.routes.pop())
    assert pair.ask({"answer": "plain"})[1]["body"] == '{"first":1}'
    pair.app.router.routes.append(Host("there", app=pair.stock))
    pair.ask({"answer": "plain"})
    assert pair.gate.declined[str(decline.ROUTES_UNUSUAL)] == 1 and not pair.gate.served


class Yields(APIRoute):
    """A class for routes as LiteLLM has them."""

    def matches(self, scope: Any) -> Any:
        return super().matches(scope)


@pytest.mark.parametrize(
    ("module", "path", "served"),
    [("litellm.proxy", "/lens", 1), ("litellm.proxy", "/{kind}/completions", 0), ("elsewhere", "/lens", 0)],
)
def test_other_classes_of_routes(
    pair: Pair, module: str, path: str, served: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Yields, "__module__", module)
    for app in (pair.stock, pair.app):
        router = APIRouter(prefix="/v1", route_class=Yields)
        router.get(path)(lambda: 1)
        app.include_router(router)
    pair.learn()
    pair.ask({"answer": "plain"})
    assert pair.gate.served == served
    assert served or pair.gate.declined == {str(decline.ROUTES_UNUSUAL): 3}


def test_what_a_middleware_adds_to_the_scope_is_not_understood(pair: Pair) -> None:
    pair.learn()

    class Adds:
        def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["fastapi.telemetry"] = None
            await self.app(scope, receive, send)

    for app in (pair.stock, pair.app):
        app.middleware_stack = Adds(app.build_middleware_stack())  # type: ignore[assignment]
    pair.ask({"answer": "plain"})
    assert pair.gate.declined[str(decline.SCOPE_UNKNOWN.of("fastapi.telemetry"))] == 1 and not pair.gate.served


def test_an_answer_that_differs_refuses_the_kind(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pair.entry._made

    def wrong(*arguments: Any) -> Any:
        answer = made(*arguments)
        answer.raw_headers.append((b"x-more", b"1"))
        return answer

    monkeypatch.setattr(pair.entry, "_made", wrong)
    for _ in range(4):
        pair.ask({"answer": "plain"})
    assert pair.gate.served == 0 and pair.gate.declined[str(decline.DIFFERS.of("the answer"))] == 4


@pytest.mark.parametrize("pair", [{"response_model": dict}], indirect=True)
def test_models_of_answers_are_stock_s(pair: Pair) -> None:
    for _ in range(4):
        pair.ask({"answer": "plain"})
    reason = decline.DIFFERS.of("the model or the class of the response")
    assert pair.gate.declined[str(reason)] == 4 and not pair.gate.served


@pytest.mark.parametrize("pair", [{"response_class": OtherJSON}], indirect=True)
def test_answers_are_of_the_route_s_class(pair: Pair) -> None:
    pair.learn()
    assert pair.ask({"answer": "plain"})[1]["body"].startswith("other: ")
    assert pair.gate.served == 1


@pytest.mark.parametrize("name", ["_kind_of", "_carrier", "_made"])
def test_faults_leave_requests_to_stock_and_turn_the_entry_off(
    pair: Pair, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.learn()
    own = getattr(pair.entry, name)
    calls = 0

    def fails(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise RuntimeError("ours")
        return own(*arguments)

    monkeypatch.setattr(pair.entry, name, fails)
    for _ in range(24):
        pair.ask({"answer": "plain"})
    assert pair.gate.faults == 10 and pair.gate.is_open


def test_requests_at_once(pair: Pair) -> None:
    """One request of a kind is watched at a time; what others do meanwhile is not taken for its own."""
    sent: list[Any] = []

    async def run() -> None:
        async def one(number: int) -> None:
            async def receive() -> Any:
                await asyncio.sleep(0)
                return {"type": "http.request", "body": json.dumps({"answer": "plain", "n": number}).encode()}

            async def send(message: Any) -> None:
                await asyncio.sleep(0)
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": _PATH, "query_string": b"", "headers": []}
            await pair.app(scope, receive, send)

        for _ in range(4):
            await asyncio.gather(*map(one, range(5)))

    asyncio.run(run())
    assert len(sent) == 40 and pair.gate.served == 10 and pair.gate.faults == 0
    assert pair.gate.declined == {str(decline.LEARNED_FROM): 2, str(decline.BEING_LEARNED): 8}
