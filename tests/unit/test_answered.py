"""A reply that is here, as the response that aiohttp would have made of it."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

from litellm_accel.fastpath.plans.recorder import Reply, _answered

REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat%2Fcompletions?a=b", headers={"x-a": "b"}, content=b"{}")
HEADERS = [(b"Content-Type", b"application/json"), (b"x-b", b"1"), (b"x-b", b"2")]


async def real() -> dict[str, Any]:
    """What a response of aiohttp's holds whose body has been read."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"{}", content_type="application/json")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{runner.addresses[0][1]}/") as made,
        ):
            await made.read()
            return dict(vars(made))
    finally:
        await runner.cleanup()


def test_it_has_all_that_aiohttps_own_has() -> None:
    async def check() -> None:
        response = _answered(Reply(0.0, 503, HEADERS, b"x" * 200_000), REQUEST)
        lacking = {name for name in await real() if not hasattr(response, name)}
        assert not lacking
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for name in dir(aiohttp.ClientResponse):
                getattr(response, name)
        assert (response.status, response.method, str(response.url)) == (503, "POST", str(REQUEST.url))
        assert response.headers.getall("x-b") == ["1", "2"]
        assert response.connection is None
        assert response.request_info.headers["x-a"] == "b"
        assert b"".join([part async for part in response.content.iter_chunked(16384)]) == b"x" * 200_000
        response.close()
        await response.__aexit__(None, None, None)

    asyncio.run(check())


def test_a_body_that_breaks_off() -> None:
    async def check() -> None:
        response = _answered(Reply(0.0, 200, HEADERS, body_error=aiohttp.ClientPayloadError("broken")), REQUEST)
        with pytest.raises(aiohttp.ClientPayloadError, match="broken"):
            await response.read()

    asyncio.run(check())
