"""Makes plans: from a recording of one call that stock has served, and the result that stock returned for it."""

from __future__ import annotations

import asyncio
import copy
import functools
import hashlib
import importlib
import itertools
import json
import marshal
import time
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar

import httpx
import orjson
from aiohttp import ClientTimeout
from pydantic_core import PydanticSerializationError
from yarl import URL

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.conversations import Conversation, Rewriting
from litellm_accel.fastpath.admission.message_rules import ANYTHING, MessageRules, Rewrite
from litellm_accel.fastpath.admission.schema_rules import SchemaRules, tried_in
from litellm_accel.fastpath.known_names import PRICE, SENT_HEADERS
from litellm_accel.fastpath.notify.rates import (
    FAILED,
    STATED_PRICE,
    UNKNOWN_MODEL,
    explains_costs,
    extra,
    is_plain,
    note_time,
    pricing_facts,
    stated_price,
)
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.fastpath.plans import templates
from litellm_accel.fastpath.plans.header_maps import HeaderMaps
from litellm_accel.fastpath.plans.recorder import Conversion, Recording, Reply, Sent
from litellm_accel.fastpath.plans.templates import InconclusiveRecording, Unrepeatable
from litellm_accel.fastpath.transport.client_guard import ClientGuard, transport_of
from litellm_accel.fastpath.transport.loop_clients import ClientSource, Transports, source_of
from litellm_accel.fastpath.transport.request_head import RequestHeaders
from litellm_accel.hot import chat, template
from litellm_accel.stock import providers, seams

_ANSWERING = "provider_response_model"
_HIDDEN_SOURCES = {
    "headers": "headers",
    "additional_headers": "additional",
    "_response_ms": "total",
    "litellm_overhead_time_ms": "overhead",
    "litellm_call_id": "call",
    "response_cost": "cost",
    _ANSWERING: "model",
    "upstream_provider": "upstream",
}
_HIDDEN_CONSTANTS = frozenset(
    ("api_base", "callback_duration_ms", "custom_llm_provider", "litellm_model_name", "model_id", "region_name")
)
_VOLATILE = {"_response_ms": 0.0, "litellm_overhead_time_ms": 0.0, "litellm_call_id": ""}
_SECONDS = 3000.0  # LiteLLM drops a client after an hour; plans do not outlive theirs
_NOT_PASSED = frozenset(("response_object", "litellm_logging_obj", "cache_hit"))
_JSON_TOOL = b'"json_tool_call"'  # by which LiteLLM asks for JSON, to take it from the answer's calls
_GROUP = "x-litellm-model-group"  # the first header a router adds
_LIMITS = "x-ratelimit-"
# The last ones, where the first attempt has succeeded.
FIRST_ATTEMPT = {"x-litellm-attempted-retries": 0, "x-litellm-attempted-fallbacks": 0}


class PlanMaker:
    """Makes plans and templates with the installed LiteLLM's own conversion functions.

    A plan is of ``plan_class``; ``subject`` is the member of a request that holds what comes with each call. By
    ``conversions``, providers that LiteLLM calls without an SDK have their answers turned into responses.
    """

    plan_class: ClassVar[type[chat.Plan]] = chat.Plan
    subject: ClassVar[str] = "messages"
    conversions: ClassVar[dict[str, str]] = providers.CONVERSIONS

    def __init__(self) -> None:
        self.litellm = importlib.import_module("litellm")
        self.result_class: Any = self.litellm.ModelResponse
        self._keeps_model = True  # whether LiteLLM notes the answer's model beside the result: of embeddings, not
        self._convert = importlib.import_module(
            "litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response"
        ).convert_to_model_response_object
        self._first_headers = importlib.import_module(
            "litellm.litellm_core_utils.llm_response_utils.get_headers"
        ).get_response_headers
        self._second_headers = importlib.import_module(
            "litellm.litellm_core_utils.core_helpers"
        ).process_response_headers
        self._rules = MessageRules()
        self._schema_rules = SchemaRules()
        self._construct = importlib.import_module("openai._models").construct_type
        self._answer_class = importlib.import_module("openai.types.chat").ChatCompletion
        self._leaves_out = seams.leaves_out_unset()
        self.templates: dict[tuple[str, str], dict[Any, Any]] = {}
        self.prices: dict[tuple[str, str], dict[Any, Any]] = {}
        # An answer's headers are read by one function or the other first, and by the second in the end.
        readers = (self._first_headers, self._second_headers)
        self._header_maps = [(first, HeaderMaps(functools.partial(self._additional, first))) for first in readers]
        self.texts: dict[Any, Callable[[Any], str] | None] = {}

    def plan(
        self,
        recording: Recording,
        result: Any,
        messages: bytes,
        free: dict[str, bytes],
        added_headers: frozenset[str],
        epoch: int,
        conversation: Conversation | None = None,
    ) -> chat.Plan:
        """Return the plan that repeats a recorded call, proven on its ``result``. Raises ``Unrepeatable``.

        A router's additions to the headers of the result are set aside: it makes them itself.
        """
        if len(recording.sent) != 1 or recording.pricing is None:
            raise InconclusiveRecording(decline.SEVERAL_REQUESTS)
        sent = recording.sent[0]
        if sent.reply.status != 200 or sent.reply.body_error is not None:
            raise InconclusiveRecording(decline.NO_SUCCESS)
        if any(one.warns for one in recording.heard):
            raise Unrepeatable(decline.WARNS)
        if not recording.listens:
            raise Unrepeatable(decline.LOGGER_REPLACED)
        _require_hidden(result)
        without_routers(result._hidden_params.get("additional_headers") or {})
        conversion = recording.conversion
        names = {name.lower().decode("latin-1") for name, _ in sent.request.headers.raw}
        pricing = recording.stream.logging_obj.model_call_details if recording.streams else recording.pricing
        provider = str(pricing["custom_llm_provider"])
        if recording.streams and conversion is not None:
            raise Unrepeatable(decline.STREAM_WITHOUT_SDK)
        if conversion is None:
            logging = recording.stream.logging_obj if recording.streams else pricing["litellm_logging_obj"]
            if logging is None:
                raise Unrepeatable(decline.PRICED_UNTOLD)
        kinds, rewrite = self._rules_of(provider, recording, pricing, result)
        rewriting = Rewriting(rewrite, kinds != ANYTHING)
        if conversation is not None:
            messages = rewriting.learn(conversation, json.loads(sent.request.content)["messages"])
        elif kinds != ANYTHING and chat.kinds_of(orjson.loads(messages)) & ~kinds:
            raise InconclusiveRecording(decline.PROVIDER_MESSAGES.of(provider))
        prefix, suffix, spaced = self._around(sent.request.content, messages, conversion)
        if unknown := names - SENT_HEADERS - added_headers:
            raise Unrepeatable(decline.REQUEST_HEADER.of(min(unknown)))
        if "content-length" in added_headers:
            raise Unrepeatable(decline.REQUEST_HEADERS)
        if provider == "azure" and "authorization" in names:
            raise Unrepeatable(decline.EXPIRING_TOKEN)
        if conversion is None and _JSON_TOOL in suffix:
            raise Unrepeatable(decline.ANSWER_BY_CONTENT)
        read = chat.read_headers(sent.reply.headers)
        if read is None:
            raise Unrepeatable(decline.RESPONSE_HEADERS)
        hidden = () if recording.streams else self._hidden(result)
        kind = "sync" if not sent.options else "async"
        # LiteLLM runs a router's call in a thread in a loop of its own. Releases before 1.108 keep a client for each
        # such loop; an HTTP client that the user has given is in all of them.
        is_shared = sent.loop is asyncio._get_running_loop() or not self._is_kept_for(sent.loop, sent.transport)
        held = getattr(self.litellm.client_session, "_transport", None)
        source, transport = None, sent.transport
        if is_shared:
            source, transport = source_of(recording.clients, transport, self._kept())
        client = self.client(transport, sent.request.url, is_shared or held is transport)
        own_cookie = client.gives_cookie or "cookie" in added_headers
        shared = (provider, kind) if conversion is None else (provider, kind, *_conversion_key(conversion))
        plan = self.plan_class(
            prefix,
            suffix,
            spaced,
            hidden,
            read[0].get("content-type", ""),
            self.templates.setdefault(shared, {}),
            self._maps_for(read[0], result),
            None
            if recording.streams
            else _Coster(
                self.total(recording.pricing), recording.pricing["litellm_logging_obj"], result._hidden_params
            ),
            self.transports(sent.request.url, source, client),
            _request(sent, kind, own_cookie),
            epoch,
            time.time() + _SECONDS,
            free,
        )
        plan.kinds = kinds
        plan.rewriting = rewriting
        plan.conversion = conversion
        plan.prices = self.prices.setdefault(shared, {})
        plan.sums = providers.spec_of(provider).sums_tokens
        if not recording.streams:
            plan.tells_headers = result._response_headers is not None
            recording.is_foretold = self.extend(plan, sent.reply, result, recording.text)
        return plan

    def _rules_of(
        self, provider: str, recording: Recording, pricing: dict[str, Any], result: Any
    ) -> tuple[int, Rewrite]:
        """Return the kinds of messages that reach the ``provider`` as they are, and what rewrites others."""
        if recording.conversion is not None:
            return self._rules.http(provider, recording.conversion, result._hidden_params.get("response_cost"))
        logging = recording.stream.logging_obj if recording.streams else pricing["litellm_logging_obj"]
        known = logging.model_call_details["litellm_params"]
        model = str(result._hidden_params.get("litellm_model_name"))
        return self._rules.sdk(provider, model, known.get("api_base"), known.get("model_info"))

    def rewritten(self, arguments: Mapping[str, Any], recording: Recording) -> frozenset[str]:
        """Return the names of a recorded call's ``arguments`` whose schemas the provider may not get as they are."""
        if not tried_in(arguments):
            return frozenset()
        assert recording.pricing is not None  # or there is no plan
        pricing = recording.stream.logging_obj.model_call_details if recording.streams else recording.pricing
        provider = str(pricing["custom_llm_provider"])
        rules, conversion = self._schema_rules, recording.conversion
        if conversion is not None:
            given = conversion.given
            return rules.rewritten(arguments, provider, given["model"], given["litellm_params"], conversion.config)
        logging = recording.stream.logging_obj if recording.streams else pricing["litellm_logging_obj"]
        known = logging.model_call_details["litellm_params"]
        model = str(recording.result._hidden_params.get("litellm_model_name")).removeprefix(f"{provider}/")
        return rules.rewritten(arguments, provider, model, {**known, "custom_llm_provider": provider})

    def _around(self, body: bytes, subject: bytes, conversion: Conversion | None) -> tuple[bytes, bytes, bool]:
        """Return what a request holds before and after its ``subject``, and whether that is written with spaces."""
        spaced = conversion is not None
        return (*around(body, self.subject, subject, spaced), spaced)

    def total(self, pricing: dict[str, Any]) -> Callable[[Any], Any]:
        """Return what prices a result as the recorded call priced its own, and says nothing: None without a price."""
        calculator = self.litellm.cost_calculator
        # What stock passes on; a logging object would only be told how the cost is made up.
        passed = {name: value for name, value in pricing.items() if name not in _NOT_PASSED}
        if not any((passed["standard_built_in_tools_params"] or {}).values()):
            passed["standard_built_in_tools_params"] = None  # no such tools, said at less cost

        def total(result: Any) -> Any:
            try:
                stated = stated_price(result)
                if stated is not None:
                    return float(stated)
                return calculator.completion_cost(completion_response=result, **passed)
            except Exception:  # stock has more to say when there is no price
                return None

        return total

    def transports(self, url: httpx.URL, source: ClientSource | None, held: ClientGuard) -> Transports:
        """Return clients for requests to ``url`` by event loop: the running one's is ``held``.

        There is no ``source`` where a client is stock's for a loop that has ended with its call.
        """
        transports = Transports(source, functools.partial(self.client, url=url))
        transports[asyncio._get_running_loop()] = held
        return transports

    def client(self, transport: Any, url: httpx.URL, is_shared: bool = True) -> ClientGuard:
        """Return LiteLLM's client of ``transport``, for requests to ``url``. Raises ``Unrepeatable``."""
        return ClientGuard(self._kept(), transport, url, is_shared)

    def _is_kept_for(self, loop: Any, transport: Any) -> bool:
        """Return whether LiteLLM keeps its client of ``transport`` for ``loop`` alone, and no other call gets it."""
        end = seams.end_of_keys(self.litellm.in_memory_llm_clients_cache, loop)
        kept = list(self._kept().items())
        return any(key.endswith(end) and transport_of(client) is transport for key, client in kept)

    def _kept(self) -> dict[str, Any]:
        """Return the clients that LiteLLM keeps."""
        kept: dict[str, Any] = self.litellm.in_memory_llm_clients_cache.cache_dict
        return kept

    def extend(
        self,
        plan: chat.Plan,
        reply: Reply,
        result: Any,
        text: Any = None,
    ) -> bool:
        """Learn from a reply and stock's ``result`` for it what ``plan`` lacks to serve such replies.

        ``text`` is the answer as stock tells it to callbacks, None if nobody listens. Raises ``Unrepeatable``; then the
        plan is as it was. Returns whether what earlier replies have shown foretold the result.
        """
        _require_hidden(result)
        read = chat.read_headers(reply.headers)
        if read is None:
            raise Unrepeatable(decline.RESPONSE_HEADERS)
        value = self._value_of(reply.body, read[0].get("content-encoding"))
        found = None if value is None else chat.shape_of(value, plan.sums)
        if found is None:
            raise Unrepeatable(decline.ANSWER_BY_CONTENT)
        new_shape = found[0] not in plan.templates
        try:
            if new_shape:
                self._learn_shape(plan, found[0], value)
            answer = plan.answer(reply.status, reply.headers, reply.body)
            if answer is None:
                raise Unrepeatable(decline.ANSWER_UNREADABLE)
            made = answer.result(0.0, 0.0, lambda made: plan.cost(made, quiet=True))
            if templates.state(masked(made)) != templates.state(masked(result)):
                raise Unrepeatable(decline.RESULT_DIFFERS)
            if text is not None:
                self._learn_text(plan, answer, value, text, result)
        except BaseException as error:
            if new_shape:
                plan.templates.pop(found[0], None)
                plan.prices.pop(found[0], None)
            if isinstance(error, RecursionError):
                raise Unrepeatable(decline.ANSWER_TOO_DEEP) from None
            raise
        return not new_shape

    def _value_of(self, body: bytes, encoding: str | None) -> Any:
        """Return the part of an answer that has a shape, or None."""
        return chat.value_of(body, encoding)

    def _learn_shape(self, plan: chat.Plan, shape: Any, value: Any) -> None:
        """Learn how an answer like ``value`` becomes a response, and the price that it states, if it does."""
        if not _states_number(value):  # pydantic warns of it wherever it is dumped
            raise Unrepeatable(decline.ANSWER_BY_CONTENT)
        convert = self._converter(plan)
        if plan.conversion is not None:
            members = (part for part in shape if type(part) is tuple)
            if not all(map(providers.JUDGED.isdisjoint, members)):
                raise Unrepeatable(decline.ANSWER_BY_CONTENT)
            price = templates.learn_template(lambda example: stated_price(convert(example)), value, plan.sums)
            if price.root != (template.CONSTANT, None):
                plan.prices[shape] = price
        plan.templates[shape] = templates.learn_template(convert, value, plan.sums)

    def _learn_text(self, plan: chat.Plan, answer: Any, value: Any, text: Any, result: Any) -> None:
        """Learn how callbacks are told an answer: as it came, written again, or as the result."""
        if text is result:
            self.texts[answer.template] = None
            return
        known = self.texts.get(answer.template)
        if known is None and plan.conversion is None:
            known = _as_said(templates.learn_template(self._said, value))
        if "charset=" not in plan.content_type or "utf-8" in plan.content_type:
            for way in (_as_it_came, _written_again) if known is None else (known,):
                if way(answer) == text:
                    self.texts[answer.template] = way
                    return
        raise Unrepeatable(decline.ANSWER_TEXT)

    def _said(self, value: Any) -> Any:
        try:
            answer = self._construct(type_=self._answer_class, value=value)
            return answer.model_dump(warnings="error", exclude_unset=self._leaves_out)
        except PydanticSerializationError:
            raise Unrepeatable(decline.ANSWER_WARNED_OF) from None

    def _converter(self, plan: chat.Plan) -> Callable[[Any], Any]:
        if plan.conversion is not None:
            return functools.partial(converted, plan.conversion)
        constants = {key: value for key, source, value in plan.hidden if source == "constant"}
        provider = constants.get("custom_llm_provider")
        if provider is None:  # the answer has put its own hidden parameters there
            raise Unrepeatable(decline.OWN_HIDDEN_PARAMS)

        def convert(value: Any) -> Any:
            made = self.litellm.ModelResponse()
            made.usage = self.litellm.Usage()
            if provider not in ("openai", "azure"):
                made.model = f"{provider}/model"
            return self._convert(response_object=self._said(value), model_response_object=made, _response_headers={})

        return convert

    def _maps_for(self, headers: dict[str, str], result: Any) -> HeaderMaps:
        """Return what makes of an answer's ``headers`` what stock has told in its ``result``."""
        told = list(without_routers(result._hidden_params.get("additional_headers") or {}).items())
        for first, maps in self._header_maps:
            if list(self._additional(first, dict(headers)).items()) == told:
                return maps
        return self._header_maps[0][1]

    def _additional(self, first: Callable[[Any], Any], headers: dict[str, str]) -> dict[str, str]:
        price = headers.pop(PRICE, None)
        once: dict[str, Any] = first(headers)
        if price is not None:
            once[STATED_PRICE] = 0.0  # a number, which LiteLLM treats otherwise than texts
        twice: dict[str, str] = self._second_headers(once, preserve_litellm_internal_headers=True)
        if price is not None:
            twice[STATED_PRICE] = price
        return twice

    def _hidden(self, result: Any) -> tuple[tuple[str, str, Any], ...]:
        if type(result) is not self.result_class:
            raise Unrepeatable(decline.RESULT_CLASS.of(type(result).__name__))
        hidden: list[tuple[str, str, Any]] = []
        for key, value in result._hidden_params.copy().items():
            if key == "headers" and type(value) is httpx.Headers:
                hidden.append((key, "received", None))
            elif key == "additional_headers" and not without_routers(value):
                hidden.append((key, "copied", marshal.dumps({})))
            elif key == _ANSWERING and value is None and (result.model is not None or not self._keeps_model):
                hidden.append((key, "constant", None))
            elif key in _HIDDEN_SOURCES:
                hidden.append((key, _HIDDEN_SOURCES[key], None))
            elif key in _HIDDEN_CONSTANTS and isinstance(value, str | float | None):
                hidden.append((key, "constant", value))
            elif key == "optional_params":  # before LiteLLM 1.103: what the request asks for, for the caller to keep
                hidden.append((key, "copied", _marshalled(value)))
            else:
                raise Unrepeatable(decline.HIDDEN_PARAM.of(key))
        return tuple(hidden)


def _require_hidden(result: Any) -> None:
    """Raise ``Unrepeatable`` if an answer has put something of its own in the place of the hidden parameters."""
    if type(result._hidden_params) is not dict:
        raise Unrepeatable(decline.OWN_HIDDEN_PARAMS)


def around(body: bytes, member: str, value: bytes, spaced: bool) -> tuple[bytes, bytes]:
    """Return what a request holds before and after the ``value`` of a ``member``. Raises ``Unrepeatable``."""
    name = b'"%b": ' % member.encode() if spaced else b'"%b":' % member.encode()
    before, _, after = body.partition(name + (json.dumps(orjson.loads(value)).encode() if spaced else value))
    before += name
    try:
        if orjson.loads(before + b"null" + after)[member] is None:
            return before, after
    except orjson.JSONDecodeError:
        pass
    raise Unrepeatable(decline.MESSAGES_REWRITTEN)


def converted(conversion: Conversion, value: Any) -> Any:
    try:
        return conversion.convert(orjson.dumps(value))
    except Exception:  # stock has something to say of values like these
        raise Unrepeatable(decline.ANSWER_REFUSED) from None


def _states_number(value: Any) -> bool:
    """Return whether the price that an answer states, if it does, is a number; a text may be one or not."""
    usage = value.get("usage") if type(value) is dict else None
    return type(usage) is not dict or type(usage.get("cost")) in (int, float, type(None))


def _conversion_key(conversion: Conversion) -> tuple[Any, ...]:
    """Return what tells conversions apart that may make different responses of one answer."""
    given = conversion.given
    return type(conversion.config), given["model"], given["model_response"].model, given.get("json_mode")


def _as_said(made: Any) -> Callable[[Any], str]:
    """Return what writes an answer as JSON, in the form in which ``made`` is a template of it."""
    found = list(_texts(made.root))
    if any(type(text) is tuple for text in found):
        return lambda answer: json.dumps(made.build(answer.leaves, {}))
    runs = itertools.groupby(found, key=type)
    texts = list(itertools.chain.from_iterable(["".join(held)] if kind is str else held for kind, held in runs))
    places = [(place, index) for place, index in enumerate(texts) if type(index) is int]

    def say(answer: Any) -> str:
        leaves, said = answer.leaves, texts.copy()
        for place, index in places:
            value = leaves[index]
            said[place] = _WRITES.get(type(value), json.dumps)(value)
        return "".join(said)

    return say


# How leaves are written most quickly.
_WRITES: dict[type, Callable[[Any], str]] = {str: encode_basestring_ascii, int: repr}


def _texts(node: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the JSON of a template's ``node``: texts, the indices of leaves, and nodes that are neither."""
    kind, *held = node
    if kind == template.CONSTANT:
        yield json.dumps(held[0])
    elif kind == template.LEAF:
        yield held[0]
    elif kind == template.LIST:
        yield "["
        for number, part in enumerate(held[0]):
            yield ", " if number else ""
            yield from _texts(part)
        yield "]"
    elif kind == template.DICT and all(type(key) is str for key in held[0]):
        yield "{"
        for number, (key, part) in enumerate(zip(*held, strict=True)):
            yield f"{', ' if number else ''}{json.dumps(key)}: "
            yield from _texts(part)
        yield "}"
    else:
        yield node


def _as_it_came(answer: Any) -> str:
    text: str = answer.text()
    return text


def _written_again(answer: Any) -> str:
    return json.dumps(orjson.loads(answer.text()))


def _request(sent: Sent, kind: str, own_cookie: bool) -> dict[str, Any]:
    """Return what the transport needs to send such a request again: by name, for event loops or for threads.

    With ``own_cookie`` the request has a ``Cookie`` header that somebody has given. Raises ``Unrepeatable``.
    """
    request = sent.request
    try:
        headers = RequestHeaders(request.headers, own_cookie)
    except ValueError:
        raise Unrepeatable(decline.REQUEST_HEADERS) from None
    if kind == "sync":
        from litellm_accel.fastpath.transport.thread_pool import Head  # needs httpcore, which takes long to import

        return {**way_of(sent), "head": Head(request.url, headers), "headers": headers}
    return {**way_of(sent), "headers": headers, "prepared": OwnerCache()}


def way_of(sent: Sent) -> dict[str, Any]:
    """Return how a request was sent, besides its headers and its body."""
    request = sent.request
    if not sent.options:
        return {"url": request.url, "timeout": request.extensions.get("timeout")}
    timeout, proxy, server_hostname, ssl_verify = sent.options
    way = {
        "url": URL(str(request.url), encoded=True),
        "timeout": ClientTimeout(sock_connect=timeout.connect, sock_read=timeout.read, connect=timeout.pool),
        "proxy": proxy,
        "server_hostname": server_hostname,
    }
    return way if ssl_verify is None else {**way, "ssl": ssl_verify}


class _Coster:
    """Prices results and, where there is no price, says what stock says, or nothing if it has said so.

    LiteLLM looks for a price under many names before it gives up: a millisecond. Where it knows no model by any of them
    and had nothing to say, it need not look again for the same names; the price list is watched.
    """

    def __init__(self, total: Callable[[Any], Any], logging: Any, hidden: dict[str, Any]) -> None:
        self._total = total
        # A copy: this call's own object has yet to tell its callbacks, and warns once.
        self._logging = copy.copy(logging)
        self._logging.model_call_details = dict(logging.model_call_details)
        self._names = {
            "litellm_model_name": hidden.get("litellm_model_name"),
            "router_model_id": hidden.get("model_id"),
        }
        self._unknown: tuple[Any, ...] | None = None

    def __call__(self, result: Any, quiet: bool = False) -> Any:
        if self._unknown is not None and self._facts(result) == self._unknown:
            return None
        found = self._total(result)
        if found:
            return found
        logging = self._logging
        logging.zero_cost_warned = quiet  # stock warns once a call, and this is another call
        found = logging._response_cost_calculator(result=result, **self._names)
        if found is None and not logging.zero_cost_warned and explains_costs(logging):
            failure = logging.model_call_details.get(FAILED) or {}
            if UNKNOWN_MODEL in failure.get("error_str", ""):
                self._unknown = self._facts(result)
        return found

    def _facts(self, result: Any) -> tuple[Any, ...] | None:
        """Return what a price depends on besides the tokens of prompt and completion; None if on other usage, too."""
        return pricing_facts(result) if is_plain(extra(result, "usage")) else None


def masked(result: Any) -> Any:
    """Return a copy of ``result`` without its times, its call's identifier and a router's additions, see ``state``."""
    made = result.model_copy()
    if type(data := made.__dict__.get("data")) is list:
        made.__dict__["data"] = hashlib.blake2b(_marshalled(data)).hexdigest()  # thousands of numbers
    note_time(made, 0.0)
    hidden = made._hidden_params = {**result._hidden_params, **_VOLATILE}
    hidden["additional_headers"] = without_routers(hidden["additional_headers"])
    return made


def without_routers(headers: dict[str, Any]) -> dict[str, Any]:
    """Return a result's additional headers without those that a router has added."""
    headers = headers.copy()  # LiteLLM's threads may add to it
    own = dict(itertools.takewhile(lambda item: item[0] != _GROUP, headers.items()))
    added = {name: value for name, value in headers.items() if name not in own and not name.startswith(_LIMITS)}
    if added and added != {_GROUP: added.get(_GROUP), **FIRST_ATTEMPT}:
        raise InconclusiveRecording(decline.ROUTER_HEADERS)
    return own


def _marshalled(value: Any) -> bytes:
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        raise Unrepeatable(decline.PARAMETER_WITHOUT_FORM) from None
