"""Component ``chat``: chat completions on a straight path, for calls that stock was watched serving once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, ClassVar

import httpcore
import httpx

from litellm_accel._backend import load
from litellm_accel.components.base import Component, Replaced, Replacement
from litellm_accel.lane import exchange
from litellm_accel.lane.exchange import Recording, Replay, Reply, script
from litellm_accel.lane.learn import NotShown, Unlearnable
from litellm_accel.lane.plan import Maker, headers_of
from litellm_accel.lane.policy import MODULES, Environment
from litellm_accel.lane.routers import CREDENTIALS, RoutedPlan, Routers
from litellm_accel.verify.records import require

chat = load("chat")

_ASYNC = "litellm.main:acompletion"
_SYNC = "litellm.main:completion"
_ROUTER = "litellm.router:Router.acompletion"
_NOTHING = (None, None)
_MAX_PLANS = 512
_MAX_SIGHTED = 4096
_MAX_FRESH = 64


class Lane:
    """The straight path of ``completion`` and ``acompletion``.

    A call is known by its *key*: everything it passes but the messages. The first call of a key runs on stock, watched:
    what it sends and returns becomes the key's plan. Later calls are served by the plan. Where a reply is not one the
    plan covers, stock runs the call from its beginning with that reply in place of its first exchange, and the lane
    learns from it for the next one. While many plans wait for a second call, a key must come twice to be learned.
    """

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        self.environment = Environment()
        self.maker = Maker()
        self.routers = Routers()
        self.plans: dict[bytes, Any] = {}
        self.sighted: set[bytes] = set()
        self.fresh: set[bytes] = set()
        self.stock: dict[str, FunctionType] = {}
        self._internal = __import__("litellm._internal_context", fromlist=["is_internal_call"]).is_internal_call

    # --- admission

    def known(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, bytes] | None:
        """Return the call's key and its encoded messages, or None to decline."""
        environment = self.environment
        reason = environment.refresh() if environment.watch.changed() else environment.reason
        if reason is None and self._internal.get():
            reason = "internal call"
        if reason is None:
            key = chat.call_key(kind, args, kwargs)
            messages = None if key is None else chat.body_of(chat.messages_of(args, kwargs))
            if key is not None and messages is not None:
                return key, messages
            reason = "arguments" if key is None else "messages"
        self.gate.decline(reason)
        return None

    def admit(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bytes, bytes] | None:
        """Return ``(plan, key, encoded messages)``, the plan None if it is to be learned, or None to decline."""
        known = self.known(kind, args, kwargs)
        if known is None:
            return None
        key, messages = known
        plan = self.plans.get(key)
        if plan is None or self.outdated(plan):
            if not self.sight(key):
                return None
            self.begin(self.plans, key)
            return None, key, messages
        if type(plan) is Refused:
            self.gate.decline("not learned")
            return None
        return plan, key, messages

    def sight(self, key: bytes) -> bool:
        """Return whether a key without a plan is worth one; calls that never come again are not."""
        if key not in self.sighted:
            if len(self.sighted) >= _MAX_SIGHTED:
                self.sighted.clear()
            self.sighted.add(key)
            if len(self.fresh) >= _MAX_FRESH:
                self.gate.decline("first of its kind")
                return False
            self.fresh.add(key)
        self.gate.decline("learned from")
        return True

    def outdated(self, plan: Any) -> bool:
        """Return whether a plan must be learned again."""
        return bool(plan.epoch != self.environment.epoch or plan.expires < time.time())

    # --- learning

    def begin(self, plans: dict[Any, Any], place: Any) -> None:
        """Note that one call learns for ``place``; the others of its kind go to stock meanwhile."""
        if len(plans) >= _MAX_PLANS:
            plans.clear()
        plans[place] = Refused(self.environment.epoch)

    def learn(
        self,
        plans: dict[Any, Any],
        place: Any,
        key: bytes,
        messages: bytes,
        recording: Recording,
        kwargs: dict[str, Any],
        result: Any,
        routed: Callable[[Any], Any] | None = None,
    ) -> None:
        """Put the plan for calls like the recorded one into ``plans``, or leave there that there is none."""
        added = {name.lower() for given in ("headers", "extra_headers") for name in kwargs.get(given) or ()}
        added |= {name.lower() for name in self.maker.litellm.headers or ()}
        try:
            plan = self.maker.plan(recording, result, messages, frozenset(added), self.environment.epoch)
            plans[place] = plan if routed is None else routed(plan)
            return
        except NotShown:
            plans.pop(place, None)
        except Unlearnable as error:
            self.gate.decline(f"unlearnable: {error}")
        except Exception as error:
            self.gate.fault(error)
        self.fresh.discard(key)

    def extend(self, plan: Any, reply: Reply, result: Any) -> None:
        """Learn from a reply that stock has judged."""
        try:
            self.maker.extend(plan, reply.status, headers_of(reply.headers), reply.body, result)
        except Unlearnable:
            return
        except Exception as error:
            self.gate.fault(error)

    # --- asynchronous

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.acompletion`` or leave it to stock."""
        stock = self.stock[_ASYNC]
        now = script.get()
        if not self.gate.on or (now is not None and now.live):
            return await stock(*args, **kwargs)
        started = time.time()
        try:
            admitted = self.admit("async", args, kwargs)
        except Exception as error:
            self.gate.fault(error)
            admitted = None
        if admitted is None:
            return await stock(*args, **kwargs)
        plan, key, messages = admitted
        if plan is None:
            return await self._alearn(key, messages, args, kwargs)
        self.fresh.discard(key)
        loop = asyncio.get_running_loop()
        transport, cookies = plan.transports.get(loop, _NOTHING)
        if transport is None:
            return await self._aconnect(plan, loop, stock, args, kwargs)
        if cookies._cookies:
            self.gate.decline("cookies")
            return await stock(*args, **kwargs)
        try:
            body = plan.body(messages)
            headers = plan.request["headers"].copy()
            headers["content-length"] = str(len(body))
            session = transport.get_valid_client_session()
        except Exception as error:
            self.gate.fault(error)
            return await stock(*args, **kwargs)
        sent = time.time()
        reply = await _asend(session, plan.request, headers, body)
        if reply.error is None and reply.body_error is None:
            try:
                answer = plan.answer(reply.status, reply.headers.items(), reply.body)
                if answer is not None:
                    result = answer.result(started, (time.time() - sent) * 1000)
                    self.gate.serve()
                    return result
            except Exception as error:
                self.gate.fault(error)
        return await self._ahand_over(plan, body, reply, args, kwargs)

    async def _alearn(self, key: bytes, messages: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            recording, result = await _arecord(self.stock[_ASYNC], args, kwargs)
        except BaseException:
            self.plans.pop(key, None)
            raise
        self.learn(self.plans, key, key, messages, recording, kwargs, result)
        return result

    async def _aconnect(self, plan: Any, loop: Any, stock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a call on stock for the transport that LiteLLM makes for a new event loop."""
        self.gate.decline("new event loop")
        recording, result = await _arecord(stock, args, kwargs)
        if recording.sent:
            transport = recording.sent[0].transport
            with contextlib.suppress(Unlearnable):
                plan.transports[loop] = transport, self.maker.cookies(transport)
        return result

    async def _ahand_over(
        self, plan: Any, body: bytes, reply: Reply, args: tuple[Any, ...], kwargs: dict[str, Any], stock: Any = None
    ) -> Any:
        self.gate.decline("reply left to stock")
        replay = Replay(str(plan.request["url"]), body, reply)
        token = script.set(replay)
        try:
            result = await (stock or self.stock[_ASYNC])(*args, **kwargs)
        finally:
            replay.live = False
            script.reset(token)
            if replay.differs or not replay.used:
                self.gate.fault(RuntimeError("stock sends another request"))
        if reply.status == 200 and reply.body_error is None:
            self.extend(plan, reply, result)
        return result

    # --- routers

    async def router_acompletion(
        self, router: Any, model: str, messages: Any, stream: bool = False, **kwargs: Any
    ) -> Any:
        """Serve ``Router.acompletion`` or leave it to stock."""
        stock = self.stock[_ROUTER]
        now = script.get()
        if not self.gate.on or stream or (now is not None and now.live):
            return await stock(router, model, messages, stream, **kwargs)
        started = time.time()
        try:
            admitted = self._admit_routed(router, model, messages, kwargs)
        except Exception as error:
            self.gate.fault(error)
            admitted = None
        if admitted is None:
            return await stock(router, model, messages, stream, **kwargs)
        known, key, encoded = admitted
        request = {
            **kwargs,
            "model": model,
            "messages": messages,
            "stream": stream,
            "metadata": {"model_group": model, "model_group_alias": None},
        }
        size = len(request)
        deployment = None
        with contextlib.suppress(Exception):  # stock meets the same error, words it and falls back
            deployment = await router.async_get_available_deployment(
                model=model, messages=messages, specific_deployment=None, request_kwargs=request
            )
        if deployment is None:
            self.gate.decline("no deployment")
            return await stock(router, model, messages, stream, **kwargs)
        args = (model, messages, stream)
        routed = known.plans.get((key, deployment["model_info"]["id"]))
        if routed is None or self.outdated(routed):
            return await self._learn_routed(router, known, key, encoded, deployment, args, kwargs)
        steered = len(request) != size or len(request["metadata"]) != 2
        if type(routed) is Refused or steered or routed.deployment is not deployment:
            self.gate.decline("not learned" if type(routed) is Refused else "routing")
            return await stock(self.routers.pinned(router, deployment), *args, **kwargs)
        self.fresh.discard(key)
        plan = routed.plan
        loop = asyncio.get_running_loop()
        transport, cookies = plan.transports.get(loop, _NOTHING)
        if transport is None:
            return await self._aconnect(plan, loop, stock, (self.routers.pinned(router, deployment), *args), kwargs)
        if cookies._cookies:
            self.gate.decline("cookies")
            return await stock(self.routers.pinned(router, deployment), *args, **kwargs)
        limit = router._get_client(deployment, request, "max_parallel_requests")
        if limit is not None and limit.in_flight >= limit.max_parallel_requests:
            self.gate.decline("deployment is full")
            return await stock(self.routers.pinned(router, deployment), *args, **kwargs)
        try:
            body = plan.body(encoded)
            headers = plan.request["headers"].copy()
            headers["content-length"] = str(len(body))
            session = transport.get_valid_client_session()
        except Exception as error:
            self.gate.fault(error)
            return await stock(self.routers.pinned(router, deployment), *args, **kwargs)
        router._track_deployment_metrics(deployment=deployment, parent_otel_span=None)
        router.total_calls[routed.model] += 1
        if limit is not None:
            limit.acquire()
        try:
            sent = time.time()
            reply = await _asend(session, plan.request, headers, body)
            result = None
            if reply.error is None and reply.body_error is None:
                try:
                    answer = plan.answer(reply.status, reply.headers.items(), reply.body)
                    if answer is not None:
                        result = answer.result(started, (time.time() - sent) * 1000)
                        if router._should_raise_content_policy_error(model=model, response=result, kwargs=request):
                            result = None
                except Exception as error:
                    self.gate.fault(error)
            if result is None:
                router.total_calls[routed.model] -= 1  # stock counts it again
                pinned, limit = self.routers.pinned(router, deployment, limit, tracked=True), None
                return await self._ahand_over(plan, body, reply, (pinned, *args), kwargs, stock)
        finally:
            if limit is not None:
                limit.release()
        routed.count(router, result, self.environment.litellm._async_success_callback)
        known.finish(router, model, result)
        self.gate.serve()
        return result

    def _admit_routed(
        self, router: Any, model: str, messages: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, bytes, bytes] | None:
        if not CREDENTIALS.isdisjoint(kwargs):
            self.gate.decline("arguments")
            return None
        found = self.known("router", (model, messages), kwargs)
        if found is None:
            return None
        known = self.routers.known(router)
        if known.reason is not None:
            self.gate.decline(known.reason)
            return None
        if not known.plans and not self.sight(found[0]):
            return None
        return known, *found

    async def _learn_routed(
        self, router: Any, known: Any, key: bytes, encoded: bytes, deployment: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        place = (key, deployment["model_info"]["id"])
        self.begin(known.plans, place)
        self.gate.decline("learned from")
        pinned = self.routers.pinned(router, deployment)
        try:
            recording, result = await _arecord(self.stock[_ROUTER], (pinned, *args), kwargs)
        except BaseException:
            known.plans.pop(place, None)
            raise
        self.learn(
            known.plans,
            place,
            key,
            encoded,
            recording,
            kwargs,
            result,
            lambda plan: RoutedPlan(self.routers, router, deployment, args[0], plan),
        )
        return result

    # --- synchronous

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.completion`` or leave it to stock."""
        stock = self.stock[_SYNC]
        now = script.get()
        if not self.gate.on or (now is not None and now.live) or kwargs.get("acompletion"):
            return stock(*args, **kwargs)
        started = time.time()
        try:
            admitted = self.admit("sync", args, kwargs)
        except Exception as error:
            self.gate.fault(error)
            admitted = None
        if admitted is None:
            return stock(*args, **kwargs)
        plan, key, messages = admitted
        if plan is None:
            return self._learn(key, messages, args, kwargs)
        self.fresh.discard(key)
        if plan.transports[None][1]._cookies:
            self.gate.decline("cookies")
            return stock(*args, **kwargs)
        try:
            body = plan.body(messages)
            length = b"%d" % len(body)
            headers = [(k, length if k.lower() == b"content-length" else v) for k, v in plan.request["headers"]]
        except Exception as error:
            self.gate.fault(error)
            return stock(*args, **kwargs)
        sent = time.time()
        reply = _send(plan, headers, body)
        if reply.error is None and reply.body_error is None:
            try:
                answer = plan.answer(reply.status, headers_of(reply.headers), reply.body)
                if answer is not None:
                    result = answer.result(started, (time.time() - sent) * 1000)
                    self.gate.serve()
                    return result
            except Exception as error:
                self.gate.fault(error)
        return self._hand_over(plan, body, reply, args, kwargs)

    def _learn(self, key: bytes, messages: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recording = Recording()
        token = script.set(recording)
        try:
            result = self.stock[_SYNC](*args, **kwargs)
        except BaseException:
            self.plans.pop(key, None)
            raise
        finally:
            recording.live = False
            script.reset(token)
        self.learn(self.plans, key, key, messages, recording, kwargs, result)
        return result

    def _hand_over(self, plan: Any, body: bytes, reply: Reply, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.gate.decline("reply left to stock")
        replay = Replay(str(plan.request["url"]), body, reply)
        token = script.set(replay)
        try:
            result = self.stock[_SYNC](*args, **kwargs)
        finally:
            replay.live = False
            script.reset(token)
            if replay.differs or not replay.used:
                self.gate.fault(RuntimeError("stock sends another request"))
        if reply.status == 200 and reply.body_error is None:
            self.extend(plan, reply, result)
        return result


class Refused:
    """In a plan's place: there is none in this epoch, or not yet."""

    expires = float("inf")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch


async def _arecord(stock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Recording, Any]:
    """Run ``stock`` and return what it sent and what it returned."""
    recording = Recording()
    token = script.set(recording)
    try:
        return recording, await stock(*args, **kwargs)
    finally:
        recording.live = False
        script.reset(token)


async def _asend(session: Any, request: Mapping[str, Any], headers: Any, body: bytes) -> Reply:
    """Send one request and return what came of it. Cancellation of the caller's own task passes."""
    try:
        response = await session.request(
            "POST", data=body, allow_redirects=False, auto_decompress=False, **{**request, "headers": headers}
        )
    except asyncio.CancelledError as error:
        if _cancelled():
            raise
        return Reply(error=error)
    except Exception as error:
        return Reply(error=error)
    reply = Reply(response.status, response.headers)
    try:
        reply.body = await response.read()
    except Exception as error:
        reply.body_error = error
    return reply


def _cancelled() -> bool:
    """Return whether the running task is being cancelled; not so if only something it waited for was."""
    task = asyncio.current_task()
    return task is None or not hasattr(task, "cancelling") or task.cancelling() > 0


def _send(plan: Any, headers: list[tuple[bytes, bytes]], body: bytes) -> Reply:
    """Send one request and return what came of it."""
    url = plan.request["url"]
    try:
        with httpx._transports.default.map_httpcore_exceptions():
            response = plan.transports[None][0]._pool.handle_request(
                httpcore.Request(
                    "POST",
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=headers,
                    content=body,
                    extensions={"timeout": plan.request["timeout"]},
                )
            )
    except Exception as error:
        return Reply(error=error)
    reply = Reply(response.status, response.headers, extensions=response.extensions)
    try:
        with httpx._transports.default.map_httpcore_exceptions():
            reply.body = b"".join(response.stream)
    except Exception as error:
        reply.body_error = error
    finally:
        response.close()
    return reply


class Chat(Component):
    """Serves chat completions."""

    name: ClassVar[str] = "chat"
    summary: ClassVar[str] = "completion and acompletion on a straight path"
    relies_on: ClassVar[tuple[str, ...]] = tuple(name for name in MODULES if name.startswith("litellm."))
    hot_modules: ClassVar[tuple[str, ...]] = ("chat", "template", "watch")

    def __init__(self) -> None:
        self.lane: Lane | None = None

    def replacements(self, gate: Any) -> Sequence[Replacement]:
        """Return the calls the lane serves, and what lets it watch stock."""
        lane = self.lane = Lane(gate)

        def serve(target: str, method: Any) -> Replacement:
            def build(stock: FunctionType) -> Any:
                lane.stock[target] = stock
                return method

            return Replacement(target, build)

        return [
            *exchange.replacements(),
            serve(_ASYNC, lane.acompletion),
            serve(_SYNC, lane.completion),
            serve(_ROUTER, lane.router_acompletion),
        ]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for a record of ``verify``. Each call is proven once more, on the call it was learned from."""
        require(self.name)

    def stopped(self) -> None:
        """Forget all plans."""
        self.lane = None


COMPONENT = Chat()
