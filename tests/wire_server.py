"""An HTTP server on loopback for tests that look at the wire: what it answers is given, what it gets is kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

Headers = Sequence[tuple[str, str]]
Answer = tuple[int, Headers, bytes]
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
PLAIN = json.dumps(CHAT).encode()
JSON = ("Content-Type", "application/json")


def streamed(*texts: str) -> bytes:
    """Return an answer in chunks, one for each of ``texts``."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts), {}]
    events = [
        {
            **{name: CHAT[name] for name in ("id", "created", "model")},
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}],
        }
        for delta in deltas
    ]
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


class WireServer:
    """Answers each request with what ``answer`` returns for its number and its body; ``heads`` are as they came."""

    def __init__(self, answer: Callable[[int, Any], Answer], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def url(self, host: str = "127.0.0.1") -> str:
        """Return the address by which it is called."""
        return f"http{'s' if self._tls else ''}://{host}:{self.port}/v1"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def __enter__(self) -> WireServer:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls), self._loop
        )
        self._server = started.result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                body = json.loads(await reader.readexactly(length))
                self.heads.append(head)
                status, headers, content = self.answer(len(self.heads), body)
                said = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers)]
                said += [f"Content-Length: {len(content)}", "", ""]
                writer.write("\r\n".join(said).encode("latin-1") + content)
                await writer.drain()
        writer.close()
