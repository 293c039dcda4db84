"""``litellm.completion`` and ``litellm.acompletion`` by way of the fast path."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Coroutine
from types import FunctionType
from typing import Any, ClassVar, NoReturn

from litellm_accel.fastpath.cache_hits import CacheHits, Hit
from litellm_accel.fastpath.passage import Passage
from litellm_accel.fastpath.pipeline import LEARN, Pipeline
from litellm_accel.fastpath.transport import outbound
from litellm_accel.stock import trace


class CompletionHandler:
    """Serves a call or leaves it to ``stock`` or ``astock``, LiteLLM's own functions.

    Any name may be an argument's, ``self`` as well: LiteLLM's own ``LiteLLM().chat.completions.create`` passes that.
    """

    stock: FunctionType
    astock: FunctionType
    #: The argument that comes with each call, and the one by which LiteLLM's asynchronous function calls the other.
    subject: ClassVar[str] = "messages"
    mark: ClassVar[str] = "acompletion"
    #: What looks into LiteLLM's cache, None if nothing does.
    hits: CacheHits | None = None

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.hits = CacheHits(pipeline)
        self.fault = pipeline.gate.fault

    async def acompletion(self, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.acompletion``."""
        passage = Passage(self.astock, self.fault)
        try:
            return await self._serve(passage, args, kwargs, is_async=True)
        except BaseException as error:
            if passage.passes(error):
                raise
        return await passage.aresume(*args, **kwargs)

    def completion(self, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.completion``."""
        passage = Passage(self.stock, self.fault)
        try:
            return at_once(self._serve(passage, args, kwargs, is_async=False))
        except BaseException as error:
            if passage.passes(error):
                raise
        return passage.resume(*args, **kwargs)

    async def _serve(self, passage: Passage, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_async: bool) -> Any:
        """Return the result of a call; only one that ``is_async`` is suspended here."""
        pipeline = self.pipeline
        started = time.time()
        is_open = pipeline.open() and (is_async or self.mark not in kwargs)
        kind = "async" if is_async else "sync"
        if is_open and self.hits is not None and pipeline.environment.litellm.cache is not None:
            found = await self.hits.find(kind, args, kwargs, started)
            if type(found) is Hit:
                return await self._answer(self.hits, found, passage, args, kwargs, is_async=is_async)
            admitted = None if found is None else pipeline.planned(found.call)
        else:
            admitted = pipeline.admit(kind, args, kwargs, started) if is_open else None
        if admitted is None:
            if is_async:
                return await passage.arun(*args, **kwargs)
            return trace.follow(passage.run, *args, **kwargs)
        plan, call = admitted
        if plan is LEARN:
            with pipeline.watching(pipeline.plans, call.key, call) as recording:
                if is_async:
                    result = await recording.trace.arun(passage.arun(*args, **kwargs))
                else:
                    result = recording.trace.run(passage.run, *args, **kwargs)
                recording.result = result
            return result
        prepare = outbound.aprepare if is_async else outbound.prepare
        post = pipeline.ready(prepare, plan, call)
        if post is None:
            with pipeline.connecting(plan) if is_async else contextlib.nullcontext():
                return await passage.arun(*args, **kwargs) if is_async else passage.run(*args, **kwargs)
        passage.begins(post.undo)
        passage.sends(
            lambda reply: (
                *_as_sent(args, kwargs, self.subject, pipeline.messages_as_sent(call)),
                pipeline.meeting(plan, post, reply),
            )
        )
        reply = await post.asend() if is_async else post.send()
        while reply.status != 200 and (wait := pipeline.waiting(plan, post, reply, call)) is not None:
            if is_async:
                await post.awaited(wait(), reply.sent)
            else:
                wait()
            if not pipeline.next_post(prepare, plan, post, reply, call):
                break
            reply = await post.asend() if is_async else post.send()
            reply.sent = post.earlier[0].sent
        result, told = pipeline.result(plan, post, reply, call)
        if result is None:
            error = pipeline.error(plan, post, reply, call)
            if error is not None:
                passage.raises(error)
                pipeline.gate.serve()
                raise_as_made(error)
            args, kwargs = _as_sent(args, kwargs, self.subject, pipeline.messages_as_sent(call))
            with pipeline.handing_over(plan, post, reply, call) as replay:
                result = await passage.arun(*args, **kwargs) if is_async else passage.run(*args, **kwargs)
                replay.result = result
            return result
        tell = None if told is None else told.adispatch if is_async else told.dispatch
        passage.made(result, told, tell)
        if call.lookup is not None:
            await call.lookup.keep(result)
        if post.log is not None:
            post.log.after(post.body, reply)
        if tell is not None:
            tell()
        elif is_async and post.opening is None:
            pipeline.unheard.note()
        pipeline.gate.serve()
        return result

    async def _answer(
        self,
        hits: CacheHits,
        hit: Hit,
        passage: Passage,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        is_async: bool,
    ) -> Any:
        """Return the result of a call whose answer is in LiteLLM's cache."""
        if hit.result is None:
            with hits.watching(hit) as recording:
                if is_async:
                    result = await recording.trace.arun(passage.arun(*args, **kwargs))
                else:
                    result = recording.trace.run(passage.run, *args, **kwargs)
                recording.result = result
            return result
        passage.made(hit.result, None)
        if is_async:
            self.pipeline.unheard.note_at_once()
        self.pipeline.gate.serve()
        return hit.result


def raise_as_made(error: Exception) -> NoReturn:
    """Raise ``error`` and leave what led to it as it is, even if the caller is handling another one."""
    context = error.__context__
    try:
        raise error
    except Exception:
        error.__context__ = context
        raise


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a ``coroutine`` that is never suspended."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a call in a thread is suspended")


def _as_sent(
    args: tuple[Any, ...], kwargs: dict[str, Any], subject: str, sent: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments, with what was ``sent`` in the place of its own ``subject`` if that is not None."""
    if sent is None:
        return args, kwargs
    return ((args[0], sent), kwargs) if len(args) > 1 else (args, {**kwargs, subject: sent})
