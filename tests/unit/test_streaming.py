"""The reader, over both implementations: which events become chunks, and that nothing changes where none does."""

from __future__ import annotations

import copy
import json
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Reason

TEXT = {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Chunk(BaseModel):
    choices: list[Any]


def packet(*events: Any) -> bytes:
    return b"".join(b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events)


def state(**changes: Any) -> dict[str, Any]:
    """The attributes of a stream in its middle."""
    return {
        "sent_first_chunk": True,
        "received_finish_reason": None,
        "sent_last_chunk": False,
        "custom_llm_provider": "openai",
        "merge_reasoning_content_in_choices": False,
        "holding_chunk": "",
        "chunks": [],
        "response_uptil_now": "",
        "response_id": "before",
        "_repeated_messages_count": 1,
        **changes,
    }


def fresh(**changes: Any) -> dict[str, Any]:
    """The attributes of a stream before its first chunk."""
    nothing = ("created", "response_id", "system_fingerprint", "_provider_response_model", "intermittent_finish_reason")
    return {**state(), "sent_first_chunk": False, **dict.fromkeys(nothing), **changes}


class Case:
    """A reader that knows the shape of TEXT."""

    def __init__(self, hot: Any, limit: int = 100) -> None:
        self.module, self.nodes = hot("streaming"), hot("template")
        shape, leaves = self.nodes.leaves_of(TEXT)
        place = leaves.index("Hello")
        self.learned = self.module.ChunkTemplate(
            self.nodes.Template(self._chunk((self.nodes.LEAF, place))),
            self.nodes.Template((self.nodes.DICT, ("response_id",), ((self.nodes.LEAF, leaves.index("x")),))),
            True,
        )
        self.reader = self.module.Reader({shape: self.learned}, {"REPEATED_STREAMING_CHUNK_LIMIT": limit})

    def _chunk(self, content: Any) -> Any:
        nodes = self.nodes
        nothing = (nodes.CONSTANT, None)

        def model(kind: Any, fields: Any, extra: Any) -> Any:
            return (nodes.MODEL, kind, fields, frozenset(), extra, nothing)

        def of(**members: Any) -> Any:
            return (nodes.DICT, tuple(members), tuple(members.values()))

        choice = model(Open, of(), of(delta=model(Open, of(), of(content=content))))
        return model(Chunk, of(choices=(nodes.LIST, (choice,))), nothing)

    def read(self, stream: dict[str, Any], *packets: bytes) -> Any:
        for one in packets:
            self.reader.splitter.feed(one)
        return self.reader.chunk(stream)


def test_a_known_event_becomes_a_chunk_and_is_noted(hot: Any) -> None:
    case, stream = Case(hot), state()
    chunk = case.read(stream, packet(TEXT))
    assert hot("streaming").content_of(chunk) == "Hello"
    assert stream["chunks"] == [chunk]
    assert stream["response_uptil_now"] == "Hello"
    assert stream["response_id"] == "x"
    assert case.read(stream) == hot("streaming").MORE


def test_the_first_event_of_a_stream_has_a_template_of_its_own(hot: Any) -> None:
    case, stream = Case(hot), fresh()
    before = copy.deepcopy(stream)
    assert case.read(stream, packet(TEXT)) == hot("streaming").UNKNOWN
    assert stream == before
    case.reader.templates[case.reader.shape] = case.learned
    begun = int(time.time())
    assert hot("streaming").content_of(case.read(stream)) == "Hello"
    assert begun <= stream["created"] <= time.time()
    assert hot("streaming").content_of(case.read(state(), packet(TEXT))) == "Hello"


@pytest.mark.parametrize("change", [{"tool_call": True}, {"custom_llm_provider": "azure"}])
def test_what_stock_goes_by_besides_an_event_has_templates_of_its_own(hot: Any, change: Any) -> None:
    case = Case(hot)
    assert case.read(state(**change), packet(TEXT)) is decline.LEARNED_FROM
    case.reader.templates[case.reader.shape] = decline.CHUNK_DIFFERS
    assert case.read(state(**change)) is decline.CHUNK_DIFFERS
    assert hot("streaming").content_of(case.read(state())) == "Hello"


def test_chunks_of_a_provider_that_stock_treats_in_its_own_way_are_stock_s(hot: Any) -> None:
    assert Case(hot).read(state(custom_llm_provider="gemini"), packet(TEXT)) is decline.CHUNK_PROVIDER


@pytest.mark.parametrize(
    "change",
    [{"created": 5}, {"response_id": "x"}, {"response_uptil_now": "a"}, {"chunks": [1]}, {"system_fingerprint": "fp"}],
)
def test_a_stream_that_has_been_changed_before_its_first_chunk_is_left_to_stock(hot: Any, change: Any) -> None:
    assert Case(hot).read(fresh(**change), packet(TEXT)) is decline.FIRST_OR_LAST_CHUNK


@pytest.mark.parametrize(
    "event, reason",
    [
        ({**TEXT, "id": 5}, decline.LEARNED_FROM),
        (b'{"id": ', decline.CHUNK_NOT_JSON),
        (b"[DONE]", decline.CHUNK_NOT_JSON),
        ([1], decline.CHUNK_NOT_ONE),
        ({**TEXT, "error": {"message": "no"}}, decline.CHUNK_NOT_ONE),
        ({**TEXT, "id": "  "}, decline.CHUNK_CONTENT),
        ({**TEXT, "number": -0.0}, decline.CHUNK_CONTENT),
        (b'{"id": "\\ud83d"}', decline.CHUNK_NOT_JSON),
        (b'{"a": "\xff"}', decline.CHUNK_NOT_JSON),
    ],
)
def test_any_other_event_is_left_where_it_is(hot: Any, event: Any, reason: Reason) -> None:
    case, stream = Case(hot), state()
    before = copy.deepcopy(stream)
    for _ in range(2):
        assert case.read(stream, packet(event)) is reason
        assert stream == before
    if reason is hot("streaming").UNKNOWN:
        assert case.reader.value == event
        refused = decline.REFUSED.of(decline.CHUNK_UNLIKE)
        case.reader.templates[case.reader.shape] = refused
        for _ in range(2):
            assert case.read(stream) is refused
            assert stream == before


@pytest.mark.parametrize(
    "change",
    [
        {"sent_first_chunk": False},
        {"received_finish_reason": "stop"},
        {"sent_last_chunk": True},
        {"merge_reasoning_content_in_choices": True},
        {"holding_chunk": "<"},
    ],
)
def test_only_the_middle_of_a_stream_is_served(hot: Any, change: dict[str, Any]) -> None:
    case = Case(hot)
    assert case.read(state(**change), packet(TEXT)) is decline.FIRST_OR_LAST_CHUNK
    assert hot("streaming").content_of(case.read(state())) == "Hello"


def test_other_fields_end_the_reader_s_part(hot: Any) -> None:
    case = Case(hot)
    assert case.read(state(), b"event: x\n" + packet(TEXT)) is decline.CHUNK_FIELDS
    assert case.reader.splitter.rest() == [b"event: x\n" + packet(TEXT)]


def test_repetitions_are_counted_and_the_last_one_is_left_to_stock(hot: Any) -> None:
    case, stream = Case(hot, limit=4), state()
    case.reader.splitter.feed(packet(*[TEXT] * 9))
    counts = []
    while not isinstance(case.reader.chunk(stream), Reason):
        counts.append(stream["_repeated_messages_count"])
    assert counts == [1, 1, 2, 3]
    assert case.reader.chunk(stream) is decline.CHUNK_REPEATED
    stream["chunks"][-1].choices[0].delta.content = "changed"
    assert hot("streaming").content_of(case.reader.chunk(stream)) == "Hello"
    assert stream["_repeated_messages_count"] == 1


@pytest.mark.parametrize("change", ["choices", "delta", "content"])
def test_chunks_that_an_application_has_changed_are_left_to_stock_s_guard(hot: Any, change: str) -> None:
    case, stream = Case(hot), state()
    case.reader.splitter.feed(packet(TEXT, TEXT, TEXT))
    case.reader.chunk(stream)
    last = case.reader.chunk(stream)
    if change == "choices":
        last.choices = []
    elif change == "delta":
        last.choices[0].delta = None
    else:
        del last.choices[0].delta.content
    assert hot("streaming").content_of(last) is ...
    assert case.reader.chunk(stream) is decline.CHUNK_REPEATED


def test_other_templates_hold_at_once(hot: Any) -> None:
    case, stream = Case(hot), state()
    case.read(stream, packet(TEXT, TEXT))
    case.reader.renew({})
    assert case.read(stream) == hot("streaming").UNKNOWN


@pytest.mark.parametrize(
    ("attributes", "is_plain"),
    [
        ({}, True),
        ({"_closed": False, "carried_chunk_choice_fields": {}, "_upstream_provider": None}, True),
        ({"_closed": True}, False),
        ({"carried_chunk_choice_fields": {"a": 1}}, False),
        ({"received_finish_choice_fields": {"a": 1}}, False),
        ({"_upstream_provider": ""}, False),
        ({"_ollama_response_ids": SimpleNamespace(response_id=None)}, True),
        ({"_ollama_response_ids": SimpleNamespace(response_id="")}, False),
    ],
)
def test_streams_in_which_something_has_come_are_stocks(hot: Any, attributes: dict[str, Any], is_plain: bool) -> None:
    assert hot("streaming").is_plain(attributes) is is_plain
    case = Case(hot)
    case.reader.splitter.feed(packet(TEXT))
    made = case.reader.chunk(state(**attributes))
    assert isinstance(made, Chunk) if is_plain else made is decline.FIRST_OR_LAST_CHUNK


class Events:
    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.packets: Any = iter(())
        self.packet: Any = None
        self.reading = False


class Stream:
    def __init__(self, events: Any) -> None:
        self._decoder = events


class Supply:
    """A stream in its middle that is being served, and what takes its chunks at hand."""

    def __init__(self, hot: Any) -> None:
        self.case = Case(hot)
        self.events = Events(self.case.reader)
        self.watched = SimpleNamespace(name=1)
        self.package: dict[str, Any] = {"post_call_rules": [], "_custom_providers": []}
        self.logger = logging.getLogger("litellm_accel.tests.at_hand")
        self.logger.setLevel(logging.INFO)
        settings = hot("bindings").Bindings([(self.watched, ("name",))])
        given = Events, settings, self.case.reader.templates, self.package, self.logger
        self.at_hand = hot("streaming").AtHand(*given)
        self.wrapper = SimpleNamespace(**state(completion_stream=Stream(self.events)))

    def take(self) -> Any:
        return self.at_hand.take(self.wrapper, Stream)


def test_chunks_at_hand_are_taken_until_more_must_come(hot: Any) -> None:
    supply = Supply(hot)
    supply.case.reader.splitter.feed(packet(TEXT, TEXT))
    taken = [supply.take() for _ in range(3)]
    assert taken[:2] == supply.wrapper.chunks
    assert taken[2] is supply.case.module.MORE
    supply.case.reader.splitter.feed(packet({**TEXT, "more": 1}))
    assert supply.take() is None, "a shape to be learned"


def _changes() -> dict[str, Any]:
    return {
        "another class of streams": lambda s: setattr(s.wrapper, "completion_stream", SimpleNamespace()),
        "the first chunk is to come": lambda s: setattr(s.wrapper, "sent_first_chunk", False),
        "stock decodes": lambda s: setattr(s.wrapper.completion_stream, "_decoder", SimpleNamespace()),
        "nobody reads any more": lambda s: setattr(s.events, "packets", None),
        "a packet waits": lambda s: setattr(s.events, "packet", b"data: 1"),
        "somebody else reads": lambda s: setattr(s.events, "reading", True),
        "templates of other settings": lambda s: s.case.reader.renew({}),
        "settings": lambda s: setattr(s.watched, "name", 2),
        "rules": lambda s: s.package["post_call_rules"].append(print),
        "providers": lambda s: s.package["_custom_providers"].append("own"),
        "a logger": lambda s: s.logger.setLevel(logging.DEBUG),
    }


@pytest.mark.parametrize("name", _changes())
def test_any_other_stream_is_looked_at_more_closely(hot: Any, name: str) -> None:
    supply = Supply(hot)
    supply.case.reader.splitter.feed(packet(TEXT))
    before = copy.copy(vars(supply.wrapper))
    _changes()[name](supply)
    assert supply.take() is None
    assert supply.wrapper.chunks == before["chunks"] == []


TEXTS = [
    "Hello",
    " b",
    ",",
    ":",
    "id",
    "m",
    "<",
    "<think",
    "é",
    "\U0001f600",
    "\\",
    '"',
    "\n",
    " ",
    "",
    "\x7f",
    "text 2",
]
ODD = [b'{"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": "\xff"}}]}', TEXT | {"id": " "}]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_events_that_are_alike_are_read_as_each_would_be_alone(hot: Any, ascii_only: bool) -> None:
    said = ["one", "two", *TEXTS, "multi_tool_use.parallel", *TEXTS]
    events = [{**TEXT, "choices": [{"index": 0, "delta": {"content": text}}]} for text in said]
    lines: list[Any] = [json.dumps(event, ensure_ascii=ascii_only).encode() for event in events]
    lines += [*ODD, lines[0].replace(b'"m"', b'"n"'), lines[0] + b" ", lines[1]]
    case = Case(hot)
    for line in lines:
        alone = Case(hot)
        kept = state()
        found, expected = [], []
        for each, held in ((case, found), (alone, expected)):
            each.reader.splitter.feed(packet(line))
            chunk = each.reader.chunk(kept if each is case else state())
            is_left = isinstance(chunk, decline.Why)
            held.append(chunk if is_left else case.module.content_of(chunk))
            if is_left:
                each.reader.splitter.next()  # stock takes it
        assert found == expected, line


def test_what_events_are_alike(hot: Any) -> None:
    pieces = [b'data: {"id": "', b'", "content": "', b'"}']
    alike = hot("streaming").Likeness(pieces, ["x", 1, "y"], (0, 2), ())
    assert alike.read(b'data: {"id": "a", "content": "b c"}') == ["a", 1, "b c"]
    assert alike.read('data: {"id": "é", "content": "\U0001f600"}'.encode()) == ["é", 1, "\U0001f600"]
    for other in (
        b'data: {"id": "a", "content": ""}',
        b'data: {"id": "a", "content": " "}',
        b'data: {"id": "a", "content": "<b"}',
        b'data: {"id": "a", "content": "\\n"}',
        b'data: {"id": "a", "content": "\xff"}',
        b'data: {"id": "a", "content": "multi_tool_use.parallel"}',
        b'data: {"id": "a", "content": "b"} ',
        b'data: {"id": "a", "content": "b',
        b'data: {"id": "a"}',
        b'data: {"id":"a", "content": "b"}',
    ):
        assert alike.read(other) is None, other
