"""The server: reads requests, records them, and answers each before the next."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import orjson

from litellm_accel.provider.answers import body_of, completion, embeddings, failure, page, shaped
from litellm_accel.provider.authority import NoTLS, listening
from litellm_accel.provider.encodings import PACKERS, chosen
from litellm_accel.provider.heads import REASONS, head
from litellm_accel.provider.profiles import PLAIN, PROFILES, RATE_LIMIT_HEADERS, Profile
from litellm_accel.provider.received import header_of, parse
from litellm_accel.provider.scenarios import SCENARIOS, STALL_SECONDS, Scenario, asked, openai_error, scenario
from litellm_accel.provider.streams import plain_packets, stream_packets
from litellm_accel.provider.varying import CREATED, Varying

Json = Any
Headers = list[tuple[str, str]]

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_ADDRESSED = re.compile(r"/~([^/]+)/")
_JSON_HEAD = b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in RATE_LIMIT_HEADERS.items())
_PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + _JSON_HEAD + b"content-length: "


#: From a chat request to the scenario that answers it, or to "" where its model or its last message says.
Script = Callable[[Json], str]


def no_script(request: Json) -> str:
    """The model or the last message says."""
    return ""


class Server:
    """What the connections share: the record, the counts, and how often each scenario and request was asked for."""

    def __init__(self, record: int, profile: Profile, requests_each: int, script: Script) -> None:
        self.script = script
        self.profile = profile
        self.requests_each = requests_each
        self.recorded: deque[tuple[Any, ...]] = deque(maxlen=record)
        self.recording = record > 0
        self.counts: Counter[Any] = Counter()
        self.connections = 0
        self.open = 0
        self.requests = 0
        self.aborted = 0

    def stats(self) -> dict[str, int]:
        return {
            "connections": self.connections,
            "open": self.open,
            "requests": self.requests,
            "aborted": self.aborted,
        }

    def count(self, *asked: Any) -> int:
        """How often the same was asked for before."""
        self.counts[asked] += 1
        return self.counts[asked] - 1

    def forget(self) -> None:
        self.recorded.clear()
        self.counts.clear()


class Exchange:
    """One request, of a chat or of ``embeddings``, and how it is answered."""

    def __init__(
        self,
        plan: Scenario,
        profile: Profile,
        request: Json,
        model: str,
        headers: Headers,
        varying: Varying,
        last: bool,
        embeds: bool,
    ) -> None:
        self.embeds = embeds
        self.plan = plan
        self.profile = profile
        self.request = request
        self.model = model
        self.varying = varying
        self.last = last  # of its connection
        self.accepted = header_of(headers, "accept-encoding") or ""
        self.cookies = header_of(headers, "cookie") or ""
        self.streaming = bool(request.get("stream")) and plan.status == 200 and plan.body is None and not plan.edge

    @property
    def closes(self) -> bool:
        """Whether the connection ends with the answer, which says so."""
        return self.last or self.plan.after == "close"

    def head(self, framing: dict[str, str]) -> bytes:
        """The bytes before the body."""
        return head(
            self.plan.status,
            self.profile,
            self.varying,
            {**framing, "connection": "close"} if self.closes else framing,
            edge_only=self.plan.edge,
            streaming=self.streaming,
            sent_cookies=self.cookies,
            changes=self.plan.headers,
        )

    def body(self) -> tuple[str, bytes]:
        """The content type and the body of an answer that is no stream."""
        plan = self.plan
        if plan.edge:
            return "text/html", page(plan.status, REASONS.get(plan.status, "Unknown"), self.profile.page)
        if plan.body is not None:
            return "application/json", plan.body.encode()
        if plan.status >= 400:
            return "application/json", body_of(failure(plan, self.profile, self.varying), self.profile)
        if self.embeds:
            return "application/json", body_of(shaped(plan, embeddings(self.request)), self.profile)
        answer = completion(plan, self.request, self.model, self.profile, self.varying)
        return "application/json", body_of(answer, self.profile)

    def whole(self) -> tuple[bytes, bytes]:
        """The head and the rest of an answer that is no stream."""
        plan = self.plan
        kind, body = self.body()
        framing = {"content-type": kind}
        encoding = plan.encoding or ("" if plan.blank_lines else chosen(self.accepted, self.profile.encodings))
        if encoding in PACKERS:
            framing["content-encoding"] = encoding
            body = PACKERS[encoding](body)
        packed = encoding in PACKERS and not plan.encoding
        if plan.chunked or plan.blank_lines or (packed and self.profile.chunked):
            framing["transfer-encoding"] = "chunked"
            half = len(body) // 2 if plan.chunked else len(body)
            parts = [b"\n"] * plan.blank_lines + [part for part in (body[:half], body[half:]) if part]
            return self.head(framing), b"".join([b"%x\r\n%b\r\n" % (len(part), part) for part in parts]) + b"0\r\n\r\n"
        framing["content-length"] = str(len(body))
        return self.head(framing), body

    def packets(self, body: bytes) -> Sequence[bytes]:
        """The packets of a stream."""
        if self.profile is PLAIN:
            return plain_packets(self.plan, body, self.model)
        return stream_packets(self.plan, self.request, self.model, self.profile, self.varying)


class Connection(asyncio.Protocol):
    """One client connection: reads requests one after the other and answers each before the next."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.connections += 1
        self.number = server.connections
        self.answered = 0
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.buffer = bytearray()
        self.task: asyncio.Task[None] | None = None
        self.drained = asyncio.Event()
        self.drained.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open -= 1
        self.drained.set()
        if self.task is not None and not self.task.done():
            self.server.aborted += 1
            self.task.cancel()

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.serve()

    # requests

    def serve(self) -> None:
        """Answer the complete requests in the buffer, until one needs time."""
        while self.task is None and not self.transport.is_closing():
            request = self.next_request()
            if request is None:
                return
            self.answer(*request)

    def next_request(self) -> tuple[str, str, list[tuple[str, str]], bytes] | None:
        """Method, path, headers and body of the next complete request in the buffer."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = []
        length = 0
        chunked = False
        for line in lines:
            name, _, value = line.partition(":")
            value = value.strip()
            headers.append((name, value))
            lowered = name.lower()
            if lowered == "content-length":
                length = int(value)
            elif lowered == "transfer-encoding":
                chunked = value.lower() == "chunked"
        start = end + 4
        if chunked:
            unpacked = self.unchunk(start)
            if unpacked is None:
                return None
            body, stop = unpacked
        else:
            stop = start + length
            if len(self.buffer) < stop:
                return None
            body = bytes(self.buffer[start:stop])
        del self.buffer[:stop]
        return method, path, headers, body

    def unchunk(self, start: int) -> tuple[bytes, int] | None:
        """A chunked body and where it ends; None while it is incomplete. Trailers are not supported."""
        body = b""
        while (line := self.buffer.find(b"\r\n", start)) >= 0:
            size = int(self.buffer[start:line].split(b";")[0], 16)
            start = line + 2 + size + 2
            if len(self.buffer) < start:
                return None
            if size == 0:
                return body, start
            body += self.buffer[line + 2 : start - 2]
        return None

    def answer(self, method: str, path: str, headers: Headers, body: bytes) -> None:
        server = self.server
        if path.startswith("/-/"):
            self.control(method, path)
            return
        server.requests += 1
        self.answered += 1
        if server.recording:
            server.recorded.append((method, path, headers, body, self.number, time.time()))
        route = path.partition("?")[0]
        if route.endswith(("/chat/completions", "/embeddings")):
            self.chat(route, headers, body)
        elif route.endswith("/models"):
            models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "loopback"} for name in "ab"]
            self.send_json(200, {"object": "list", "data": models})
        elif route.endswith("/health"):
            self.send_json(200, {"status": "ok"})
        else:
            self.send_json(404, openai_error(f"Unknown route {method} {path}", "invalid_request_error", "unknown_url"))

    def control(self, method: str, path: str) -> None:
        if path == "/-/stats":
            self.send_json(200, self.server.stats())
        elif path == "/-/requests" and method == "DELETE":
            self.server.forget()
            self.send_json(200, {})
        else:
            rows = [(m, p, h, b.decode("latin-1"), c, t) for m, p, h, b, c, t in self.server.recorded]
            self.send_json(200, rows)

    def not_json(self) -> None:
        message = "We could not parse the JSON body of your request."
        self.send_json(400, openai_error(message, "invalid_request_error", None))

    def chat(self, path: str, headers: Headers, body: bytes) -> None:
        """Answer a request of a chat or of embeddings."""
        embeds = path.endswith("/embeddings")
        request = parse(body)
        if not isinstance(request, dict):
            self.not_json()
            return
        model = request.get("model")
        if (match := _DEPLOYMENT.search(path)) and not model:
            model = unquote(match.group(1))
        model = str(model)
        addressed = _ADDRESSED.search(path)
        named = unquote(addressed.group(1)) if addressed else model
        try:
            plan = scenario(self.server.script(request) or asked(request) or named)
            profile_name = plan.profile or (scenario(named).profile if addressed else "")
            profile = PROFILES[profile_name] if profile_name else self.server.profile
        except (ValueError, KeyError) as error:
            self.send_json(400, openai_error(f"Bad scenario: {error}", "invalid_request_error", "bad_scenario"))
            return
        if plan.times is not None or plan.plain_first:
            key = next((v for k, v in headers if k.lower() in ("authorization", "api-key")), "")
            asked_for = (key, hash(body)) if plan.by_body else (path, key, model)
            played = self.server.count(*asked_for) - plan.plain_first
            if plan.by_body and plan.times is not None and played >= 0:
                played %= plan.times + 1
            if played < 0 or (plan.times is not None and played >= plan.times):
                plan = SCENARIOS["plain"]
        each = self.server.requests_each or profile.requests
        is_last = 0 < each <= self.answered
        if plan is SCENARIOS["plain"] and profile is PLAIN and not request.get("stream") and not is_last:
            self.send(_PLAIN_HEAD, orjson.dumps(embeddings(request) if embeds else completion(plan, request, model)))
            return
        times = 0 if profile is PLAIN else self.server.count(hash((path, body)))
        host = (header_of(headers, "host") or "").partition(":")[0]
        varying = Varying(path.encode() + body, times, host)
        exchange = Exchange(plan, profile, request, model, headers, varying, is_last, embeds)
        if not (plan.delay or plan.drop or exchange.streaming or exchange.closes or plan.after != "keep"):
            self.transport.write(b"".join(exchange.whole()))
            return
        self.task = asyncio.ensure_future(self.play(exchange, body))
        self.task.add_done_callback(self.played)

    def played(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.transport.abort()
            raise error
        self.serve()

    # answers

    def send(self, head: bytes, body: bytes) -> None:
        self.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))

    def send_json(self, status: int, value: Json) -> None:
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\ncontent-length: "
        self.send(head.encode(), orjson.dumps(value))

    def hang_up(self, plan: Scenario) -> None:
        """Close the connection; with a reset, what was not delivered is lost."""
        if plan.reset:
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
        else:
            self.transport.close()

    async def play(self, exchange: Exchange, body: bytes) -> None:
        """Answer as the scenario says."""
        plan = exchange.plan
        if plan.delay:
            await asyncio.sleep(plan.delay)
        if plan.drop == "request":
            self.hang_up(plan)
            return
        if exchange.streaming:
            await self.play_stream(exchange, body)
        else:
            self.play_body(exchange)
        if exchange.closes or plan.after == "hangup":
            await self.drained.wait()
            self.transport.close()

    def play_body(self, exchange: Exchange) -> None:
        head, data = exchange.whole()
        if exchange.plan.drop:
            dropped = exchange.plan.drop
            self.transport.write(head[: len(head) // 2] if dropped == "headers" else head + data[: len(data) // 2])
            self.hang_up(exchange.plan)
            return
        self.transport.write(head + data)

    async def play_stream(self, exchange: Exchange, body: bytes) -> None:
        """Write the packets at the pace the scenario and the reader allow."""
        plan = exchange.plan
        self.transport.write(
            exchange.head({"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"})
        )
        for packet in exchange.packets(body):
            self.transport.write(b"%x\r\n%b\r\n" % (len(packet), packet))
            # Also without a pause each packet leaves on its own: other connections have their turn in between.
            await asyncio.sleep(plan.pause)
            await self.drained.wait()
        if plan.stall is not None:
            await asyncio.sleep(STALL_SECONDS)
        if plan.cut is not None or plan.drop:
            self.hang_up(plan)
        else:
            self.transport.write(b"0\r\n\r\n")


async def serve(
    *,
    host: str,
    port: int,
    record: int,
    profile: str,
    tls: bool,
    requests: int,
    until_eof: bool,
    script: list[str] | None,
) -> None:
    """Serve until a signal arrives or, for the child of a `Provider`, until the parent closes its end of stdin.

    The addresses are printed, a line each: plain HTTP, and with `tls` that of TLS and the authority's file, or what is
    missing for it.
    """
    loop = asyncio.get_running_loop()
    chosen_by = cast(Script, runpy.run_path(script[0])["script"](script[1])) if script else no_script
    server = Server(record, PROFILES[profile], requests, chosen_by)
    ended = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="litellm-accel-provider-") as directory:
        listeners = [await loop.create_server(lambda: Connection(server), host, port, backlog=4096)]
        print(_address("http", listeners[0]), flush=True)
        if tls:
            try:
                context, authority = listening(Path(directory), host)
                listeners.append(
                    await loop.create_server(lambda: Connection(server), host, 0, backlog=4096, ssl=context)
                )
                print(_address("https", listeners[1]), authority, flush=True)
            except NoTLS as error:
                print(error, flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        if until_eof:

            def stdin_readable() -> None:
                if not os.read(sys.stdin.fileno(), 4096):
                    ended.set()

            loop.add_reader(sys.stdin.fileno(), stdin_readable)
        await ended.wait()
        for listener in listeners:
            listener.close()


def _address(scheme: str, listener: asyncio.Server) -> str:
    host, port = listener.sockets[0].getsockname()[:2]
    return f"{scheme}://{host}:{port}/v1"
