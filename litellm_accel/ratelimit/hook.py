"""A limiter in front of LiteLLM's proxy or a ``Router``.

Before a call is made, what it may use is reserved: the tokens of its messages, counted by our own encoder, and those
that its answer may have. Once it is known what was used, the rest is given back, or the difference is charged.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import litellm
from litellm.integrations.custom_logger import CustomLogger

from litellm_accel.encodings import get_encoding
from litellm_accel.ratelimit.limiter import Limiter

if TYPE_CHECKING:
    from litellm_accel._py.rate_limit import Decision

__all__ = ["LimitedRouter", "LimitedStream", "RateLimitHook"]

# The encoding by which LiteLLM counts if it knows no other; LiteLLM includes its file.
_ENCODING = "cl100k_base"
# Tokens of a message besides its text.
_MESSAGE_TOKENS = 4
_MOST_TOKENS = 1 << 40
# After so many seconds without news of a call, none is expected any more.
_FORGOTTEN = 3600.0
# Calls of a router that are limited.
_CALLS = frozenset(["completion", "embedding", "text_completion", "responses"])
_CALLS_ASYNC = frozenset(f"a{name}" for name in _CALLS)
# Metadata that identify the caller, besides ``user``, under the names that LiteLLM's proxy uses.
_METADATA = {"key": "user_api_key", "team": "user_api_key_team_id", "org": "user_api_key_org_id"}

KeysOf = Callable[[str, Mapping[str, Any]], Mapping[str, str]]


class Reservation(NamedTuple):
    """What was reserved for a call in progress."""

    keys: Mapping[str, str]
    tokens: int
    prompt: int  # of these, those of the messages
    decision: Decision
    since: float


class RateLimitHook(CustomLogger):  # type: ignore[misc]
    """Asks ``limiter`` before each call: ``litellm.callbacks = [RateLimitHook(limiter)]`` in the proxy.

    A call counts for those of the keys ``model``, ``key``, ``user``, ``team``, ``org`` and ``end_user`` that it has, or
    for what ``keys(model, arguments)`` returns. ``output_tokens`` are reserved for an answer that has no limit.
    ``limit(router)`` puts the limiter in front of a router. ``deployments`` is asked each time a router is about to
    call a deployment, by its id, scope ``deployment``.
    """

    def __init__(
        self,
        limiter: Limiter,
        *,
        keys: KeysOf | None = None,
        output_tokens: int = 0,
        deployments: Limiter | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(limiter, Limiter):
            raise ValueError(f"limiter must be a Limiter, got {limiter!r}")
        if deployments is not None and not isinstance(deployments, Limiter):
            raise ValueError(f"deployments must be a Limiter, got {deployments!r}")
        if not isinstance(output_tokens, int) or output_tokens < 0:
            raise ValueError(f"output_tokens must be an integer from 0 on, got {output_tokens!r}")
        self._limiter = limiter
        self._keys = keys
        self._output_tokens = output_tokens
        self._deployments = deployments
        # By the id of the call. Clients may choose it, so several calls may share one.
        self._reservations: dict[str, list[Reservation]] = {}

    def limit(self, router: Any) -> LimitedRouter:
        """Return ``router`` with this limiter in front of its completions and embeddings."""
        return LimitedRouter(self, router)

    # What LiteLLM's proxy calls.

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> Any:
        """Reserve what a request to the proxy may use. Raises ``RateLimitError``."""
        model = data.get("model")
        if self._keys is not None:
            keys: Mapping[str, Any] = self._keys(model or "", data)
        else:
            keys = {
                "model": model,
                "key": user_api_key_dict.api_key,
                "user": user_api_key_dict.user_id,
                "team": user_api_key_dict.team_id,
                "org": user_api_key_dict.org_id,
                "end_user": user_api_key_dict.end_user_id,
            }
        reservation = await self.reserve_async(model, keys, data)
        call = data.get("litellm_call_id")
        if call:
            self._forget()
            self._reservations.setdefault(call, []).append(reservation)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Settle what was reserved for a request that has succeeded."""
        reservation = self._taken(kwargs.get("litellm_call_id"))
        if reservation is not None:
            await self.settle_async(reservation, _used(response_obj, reservation.tokens))

    async def async_post_call_failure_hook(
        self, request_data: Any, original_exception: Any, user_api_key_dict: Any, traceback_str: Any = None
    ) -> None:
        """Give back what was reserved for a request that has failed."""
        reservation = self._taken(request_data.get("litellm_call_id"))
        if reservation is not None:
            await self.release_async(reservation)

    # What a router calls.

    async def async_pre_call_check(self, deployment: dict[str, Any], parent_otel_span: Any = None) -> None:
        """Count a call of ``deployment``. Raises ``RateLimitError``."""
        if self._deployments is not None:
            keys = {"deployment": deployment["model_info"]["id"]}
            _require(await self._deployments.check_async(keys), deployment["litellm_params"]["model"])

    def pre_call_check(self, deployment: dict[str, Any]) -> None:
        """Count a call of ``deployment``. Raises ``RateLimitError``."""
        if self._deployments is not None:
            keys = {"deployment": deployment["model_info"]["id"]}
            _require(self._deployments.check(keys), deployment["litellm_params"]["model"])

    # What both sides of a call are made of.

    def reserve(self, model: Any, keys: Mapping[str, Any], arguments: Mapping[str, Any]) -> Reservation:
        """Take one request and the tokens it may use. Raises ``RateLimitError``."""
        found, prompt, tokens = self._asked(keys, arguments)
        decision = self._limiter.check(found, 1, tokens)
        _require(decision, model)
        return Reservation(found, tokens, prompt, decision, time.monotonic())

    async def reserve_async(self, model: Any, keys: Mapping[str, Any], arguments: Mapping[str, Any]) -> Reservation:
        """Take as ``reserve`` does, without blocking the event loop."""
        found, prompt, tokens = self._asked(keys, arguments)
        decision = await self._limiter.check_async(found, 1, tokens)
        _require(decision, model)
        return Reservation(found, tokens, prompt, decision, time.monotonic())

    def settle(self, held: Reservation, used: int) -> None:
        """Give back what was reserved beyond ``used`` tokens, or charge what is missing."""
        if used < held.tokens:
            self._limiter.refund(held.keys, 0, held.tokens - used, decision=held.decision)
        elif used > held.tokens and self._limiter.counts_tokens:
            self._limiter.charge(held.keys, 0, used - held.tokens)

    async def settle_async(self, held: Reservation, used: int) -> None:
        """Settle as ``settle`` does, without blocking the event loop."""
        if used < held.tokens:
            await self._limiter.refund_async(held.keys, 0, held.tokens - used, decision=held.decision)
        elif used > held.tokens and self._limiter.counts_tokens:
            await self._limiter.charge_async(held.keys, 0, used - held.tokens)

    def release(self, held: Reservation) -> None:
        """Give back everything that was reserved, including the request."""
        self._limiter.refund(held.keys, 1, held.tokens, decision=held.decision)

    async def release_async(self, held: Reservation) -> None:
        """Give back as ``release`` does, without blocking the event loop."""
        await self._limiter.refund_async(held.keys, 1, held.tokens, decision=held.decision)

    def keys_of(self, model: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the keys for which a router's call counts."""
        if self._keys is not None:
            return self._keys(model, arguments)
        metadata = arguments.get("metadata")
        held = metadata if isinstance(metadata, Mapping) else {}
        keys = {scope: held.get(name) for scope, name in _METADATA.items()}
        return {"model": model, "user": arguments.get("user"), "end_user": arguments.get("user"), **keys}

    def _asked(self, keys: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[dict[str, str], int, int]:
        """Return the valid keys, the number of tokens in the messages, and the number to reserve."""
        found = {scope: key for scope, key in keys.items() if isinstance(key, str) and key}
        if not self._limiter.counts_tokens:
            return found, 0, 0
        prompt = 0
        with contextlib.suppress(Exception):  # LiteLLM raises the error about such arguments
            for message in arguments.get("messages") or ():
                prompt += _MESSAGE_TOKENS + _count(message.get("content"))
            prompt += _count(arguments.get("input")) + _count(arguments.get("prompt"))
        for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
            most = arguments.get(name)
            if type(most) is int and most > 0:
                return found, prompt, prompt + min(most, _MOST_TOKENS)
        return found, prompt, prompt + self._output_tokens

    def _taken(self, call: Any) -> Reservation | None:
        """Take out and return what was reserved for a call."""
        held = self._reservations.get(call)
        if not held:
            return None
        reservation = held.pop()
        if not held:
            self._reservations.pop(call, None)
        return reservation

    def _forget(self) -> None:
        """Forget up to two of the oldest calls of which there was no news."""
        for call, held in list(itertools.islice(self._reservations.items(), 2)):
            if held[-1].since < time.monotonic() - _FORGOTTEN:
                del self._reservations[call]


class LimitedRouter:
    """A ``Router`` with a limiter in front of it; everything else goes to the router."""

    def __init__(self, hook: RateLimitHook, router: Any) -> None:
        self._hook = hook
        self._router = router

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._router, name)
        if name in _CALLS_ASYNC:
            return lambda *args, **kwargs: self._call_async(method, args, kwargs)
        if name in _CALLS:
            return lambda *args, **kwargs: self._call(method, args, kwargs)
        return method

    def _call(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        model, arguments = _arguments(args, kwargs)
        reservation = self._hook.reserve(model, self._hook.keys_of(model, arguments), arguments)
        try:
            result = method(*args, **kwargs)
        except BaseException:
            self._hook.release(reservation)
            raise
        if arguments.get("stream"):
            return LimitedStream(result, self._hook, reservation)
        self._hook.settle(reservation, _used(result, reservation.tokens))
        return result

    async def _call_async(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        model, arguments = _arguments(args, kwargs)
        reservation = await self._hook.reserve_async(model, self._hook.keys_of(model, arguments), arguments)
        try:
            result = await method(*args, **kwargs)
        except BaseException:
            await asyncio.shield(self._hook.release_async(reservation))
            raise
        if arguments.get("stream"):
            return LimitedStream(result, self._hook, reservation)
        await self._hook.settle_async(reservation, _used(result, reservation.tokens))
        return result


class LimitedStream:
    """A router's stream that settles its reservation at its end; everything else goes to the stream."""

    def __init__(self, stream: Any, hook: RateLimitHook, reservation: Reservation) -> None:
        self._stream = stream
        self._hook = hook
        self._reservation: Reservation | None = reservation
        self._used: int | None = None
        self._texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._stream)
        except BaseException:
            reservation = self._ended()
            if reservation is not None:
                self._hook.settle(reservation, self._total(reservation))
            raise
        self._note(chunk)
        return chunk

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._stream.__anext__()
        except BaseException:
            reservation = self._ended()
            if reservation is not None:
                await asyncio.shield(self._hook.settle_async(reservation, self._total(reservation)))
            raise
        self._note(chunk)
        return chunk

    def _note(self, chunk: Any) -> None:
        with contextlib.suppress(Exception):
            usage = getattr(chunk, "usage", None)
            if usage is not None:
                self._used = usage.total_tokens
            if chunk.choices and chunk.choices[0].delta.content:
                self._texts.append(chunk.choices[0].delta.content)

    def _ended(self) -> Reservation | None:
        reservation, self._reservation = self._reservation, None
        return reservation

    def _total(self, reservation: Reservation) -> int:
        """Return the usage in the stream's last chunk, or else count what was received."""
        return reservation.prompt + _count("".join(self._texts)) if self._used is None else self._used


def _require(decision: Decision, model: Any) -> None:
    """Raise LiteLLM's ``RateLimitError`` unless the call is allowed."""
    if decision.allowed:
        return
    headers = {"x-ratelimit-remaining": str(decision.remaining)}
    if decision.retry_after != math.inf:
        headers["retry-after"] = str(math.ceil(decision.retry_after))
    raise litellm.RateLimitError(
        message=f"Rate limit exceeded: {decision.limit or 'the limits are not known now'}",
        llm_provider="",
        model=model if isinstance(model, str) else "",
        category="litellm_rate_limit",
        num_retries=0,
        headers=headers,
    )


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the model and, by name, all arguments of a router's call."""
    arguments = {**dict(zip(("model", "messages", "stream"), args, strict=False)), **kwargs}
    model = arguments.get("model")
    return model if isinstance(model, str) else "", arguments


def _count(content: Any) -> int:
    """Return the number of tokens in the texts of a message's content or of an input."""
    if isinstance(content, str):
        return get_encoding(_ENCODING).count(content)
    if isinstance(content, (list, tuple)):
        return sum(_count(part.get("text") if isinstance(part, Mapping) else part) for part in content)
    return 0


def _used(response: Any, reserved: int) -> int:
    """Return the number of tokens that a response reports, or those ``reserved`` if it reports none."""
    usage = response.get("usage") if isinstance(response, Mapping) else getattr(response, "usage", None)
    total = usage.get("total_tokens") if isinstance(usage, Mapping) else getattr(usage, "total_tokens", None)
    return total if type(total) is int and total >= 0 else reserved
