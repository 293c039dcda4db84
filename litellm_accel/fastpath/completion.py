"""``litellm.completion`` and ``litellm.acompletion`` by way of the fast path."""

from __future__ import annotations

import time
from types import FunctionType
from typing import Any

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

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def acompletion(self, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.acompletion``."""
        passage = Passage(self.astock, self.pipeline.gate.fault)
        try:
            return await self._acompletion(passage, args, kwargs)
        except BaseException as error:
            if passage.passes(error):
                raise
        return await passage.aresume(*args, **kwargs)

    async def _acompletion(self, passage: Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pipeline, stock = self.pipeline, passage.arun
        started = time.time()
        admitted = pipeline.admit("async", args, kwargs, started) if pipeline.open() else None
        if admitted is None:
            return await stock(*args, **kwargs)
        plan, call = admitted
        if plan is LEARN:
            with pipeline.watching(pipeline.plans, call.key, call) as recording:
                result = recording.result = await recording.trace.arun(stock(*args, **kwargs))
            return result
        post = pipeline.ready(outbound.aprepare, plan, call)
        if post is None:
            with pipeline.connecting(plan):
                return await stock(*args, **kwargs)
        passage.sends(
            lambda reply: (
                *_as_sent(args, kwargs, pipeline.messages_as_sent(call)),
                pipeline.meeting(plan, post, reply),
            )
        )
        reply = await post.asend()
        result, told = pipeline.result(plan, post, reply, call)
        if result is None:
            args, kwargs = _as_sent(args, kwargs, pipeline.messages_as_sent(call))
            with pipeline.handing_over(plan, post, reply, call) as replay:
                result = replay.result = await stock(*args, **kwargs)
            return result
        passage.made(result, told, None if told is None else told.adispatch)
        if post.log is not None:
            post.log.after(post.body, reply)
        if told is not None:
            told.adispatch()
        elif post.opening is None:
            pipeline.unheard.note()
        pipeline.gate.serve()
        return result

    def completion(self, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.completion``."""
        passage = Passage(self.stock, self.pipeline.gate.fault)
        try:
            return self._completion(passage, args, kwargs)
        except BaseException as error:
            if passage.passes(error):
                raise
        return passage.resume(*args, **kwargs)

    def _completion(self, passage: Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pipeline, stock = self.pipeline, passage.run
        started = time.time()
        # LiteLLM's own acompletion calls completion with this argument.
        admitted = (
            pipeline.admit("sync", args, kwargs, started) if pipeline.open() and "acompletion" not in kwargs else None
        )
        if admitted is None:
            return trace.follow(stock, *args, **kwargs)
        plan, call = admitted
        if plan is LEARN:
            with pipeline.watching(pipeline.plans, call.key, call) as recording:
                result = recording.result = recording.trace.run(stock, *args, **kwargs)
            return result
        post = pipeline.ready(outbound.prepare, plan, call)
        if post is None:
            return stock(*args, **kwargs)
        passage.sends(
            lambda reply: (
                *_as_sent(args, kwargs, pipeline.messages_as_sent(call)),
                pipeline.meeting(plan, post, reply),
            )
        )
        reply = post.send()
        result, told = pipeline.result(plan, post, reply, call)
        if result is None:
            args, kwargs = _as_sent(args, kwargs, pipeline.messages_as_sent(call))
            with pipeline.handing_over(plan, post, reply, call) as replay:
                result = replay.result = stock(*args, **kwargs)
            return result
        passage.made(result, told, None if told is None else told.dispatch)
        if post.log is not None:
            post.log.after(post.body, reply)
        if told is not None:
            told.dispatch()
        pipeline.gate.serve()
        return result


def _as_sent(args: tuple[Any, ...], kwargs: dict[str, Any], messages: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments, with ``messages`` in the place of its own if there are any."""
    if messages is None:
        return args, kwargs
    return ((args[0], messages), kwargs) if len(args) > 1 else (args, {**kwargs, "messages": messages})
