"""Makes plans: from a recording of one call that stock has served, and the result that stock returned for it."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import marshal
import time
import weakref
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import ClientTimeout
from multidict import CIMultiDict
from pydantic_core import PydanticSerializationError
from yarl import URL

from litellm_accel._backend import load
from litellm_accel.lane import learn
from litellm_accel.lane.exchange import Recording, Sent
from litellm_accel.lane.learn import NotShown, Unlearnable
from litellm_accel.lane.thread_pool import Head

chat = load("chat")
template = load("template")

# Request headers the provider SDK and its HTTP client write; users may add what they like, instrumentation may not.
_HEADERS = frozenset(
    [
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "authorization",
        "content-type",
        "content-length",
        "user-agent",
        "x-stainless-lang",
        "x-stainless-package-version",
        "x-stainless-os",
        "x-stainless-arch",
        "x-stainless-runtime",
        "x-stainless-runtime-version",
        "x-stainless-async",
        "x-stainless-raw-response",
        "x-stainless-retry-count",
        "x-stainless-read-timeout",
        "openai-organization",
        "openai-project",
        "x-novita-source",
        "x-pplx-integration",
    ]
)
_HIDDEN_SOURCES = {
    "headers": "headers",
    "additional_headers": "additional",
    "_response_ms": "total",
    "litellm_overhead_time_ms": "overhead",
    "litellm_call_id": "call",
    "response_cost": "cost",
    "provider_response_model": "model",
}
_HIDDEN_CONSTANTS = frozenset(
    ("api_base", "callback_duration_ms", "custom_llm_provider", "litellm_model_name", "model_id", "region_name")
)
_VOLATILE = {"_response_ms": 0.0, "litellm_overhead_time_ms": 0.0, "litellm_call_id": ""}
_TRANSFORMS = ("_transform_messages", "transform_request", "async_transform_request")
# Providers with rules for messages that leave texts as they are, and with a key that stays.
_TEXT_PROVIDERS = frozenset(("dashscope", "deepinfra", "litellm_proxy", "moonshot", "sambanova", "vercel_ai_gateway"))
_ROLES = ("system", "user", "assistant")
# Conversations of texts that show it.
_TEXTS = [
    [{"role": one, "content": said}, {"role": other, "content": "b"}]
    for one in _ROLES
    for other in _ROLES
    for said in ("a", "", " a\n", "<a>")
]
_SECONDS = 3000.0  # LiteLLM drops a client after an hour; plans do not outlive theirs
_NOT_PASSED = frozenset(("response_object", "litellm_logging_obj", "cache_hit"))
_GROUP = "x-litellm-model-group"  # the first header a router adds


class Maker:
    """Makes plans and templates with the installed LiteLLM's own conversion functions."""

    def __init__(self) -> None:
        self.litellm = importlib.import_module("litellm")
        self._convert = importlib.import_module(
            "litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response"
        ).convert_to_model_response_object
        self._first_headers = importlib.import_module(
            "litellm.litellm_core_utils.llm_response_utils.get_headers"
        ).get_response_headers
        self._second_headers = importlib.import_module(
            "litellm.litellm_core_utils.core_helpers"
        ).process_response_headers
        self._construct = importlib.import_module("openai._models").construct_type
        self._completion = importlib.import_module("openai.types.chat").ChatCompletion
        self.templates: dict[tuple[str, str], dict[Any, Any]] = {}
        self.header_maps: dict[tuple[str, ...], Any] = {}
        self.texts: dict[Any, Any] = {}

    def plan(
        self,
        recording: Recording,
        result: Any,
        messages: bytes,
        free: dict[str, bytes],
        added_headers: frozenset[str],
        epoch: int,
    ) -> Any:
        """Return the plan that repeats a recorded call, proven on its ``result``. Raises ``Unlearnable``.

        A router's additions to the headers of the result are set aside: it makes them itself.
        """
        if len(recording.sent) != 1 or recording.pricing is None:
            raise NotShown("more than one request")
        sent = recording.sent[0]
        if sent.reply.status != 200 or sent.reply.body_error is not None:
            raise NotShown("an error")
        prefix = b'{"messages":'
        body = sent.request.content
        if not body.startswith(prefix + messages + b","):
            raise Unlearnable("a request body that rewrites the messages")
        names = {name.lower().decode("latin-1") for name, _ in sent.request.headers.raw}
        provider = str(result._hidden_params.get("custom_llm_provider"))
        plain = self._plain(provider, str(result._hidden_params.get("litellm_model_name")))
        if plain and not chat.are_texts(orjson.loads(messages)):
            raise NotShown("a provider with its own messages")
        if not names <= _HEADERS | added_headers or "cookie" in names:
            raise Unlearnable("request headers")
        hidden = self._hidden(result)
        kind = "sync" if not sent.options else "async"
        names_and_values = headers_of(sent.reply.headers)
        plan = chat.Plan(
            prefix,
            body[len(prefix) + len(messages) :],
            hidden,
            dict(names_and_values).get("content-type", ""),
            self.templates.setdefault((provider, kind), {}),
            self.header_maps,
            _coster(self.total(recording.pricing), recording.pricing["litellm_logging_obj"], result._hidden_params),
            self.transports(sent.transport, kind),
            _request(sent, kind),
            epoch,
            time.time() + _SECONDS,
            free,
        )
        plan.plain = plain
        self.extend(plan, sent.reply.status, names_and_values, sent.reply.body, result, recording.text)
        return plan

    def total(self, pricing: dict[str, Any]) -> Callable[[Any], Any]:
        """Return what prices a result as the recorded call priced its own, and says nothing: None without a price."""
        calculator = self.litellm.cost_calculator
        # What stock passes on; a logging object would only be told how the cost is made up.
        passed = {name: value for name, value in pricing.items() if name not in _NOT_PASSED}
        if not any((passed["standard_built_in_tools_params"] or {}).values()):
            passed["standard_built_in_tools_params"] = None  # no such tools, said at less cost

        def total(result: Any) -> Any:
            try:
                return calculator.completion_cost(completion_response=result, **passed)
            except Exception:  # stock has more to say when there is no price
                return None

        return total

    def transports(self, transport: Any, kind: str) -> Any:
        """Return ``transport`` by event loop, with the cookies that stock's client of it holds."""
        held = (transport, self.cookies(transport))
        if kind == "sync":
            return {None: held}
        return weakref.WeakKeyDictionary({asyncio.get_running_loop(): held})

    def cookies(self, transport: Any) -> Any:
        """Return the cookies that LiteLLM's client of ``transport`` would send. Raises ``Unlearnable``."""
        for client in list(self.litellm.in_memory_llm_clients_cache.cache_dict.values()):
            inner = getattr(client, "_client", None)
            if inner is not None and getattr(inner, "_transport", None) is transport:
                return inner.cookies.jar
        raise Unlearnable("a client of its own")

    def extend(
        self,
        plan: Any,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        result: Any,
        text: str | None = None,
    ) -> None:
        """Learn from a reply and stock's ``result`` for it what ``plan`` lacks to serve such replies.

        ``text`` is the answer as stock tells it to callbacks, None if nobody listens. Raises ``Unlearnable``; then the
        plan is as it was.
        """
        value = chat.value_of(body, dict(headers).get("content-encoding"))
        found = None if value is None else template.leaves_of(value)
        if found is None:
            raise Unlearnable("an answer that is treated by its content")
        names = tuple(name for name, _ in headers)
        new_names = names not in plan.header_maps
        new_shape = found[0] not in plan.templates
        if new_names:
            plan.header_maps[names] = learn.learn_headers(names, self._additional)
        try:
            if new_shape:
                plan.templates[found[0]] = learn.learn_template(self._converter(plan), value)
            self._prove(plan, status, headers, body, result)
            if text is not None:
                self._learn_text(plan.templates[found[0]], value, found[1], text)
        except BaseException:
            if new_shape:
                plan.templates.pop(found[0], None)
            if new_names:
                plan.header_maps.pop(names, None)
            raise

    def _prove(self, plan: Any, status: int, headers: list[tuple[str, str]], body: bytes, result: Any) -> None:
        answer = plan.answer(status, headers, body)
        if answer is None:
            raise Unlearnable("an answer the lane does not read")
        made = answer.result(0.0, 0.0)
        if _masked(made) != _masked(result):
            raise Unlearnable("a result that the lane builds differently")

    def _learn_text(self, response: Any, value: Any, leaves: list[Any], text: str) -> None:
        made = self.texts.get(response) or learn.learn_template(self._said, value)
        if json.dumps(made.build(leaves, {})) != text:
            raise Unlearnable("an answer that callbacks are told otherwise")
        self.texts[response] = made

    def _said(self, value: Any) -> Any:
        try:
            return self._construct(type_=self._completion, value=value).model_dump(warnings="error")
        except PydanticSerializationError:
            raise Unlearnable("an answer that the SDK warns of") from None

    def _converter(self, plan: Any) -> Callable[[Any], Any]:
        constants = {key: value for key, source, value in plan.hidden if source == "constant"}
        provider = constants["custom_llm_provider"]

        def convert(value: Any) -> Any:
            made = self.litellm.ModelResponse()
            made.usage = self.litellm.Usage()
            if provider != "openai":
                made.model = f"{provider}/model"
            return self._convert(response_object=self._said(value), model_response_object=made, _response_headers={})

        return convert

    def _additional(self, headers: dict[str, str]) -> dict[str, str]:
        if any("response-cost" in name for name in headers):
            raise Unlearnable("a price in the response headers")
        once: dict[str, str] = self._first_headers(headers)
        twice: dict[str, str] = self._second_headers(once, preserve_litellm_internal_headers=True)
        return twice

    def _plain(self, provider: str, model: str) -> bool:
        """Return whether only texts are known to be passed on as they are; else all messages are, as OpenAI's.

        Raises ``Unlearnable`` where not even texts are.
        """
        utils = self.litellm.utils
        base = self.litellm.OpenAIGPTConfig
        model = model.removeprefix(f"{provider}/")
        try:
            config = utils.ProviderConfigManager.get_provider_chat_config(
                model=model, provider=self.litellm.LlmProviders(provider)
            )
        except ValueError:
            config = None
        if all(getattr(type(config), name, None) is getattr(base, name) for name in _TRANSFORMS):
            return False
        if provider not in _TEXT_PROVIDERS:
            raise Unlearnable("a provider with its own messages")
        for texts in _TEXTS:
            given = [dict(message) for message in texts]
            said = config.transform_request(
                model=model, messages=given, optional_params={}, litellm_params={}, headers={}
            )
            if said["messages"] != texts:
                raise Unlearnable("a provider with its own messages")
        return True

    def _hidden(self, result: Any) -> tuple[tuple[str, str, Any], ...]:
        if type(result) is not self.litellm.ModelResponse:
            raise Unlearnable(f"a result of type {type(result).__name__}")
        hidden: list[tuple[str, str, Any]] = []
        for key, value in result._hidden_params.items():
            if key in _HIDDEN_SOURCES:
                hidden.append((key, _HIDDEN_SOURCES[key], None))
            elif key in _HIDDEN_CONSTANTS and isinstance(value, str | float | None):
                hidden.append((key, "constant", value))
            elif key == "optional_params":  # before LiteLLM 1.103: what the request asks for, for the caller to keep
                hidden.append((key, "copied", _marshalled(value)))
            else:
                raise Unlearnable(f"hidden parameter {key}")
        return tuple(hidden)


def headers_of(headers: Any) -> list[tuple[str, str]]:
    """Return response headers, of aiohttp or of httpx, as a list of lower-case names and values."""
    if hasattr(headers, "items"):
        return [(name.lower(), value) for name, value in headers.items()]
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]


def _request(sent: Sent, kind: str) -> dict[str, Any]:
    """Return what the transport needs to send such a request again: by name, for event loops or for threads."""
    request = sent.request
    if kind == "sync":
        head = Head(request.url, request.headers.raw)
        return {"url": request.url, "head": head, "timeout": request.extensions.get("timeout")}
    timeout, proxy, server_hostname, ssl_verify = sent.options
    options = {
        "url": URL(str(request.url), encoded=True),
        "headers": CIMultiDict(request.headers.multi_items()),
        "timeout": ClientTimeout(sock_connect=timeout.connect, sock_read=timeout.read, connect=timeout.pool),
        "proxy": proxy,
        "server_hostname": server_hostname,
        "prepared": weakref.WeakKeyDictionary(),
    }
    if ssl_verify is not None:
        options["ssl"] = ssl_verify
    return options


def _coster(total: Callable[[Any], Any], logging: Any, hidden: dict[str, Any]) -> Callable[[Any], Any]:
    """Return what prices a result and, where there is no price, says what stock says."""
    model, model_id = hidden.get("litellm_model_name"), hidden.get("model_id")

    def cost(result: Any) -> Any:
        found = total(result)
        if found:
            return found
        logging.zero_cost_warned = False  # stock warns once a call, and this is another call
        return logging._response_cost_calculator(result=result, litellm_model_name=model, router_model_id=model_id)

    return cost


def _masked(result: Any) -> Any:
    """Return everything about ``result`` but its id and its times."""
    masked = result.model_copy()
    masked.__dict__["_response_ms"] = 0.0
    hidden = masked._hidden_params = {**result._hidden_params, **_VOLATILE}
    headers = hidden["additional_headers"]
    if _GROUP in headers:
        hidden["additional_headers"] = dict(itertools.takewhile(lambda item: item[0] != _GROUP, headers.items()))
    return learn.state(masked)


def _marshalled(value: Any) -> bytes:
    try:
        return marshal.dumps(value)
    except ValueError:
        raise Unlearnable("a parameter that has no plain form") from None
