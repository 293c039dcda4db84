"""The splitter: the events of a stream, however its bytes are cut, and where the SDK's own decoder must take over."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from litellm_accel.stock import seams

CASES = {
    "lf": b"data: one\n\ndata: two\n\n",
    "crlf": b"data: one\r\n\r\ndata: two\r\n\r\n",
    "comments": b": ping\n\ndata: one\n\n: ping\ndata: two\n\n",
    "blank": b"\n\n\ndata: one\n\n\n\n",
    "no space": b"data:one\n\ndata:  two\n\n",
    "utf-8": "data: žluťoučký 🐎\n\n".encode(),
    "no end": b"data: one\n\ndata: two\n",
    "cr": b"data: one\r\rdata: two\r\r",
    "mixed": b"data: one\n\r\ndata: two\r\n\n",
    "fields": b"data: one\n\nevent: x\ndata: two\n\n",
    "id": b"data: one\n\nid: 5\ndata: two\n\n\n\n",
    "lines": b"data: one\ndata: two\n\ndata: three\n\n",
    "retry": b"retry: 5\n\ndata: one\n\n",
    "comment in latin-1": b": caf\xe9\n\ndata: one\n\n",
    "comment in utf-8": b": caf\xc3\xa9\n\ndata: one\n\n",
    "colon": b"data\n\ndata: one\n\n",
    "empty data": b"data:\n\ndata: \n\n",
    "line separators": "data: a\u2028b\x0bc\x85\n\n".encode(),
    "carriage inside": b"data: o\rne\n\ndata: two\n\n",
}
PIECES = (
    b"data: ",
    b"data:",
    b"{}",
    b"\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r",
    b": c",
    b"event: e",
    b"id: 1",
    b"\xc3",
    b"\xa9",
    b"x",
)


def packets_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Return the stream, cut at these places."""
    places = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(places) if start < stop]


def by_sdk(packets: list[bytes]) -> list[tuple[int, Any]]:
    """Return each event that the SDK sees, with the number of packets it had read by then; or its error."""
    read = 0

    def reading() -> Iterator[bytes]:
        nonlocal read
        for packet in packets:
            read += 1
            yield packet

    found: list[tuple[int, Any]] = []
    try:
        found.extend((read, (event.event, event.data, event.id)) for event in SSEDecoder().iter_bytes(reading()))
    except UnicodeDecodeError as error:
        found.append((read, str(error)))
    return found


def by_splitter(module: Any, packets: list[bytes]) -> list[tuple[int, Any]]:
    """The same from the splitter, and from the SDK's decoder for what the splitter leaves."""
    splitter, decoder = module.Splitter(seams.ends_lines_early()), SSEDecoder()
    found: list[tuple[int, Any]] = []
    read = 0

    def reading() -> Iterator[bytes]:
        nonlocal read
        yield from splitter.rest()
        for packet in packets[read:]:
            read += 1
            yield packet

    try:
        while not splitter.odd:
            line = splitter.next()
            if line is not None:
                decoder.decode(line.decode("utf-8"))
                event = decoder.decode("")
                assert event is not None
                found.append((read, (event.event, event.data, event.id)))
            elif not splitter.odd:
                if read == len(packets):
                    break
                splitter.feed(packets[read])
                read += 1
        found.extend((read, (event.event, event.data, event.id)) for event in decoder.iter_bytes(reading()))
    except UnicodeDecodeError as error:
        found.append((read, str(error)))
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_cut_gives_the_events_that_the_sdk_sees_at_the_packet_where_it_sees_them(hot: Any, name: str) -> None:
    stream = CASES[name]
    module = hot("sse")
    for size in range(1, len(stream) + 1):
        packets = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert by_splitter(module, packets) == by_sdk(packets), size
    for cut in range(len(stream)):
        packets = packets_of(stream, [cut])
        assert by_splitter(module, packets) == by_sdk(packets), cut


@settings(max_examples=300, deadline=None)
@given(
    stream=st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_bytes_in_any_packets_are_read_as_the_sdk_reads_them(stream: bytes, cuts: list[int]) -> None:
    from litellm_accel._backend import load

    for module in (load("sse"), __import__("litellm_accel._py.sse", fromlist=["Splitter"])):
        packets = packets_of(stream, cuts)
        assert by_splitter(module, packets) == by_sdk(packets)


@settings(max_examples=100, deadline=None)
@given(stream=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_random_bytes_are_read_as_the_sdk_reads_them(stream: bytes, cuts: list[int]) -> None:
    from litellm_accel._backend import load

    for module in (load("sse"), __import__("litellm_accel._py.sse", fromlist=["Splitter"])):
        packets = packets_of(stream, cuts)
        assert by_splitter(module, packets) == by_sdk(packets)


def test_an_event_given_back_is_the_next_one_again(hot: Any) -> None:
    splitter = hot("sse").Splitter()
    splitter.feed(b"data: one\n\n: c\n\ndata: two\n\nda")
    assert splitter.next() == b"data: one"
    assert splitter.next() == b"data: two"
    splitter.back()
    assert splitter.next() == b"data: two"
    assert splitter.next() is None
    splitter.feed(b"ta: three\n\n")
    assert splitter.next() == b"data: three"


def test_what_was_not_taken_is_given_in_its_packets(hot: Any) -> None:
    splitter = hot("sse").Splitter()
    for packet in (b"data: one\n\nda", b"ta: t", b"wo\n", b"x\n"):
        splitter.feed(packet)
        splitter.next()
    assert splitter.odd
    assert splitter.rest() == [b"da", b"ta: t", b"wo\n", b"x\n"]
    assert splitter.rest() == []


def test_a_line_of_ten_megabytes_in_small_packets_takes_no_quadratic_time(hot: Any) -> None:
    splitter = hot("sse").Splitter()
    packet = b"x" * 4096
    begin = time.process_time()
    splitter.feed(b"data: ")
    for _ in range(2560):
        splitter.feed(packet)
        assert splitter.next() is None
    splitter.feed(b"\n\n")
    line = splitter.next()
    assert line is not None
    assert len(line) == 6 + 2560 * 4096
    assert time.process_time() - begin < 2.0


def test_a_million_empty_events_are_passed_over(hot: Any) -> None:
    splitter = hot("sse").Splitter()
    begin = time.process_time()
    splitter.feed(b"\n\n" * 1_000_000 + b"data: end\n\n")
    assert splitter.next() == b"data: end"
    assert splitter.next() is None
    assert time.process_time() - begin < 20.0
