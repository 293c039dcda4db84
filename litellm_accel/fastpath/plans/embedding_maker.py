"""Plans of embeddings: all of an answer but its vectors has a template; these are taken from it as they are."""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import json
from array import array
from collections.abc import Callable
from typing import Any, ClassVar

import orjson
from pydantic_core import PydanticSerializationError

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.message_rules import ANYTHING, Rewrite
from litellm_accel.fastpath.notify.rates import is_plain, note_time, pricing_facts
from litellm_accel.fastpath.plans import templates
from litellm_accel.fastpath.plans.header_maps import HeaderMaps
from litellm_accel.fastpath.plans.maker import PlanMaker, around, converted
from litellm_accel.fastpath.plans.recorder import Conversion, Recording, Reply
from litellm_accel.fastpath.plans.templates import HEADERS, Unrepeatable
from litellm_accel.hot import chat, embeddings, template
from litellm_accel.stock import providers

_MAX_PRICES = 1024


class EmbeddingPlan(chat.Plan):
    """How to repeat one kind of embeddings."""

    #: Whether a text is sent as a list of one.
    wraps = False
    #: Whether the SDK has asked for base64 itself, and makes numbers of it; None where no answer has shown that.
    decodes: bool | None = None
    #: What the response keeps of the headers it came with, where that is not just these.
    kept_headers: HeaderMaps | None = None

    def body(self, messages: bytes, free: dict[str, bytes]) -> bytes:
        """Return the request body around the encoded input and values."""
        return super().body(b"[%b]" % messages if self.wraps and messages.startswith(b'"') else messages, free)

    def answer(self, status: int, headers: Any, body: bytes) -> EmbeddingAnswer | None:
        """Return what a reply says, or None if the plan does not cover it and stock must judge it."""
        if status != 200:
            return None
        read = chat.read_headers(headers)
        if read is None:
            return None
        shown, cookies, names = read
        if shown.get("content-type") != self.content_type:
            return None
        encoding = shown.get("content-encoding")
        value = chat.value_of(body, encoding)
        if type(value) is not dict:
            return None
        entries = embeddings.entries_of(value.get("data"), body if encoding is None else None, self.conversion is None)
        if entries is None or not self._decode(entries):
            return None
        value["data"] = []
        found = chat.shape_of(value, self.sums)
        made = None if found is None else self.templates.get(found[0])
        header_map = self.header_maps.find(names)
        kept = () if self.kept_headers is None else self.kept_headers.find(names)
        if found is None or made is None or header_map is None or kept is None:
            return None
        answer = EmbeddingAnswer(self, made, found[1], shown, cookies, header_map, body, headers, None)
        answer.value, answer.entries, answer.kept = value, entries, kept
        return answer

    def _decode(self, entries: list[Any]) -> bool:
        """Make numbers of base64, where the SDK does; return whether it is known what it does."""
        for entry in entries if self.decodes is not False else ():
            vector = entry["embedding"]
            if type(vector) is str:
                if self.decodes is None:
                    return False
                try:
                    entry["embedding"] = array("f", base64.b64decode(vector)).tolist()
                except ValueError:
                    return False
        return True


class EmbeddingAnswer(chat.Answer):
    """A reply that the plan covers: its ``entries`` as LiteLLM returns them, and the rest of its ``value``.

    ``kept`` are the headers that the response keeps, by name and number, where these are not all.
    """

    value: dict[str, Any]
    entries: list[Any]
    kept: tuple[tuple[str, int], ...]

    def result(self, started: float, provider_ms: float, price: Any = None) -> Any:
        """Return the response object for a call that began at ``started`` (``time.time()``)."""
        made = super().result(started, provider_ms, price)
        made.__dict__["data"] = self.entries
        if self.kept:
            values = list(self.headers.values())
            made.__pydantic_private__[HEADERS] = {name: values[number] for name, number in self.kept}
        return made


class EmbeddingPlanMaker(PlanMaker):
    """Makes plans of embeddings."""

    plan_class: ClassVar[type[chat.Plan]] = EmbeddingPlan
    subject: ClassVar[str] = "input"
    conversions: ClassVar[dict[str, str]] = providers.EMBEDDING_CONVERSIONS

    def __init__(self) -> None:
        super().__init__()
        self.result_class = self.litellm.EmbeddingResponse
        self._keeps_model = False
        self._answer_class = importlib.import_module("openai.types").CreateEmbeddingResponse
        self._add_request_id = importlib.import_module("openai._models").add_request_id

    @functools.cached_property
    def _azures(self) -> HeaderMaps:
        return HeaderMaps(importlib.import_module("litellm.llms.azure.common_utils").process_azure_headers)

    def warn(self, result: Any) -> None:
        """Have pydantic warn of the texts among the vectors of a ``result``, as the provider SDK's objects do."""
        if any(type(entry["embedding"]) is str for entry in result.data):
            usage = {"prompt_tokens": 0, "total_tokens": 0}
            value = {"object": "list", "model": "", "data": result.data, "usage": usage}
            self._construct(type_=self._answer_class, value=value).model_dump()

    def _rules_of(
        self, provider: str, recording: Recording, pricing: dict[str, Any], result: Any
    ) -> tuple[int, Rewrite]:
        return ANYTHING, lambda given: given

    def plan(self, recording: Recording, result: Any, messages: bytes, free: dict[str, bytes], *rest: Any) -> chat.Plan:
        """Return the plan that repeats a recorded call, proven on its ``result``. Raises ``Unrepeatable``."""
        made = super().plan(recording, result, messages, free, *rest)
        assert isinstance(made, EmbeddingPlan)
        made.wraps = made.body(messages, free) != recording.sent[0].request.content
        if made.body(messages, free) != recording.sent[0].request.content:
            raise Unrepeatable(decline.MESSAGES_REWRITTEN)
        return made

    def total(self, pricing: dict[str, Any]) -> Callable[[Any], Any]:
        """Return what prices a result as the recorded call priced its own: the same tokens are priced once a minute.

        A price that depends on how long a call took is made each time.
        """
        total, known = super().total(pricing), dict[Any, Any]()

        def priced(result: Any) -> Any:
            usage = result.usage
            if not is_plain(usage):
                return total(result)
            key = pricing_facts(result), usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, chat.minute()
            if key in known:
                return known[key]
            if len(known) >= _MAX_PRICES:
                known.clear()
            price, milliseconds = total(result), result._response_ms
            note_time(result, 1e9)
            if total(result) == price:
                known[key] = price
            note_time(result, milliseconds)
            return price

        return priced

    def extend(self, plan: chat.Plan, reply: Reply, result: Any, text: Any = None) -> bool:
        """Learn from a reply and stock's ``result`` for it what ``plan`` lacks to serve such replies."""
        assert isinstance(plan, EmbeddingPlan)
        read = chat.read_headers(reply.headers)
        if read is not None and plan.tells_headers and result._response_headers != read[0]:
            plan.kept_headers = self._azures
        if plan.decodes is None:
            plan.decodes = self._decodes(reply, result)
        return super().extend(plan, reply, result, text)

    def _decodes(self, reply: Reply, result: Any) -> bool | None:
        """Return whether texts among a ``reply``'s vectors are numbers in its ``result``, None if there are none."""
        read = chat.read_headers(reply.headers)
        value = None if read is None else chat.value_of(reply.body, read[0].get("content-encoding"))
        data = value.get("data") if type(value) is dict else None
        for one, entry in zip(*(held if type(held) is list else () for held in (data, result.data)), strict=False):
            if type(one) is dict and type(one.get("embedding")) is str:
                return type(entry.get("embedding")) is list
        return None

    def _around(self, body: bytes, subject: bytes, conversion: Conversion | None) -> tuple[bytes, bytes, bool]:
        for spaced in (False, True):
            for value in (subject, b"[%b]" % subject):
                with contextlib.suppress(Unrepeatable):
                    return (*around(body, self.subject, value, spaced), spaced)
        raise Unrepeatable(decline.MESSAGES_REWRITTEN)

    def _value_of(self, body: bytes, encoding: str | None) -> Any:
        value = super()._value_of(body, encoding)
        if type(value) is not dict or type(value.get("data")) is not list:
            return None
        return {**value, "data": []}

    def _said(self, value: Any) -> Any:
        try:
            return self._construct(type_=self._answer_class, value=value).model_dump(warnings="error")
        except PydanticSerializationError:
            raise Unrepeatable(decline.ANSWER_WARNED_OF) from None

    def _converter(self, plan: chat.Plan) -> Any:
        if plan.conversion is not None:
            return functools.partial(converted, plan.conversion)

        def convert(value: Any) -> Any:
            made = self.litellm.EmbeddingResponse()
            said = self._said(value)
            return self._convert(
                response_object=said, model_response_object=made, response_type="embedding", _response_headers={}
            )

        return convert

    def _learn_text(self, plan: chat.Plan, answer: Any, value: Any, text: Any, result: Any) -> None:
        """Learn how callbacks are told an answer: as it came, written again, or as the SDK's object."""
        known = self.texts.get(answer.template)
        ways: list[Callable[[Any], Any]] = [EmbeddingAnswer.text]
        if plan.conversion is None:
            ways += _Writing(templates.learn_template(self._said, value)), self._object
        if "charset=" not in plan.content_type or "utf-8" in plan.content_type:
            for way in ways if known is None else (known,):
                if _are_same(way(answer), text):
                    self.texts[answer.template] = way
                    return
        raise Unrepeatable(decline.ANSWER_TEXT)

    def _object(self, answer: EmbeddingAnswer) -> Any:
        """Return what the SDK makes of an answer, sooner: each number of a list is an object of its to be made."""
        entries = [{**entry, "embedding": []} for entry in answer.entries]
        made = self._construct(type_=self._answer_class, value={**answer.value, "data": entries})
        for one, entry in zip(made.data, answer.entries, strict=True):
            vector = entry["embedding"]
            one.__dict__["embedding"] = vector if type(vector) is str else vector.copy()
        self._add_request_id(made, answer.headers.get("x-request-id"))
        return made


class _Writing:
    """Writes an answer as LiteLLM does for its callbacks.

    ``made`` is the template of the dictionary that the SDK makes of it, with no data.
    """

    def __init__(self, made: template.Template) -> None:
        self._template = made

    def __call__(self, answer: EmbeddingAnswer) -> str:
        head, tail = '{"data": [', json.dumps(self._template.build(answer.leaves, {}))
        entries = [
            f'{{"embedding": {_spelled(entry)}, "index": {entry["index"]}, "object": "embedding"}}'
            for entry in answer.entries
        ]
        return head + ", ".join(entries) + tail.removeprefix(head)


def _spelled(entry: dict[str, Any]) -> str:
    vector = entry["embedding"]
    return json.dumps(vector) if type(vector) is str else spelled(vector)


def spelled(numbers: list[float]) -> str:
    """Return floats as the ``json`` module writes them, much sooner."""
    text = orjson.dumps(numbers)[1:-1]
    if b"n" in text:
        return json.dumps(numbers)  # some are none
    for mark in (b"0.0000", b"e"):  # very small and very large ones, which orjson writes in another way
        text = _respelled(text, mark)
    return f"[{text.replace(b',', b', ').decode()}]"


def _respelled(text: bytes, mark: bytes) -> bytes:
    """Return numbers with those in Python's words that hold a ``mark``."""
    place, done = text.find(mark), 0
    pieces: list[bytes] = []
    while place >= 0:
        begin = text.rfind(b",", done, place) + 1
        end = text.find(b",", place)
        end = len(text) if end < 0 else end
        pieces += text[done:begin], repr(float(text[begin:end])).encode()
        place, done = text.find(mark, end), end
    return b"".join([*pieces, text[done:]])


def _are_same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and bool(one == two) and (type(one) is str or vars(one) == vars(two))
