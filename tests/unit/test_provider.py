"""The embedded provider, over plain HTTP: answers, faults, streams, the record, and its end."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from litellm_accel.provider import SCENARIOS, Provider, Scenario, scenario

MESSAGES = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.clear()
    return running


def ask(provider: Provider, model: str, path: str = "/v1/chat/completions", **members: object):
    """Status, headers and raw body of one request on a connection of its own."""
    connection = http.client.HTTPConnection(provider.host, provider.port, timeout=10)
    body = json.dumps({"model": model, "messages": MESSAGES, **members})
    try:
        connection.request("POST", path, body, {"Authorization": "Bearer sk", "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def chat(provider: Provider, model: str, **members: object):
    status, _, body = ask(provider, model, **members)
    assert status == 200, body
    return json.loads(body)


def events(body: bytes) -> list[dict]:
    """The JSON events of a well-formed stream, without [DONE]."""
    data = [line[6:] for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(item) for item in data if item != b"[DONE]"]


def text_of(chunks: list[dict]) -> str:
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"] if c["index"] == 0)


# answers


def test_the_same_request_gets_the_same_bytes(provider):
    assert ask(provider, "gpt-4o") == ask(provider, "gpt-4o")


def test_the_answer_depends_on_the_messages(provider):
    other = [{"role": "user", "content": "Something else"}]
    assert chat(provider, "gpt-4o")["choices"] != chat(provider, "gpt-4o", messages=other)["choices"]


def test_echo(provider):
    assert chat(provider, "echo")["choices"][0]["message"]["content"] == "Hello there"


def test_n_choices(provider):
    assert [c["index"] for c in chat(provider, "gpt-4o", n=3)["choices"]] == [0, 1, 2]


def test_sizes(provider):
    assert len(chat(provider, "large")["choices"][0]["message"]["content"]) == 8 * 1024
    assert len(chat(provider, "huge")["choices"][0]["message"]["content"]) == 1024 * 1024


def test_tool_call_names_the_tool_of_the_request(provider):
    tools = [{"type": "function", "function": {"name": "search", "parameters": {}}}]
    choice = chat(provider, "tools", tools=tools)["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "search"
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None


def test_message_members(provider):
    assert chat(provider, "reasoning")["choices"][0]["message"]["reasoning_content"].startswith("First")
    assert chat(provider, "refusal")["choices"][0]["message"]["refusal"] == "I cannot help with that."
    assert chat(provider, "vendor-fields")["x_vendor"] == {"region": "eu", "score": 0.5}


def test_usage(provider):
    assert "usage" not in chat(provider, "no-usage")
    assert chat(provider, "details")["usage"]["prompt_tokens_details"]["cached_tokens"] == 1024
    usage = chat(provider, "gpt-4o")["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_broken_bodies(provider):
    with pytest.raises(ValueError):
        json.loads(ask(provider, "broken-json")[2])
    assert json.loads(ask(provider, "not-an-object")[2]) == ["this", "is", "a", "list"]
    assert chat(provider, "no-choices")["choices"] == []
    assert "choices" not in chat(provider, "missing-choices")


def test_encodings(provider):
    plain = json.loads(ask(provider, "gpt-4o")[2])["choices"]
    assert json.loads(gzip.decompress(ask(provider, "gzip")[2]))["choices"] == plain
    assert chat(provider, "chunked")["choices"] == plain


def test_lone_surrogates_in_a_request(provider):
    assert ask(provider, "gpt-4o", messages=[{"role": "user", "content": "\ud83d"}])[0] == 200


def test_other_routes(provider):
    status, _, body = ask(provider, "e", path="/v1/embeddings", input=["a", "b"])
    assert status == 200 and [len(d["embedding"]) for d in json.loads(body)["data"]] == [8, 8]
    assert ask(provider, "gpt-4o", path="/v1/unknown")[0] == 404
    assert ask(provider, "gpt-4o", path="/api/paas/v4/chat/completions?api-version=1")[0] == 200


def test_azure_path_names_the_model(provider):
    connection = http.client.HTTPConnection(provider.host, provider.port, timeout=10)
    path = "/openai/deployments/error-404/chat/completions?api-version=2024"
    connection.request("POST", path, json.dumps({"messages": MESSAGES}))
    assert connection.getresponse().status == 404
    connection.close()


def test_a_body_that_is_not_json(provider):
    connection = http.client.HTTPConnection(provider.host, provider.port, timeout=10)
    connection.request("POST", "/v1/chat/completions", "{not json")
    assert connection.getresponse().status == 400
    connection.close()


# scenarios


def test_scenario_grammar():
    assert scenario("gpt-4o") is SCENARIOS["plain"]
    assert scenario("openai/echo") is SCENARIOS["echo"]
    assert scenario("error-429-retry-after-0.5").headers == {"retry-after": "0.5"}
    assert scenario("error-500-then-ok-3").times == 3
    assert scenario("error-500").times is None
    assert scenario("delay-0.25").delay == 0.25
    combined = scenario('error-503-then-ok{"delay": 0.5, "headers": {"x-should-retry": "false"}}')
    assert (combined.status, combined.times, combined.delay) == (503, 1, 0.5)
    assert combined.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize("text", ['plain{"colour": 1}', 'plain{"n": }'])
def test_a_bad_scenario_is_refused(provider, text):
    with pytest.raises(ValueError):
        scenario(text)
    status, _, body = ask(provider, text)
    assert status == 400 and "Bad scenario" in json.loads(body)["error"]["message"]


def test_every_named_scenario_can_be_named():
    assert all(scenario(name) is value and isinstance(value, Scenario) for name, value in SCENARIOS.items())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504])
def test_errors(provider, status):
    answered, headers, body = ask(provider, f"error-{status}-retry-after-2")
    assert answered == status and headers["retry-after"] == "2"
    assert str(status) in json.loads(body)["error"]["message"]


def test_faults_are_counted_by_path_key_and_model(provider):
    def one() -> int:
        return ask(provider, "error-500-then-ok-2")[0]

    assert [one() for _ in range(4)] == [500, 500, 200, 200]
    assert ask(provider, "error-500-then-ok-2", path="/other/v1/chat/completions")[0] == 500
    provider.clear()
    assert one() == 500


def test_plain_answers_may_come_first():
    """Asked of a provider of its own, whose count begins with the test."""
    with Provider() as fresh:
        again = [ask(fresh, 'error-503{"times": 1, "by_body": true}')[0] for _ in range(4)]
        assert again == [503, 200, 503, 200]
        statuses = [ask(fresh, 'error-503{"plain_first": 2, "times": 1}')[0] for _ in range(4)]
    assert statuses == [200, 200, 503, 200]


def test_scenario_in_the_address(provider):
    path = provider.at('error-500-then-ok{"delay": 0.01}').partition(str(provider.port))[2] + "/chat/completions"
    assert [ask(provider, "gpt-4o", path=path)[0] for _ in range(2)] == [500, 200]


def test_delay(provider):
    begin = time.perf_counter()
    chat(provider, "delay-0.2")
    assert time.perf_counter() - begin >= 0.2


@pytest.mark.parametrize("name", ["drop-request", "drop-body", "drop-reset"])
def test_drops(provider, name):
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(provider, name)


def test_drop_within_the_headers(provider):
    with socket.create_connection((provider.host, provider.port), timeout=10) as raw:
        body = b'{"model": "drop-headers", "messages": []}'
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        received = b"".join(iter(lambda: raw.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\n\r\n" not in received


@pytest.mark.parametrize(("name", "said"), [("close", True), ("hangup", False)])
def test_the_connection_ends_after_the_answer(provider, name, said):
    with socket.create_connection((provider.host, provider.port), timeout=10) as raw:
        body = b'{"model": "%b", "messages": []}' % name.encode()
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        received = b"".join(iter(lambda: raw.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200 OK\r\n") and received.endswith(b"}")
    assert (b"connection: close" in received) is said


# streams


def test_stream(provider):
    _, headers, body = ask(provider, "gpt-4o", stream=True)
    chunks = events(body)
    assert headers["content-type"].startswith("text/event-stream")
    assert body.endswith(b"data: [DONE]\n\n")
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert text_of(chunks) == chat(provider, "gpt-4o")["choices"][0]["message"]["content"]
    assert all("usage" not in chunk for chunk in chunks)


def test_stream_usage_chunk(provider):
    chunks = events(ask(provider, "gpt-4o", stream=True, stream_options={"include_usage": True})[2])
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_stream_of_tool_calls(provider):
    chunks = events(ask(provider, "parallel-tools", stream=True)[2])
    arguments = {0: "", 1: ""}
    for chunk in chunks:
        for call in chunk["choices"][0]["delta"].get("tool_calls", []):
            arguments[call["index"]] += call["function"]["arguments"]
    assert [json.loads(a) for a in arguments.values()] == [{"city": "Oslo"}, {"zone": "CET"}]


def test_stream_with_two_choices(provider):
    chunks = events(ask(provider, "gpt-4o", stream=True, n=2)[2])
    assert {c["index"] for chunk in chunks for c in chunk["choices"]} == {0, 1}


@pytest.mark.parametrize("name", ["one-packet", "split-3", "crlf", "comments", "no-done", 'plain{"packet": 3}'])
def test_stream_shapes_carry_the_same_answer(provider, name):
    content = (SCENARIOS[name] if name in SCENARIOS else SCENARIOS["plain"]).content
    expected = content if content != "auto" else chat(provider, "gpt-4o")["choices"][0]["message"]["content"]
    body = ask(provider, name, stream=True)[2]
    assert text_of(events(body)) == expected
    assert (b"[DONE]" in body) is (name != "no-done")
    assert (b"\r\n" in body) is (name == "crlf")
    assert (b": keep-alive" in body) is (name == "comments")


def test_stream_of_200_chunks(provider):
    chunks = events(ask(provider, "stream-200", stream=True)[2])
    assert sum(1 for chunk in chunks if chunk["choices"][0]["delta"].get("content")) == 200


def test_stream_cut(provider):
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(provider, "cut", stream=True)
    assert len(events(caught.value.partial)) == 3


def test_stream_stalls(provider):
    connection = http.client.HTTPConnection(provider.host, provider.port, timeout=0.3)
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "stall-stream", "stream": True}))
    before = provider.stats()["aborted"]
    with pytest.raises(TimeoutError):
        connection.getresponse().read()
    connection.close()
    deadline = time.monotonic() + 5
    while provider.stats()["aborted"] == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert provider.stats()["aborted"] == before + 1


def test_stream_error_and_garbage(provider):
    assert b'"stream_failed"' in ask(provider, "stream-error", stream=True)[2]
    with pytest.raises(ValueError):
        events(ask(provider, "stream-garbage", stream=True)[2])


# the record


def test_requests_are_recorded_as_they_came(provider):
    chat(provider, "gpt-4o", temperature=0.5)
    (request,) = provider.requests()
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.header("AUTHORIZATION") == "Bearer sk"
    assert [name for name, _ in request.headers][-2:] == ["Authorization", "Content-Type"]
    assert request.body == json.dumps({"model": "gpt-4o", "messages": MESSAGES, "temperature": 0.5}).encode()
    assert request.json["temperature"] == 0.5
    provider.clear()
    assert provider.requests() == []


def test_chunked_requests_and_keep_alive(provider):
    connection = http.client.HTTPConnection(provider.host, provider.port, timeout=10)
    body = json.dumps({"model": "echo", "messages": MESSAGES}).encode()
    for _ in range(2):
        pieces = iter([body[:10], body[10:]])
        connection.request("POST", "/v1/chat/completions", pieces, {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["choices"][0]["message"]["content"] == "Hello there"
    connection.close()
    first, second = provider.requests()
    assert first.body == second.body == body
    assert first.connection == second.connection


def test_pipelined_requests_are_answered_in_order(provider):
    bodies = [json.dumps({"model": m, "messages": MESSAGES}).encode() for m in ("delay-0.05", "gpt-4o")]
    request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b"
    with socket.create_connection((provider.host, provider.port), timeout=10) as raw:
        raw.sendall(b"".join(request % (len(body), body) for body in bodies))
        received = b""
        while received.count(b"chatcmpl-provider") < 2:
            received += raw.recv(65536)
    assert received.index(b'"delay-0.05"') < received.index(b'"gpt-4o"')


def test_the_record_is_bounded():
    with Provider(record=3) as small, Provider(record=0) as none:
        for _ in range(5):
            chat(small, "gpt-4o")
            chat(none, "gpt-4o")
        assert len(small.requests()) == 3 and small.stats()["requests"] == 5
        assert none.requests() == [] and none.stats()["requests"] == 5


# its life


def test_stop_is_idempotent_and_start_is_not():
    provider = Provider().start()
    with pytest.raises(RuntimeError, match="already runs"):
        provider.start()
    provider.stop()
    provider.stop()
    with pytest.raises(ConnectionRefusedError):
        provider.stats()


def test_a_taken_port_is_an_error(running):
    with pytest.raises(RuntimeError, match="ended with code"):
        Provider(port=running.port).start()


def test_kill():
    provider = Provider().start()
    provider.kill()
    with pytest.raises(ConnectionRefusedError):
        provider.stats()


def test_it_ends_when_its_parent_dies():
    program = (
        "from litellm_accel.provider import Provider; import time; print(Provider().start().port, flush=True);"
        " time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    port = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    pytest.fail("the provider outlived its parent")


def test_by_hand():
    child = subprocess.Popen(
        [sys.executable, "-m", "litellm_accel.provider", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    address = child.stdout.readline().strip()
    host, port = address.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"status": "ok"}
    connection.close()
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=5) == 0
    child.stdout.close()
