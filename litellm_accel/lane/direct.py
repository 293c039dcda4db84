"""``litellm.completion`` and ``litellm.acompletion`` by way of the lane."""

from __future__ import annotations

import time
from types import FunctionType
from typing import Any

from litellm_accel.lane import wire
from litellm_accel.lane.core import LEARN, Lane
from litellm_accel.lane.guard import Passage
from litellm_accel.stock import trace


class Direct:
    """Serves a call or leaves it to ``stock`` or ``astock``, LiteLLM's own functions.

    Any name may be an argument's, ``self`` as well: LiteLLM's own ``LiteLLM().chat.completions.create`` passes that.
    """

    stock: FunctionType
    astock: FunctionType

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    async def acompletion(self, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.acompletion``."""
        passage = Passage(self.astock, self.lane.gate.fault)
        try:
            return await self._acompletion(passage, args, kwargs)
        except BaseException as error:
            if passage.passes(error):
                raise
        return await passage.aresume(*args, **kwargs)

    async def _acompletion(self, passage: Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        lane, stock = self.lane, passage.arun
        started = time.time()
        admitted = lane.admit("async", args, kwargs, started) if lane.open() else None
        if admitted is None:
            return await stock(*args, **kwargs)
        plan, call = admitted
        if plan is LEARN:
            with lane.watching(lane.plans, call.key, call) as recording:
                result = recording.result = await recording.trace.arun(stock(*args, **kwargs))
            return result
        post = lane.ready(wire.apost, plan, call)
        if post is None:
            with lane.connecting(plan):
                return await stock(*args, **kwargs)
        passage.sends(
            lambda reply: (*_as_sent(args, kwargs, lane.messages_as_sent(call)), lane.meeting(plan, post, reply))
        )
        reply = await post.asend()
        result, told = lane.result(plan, post, reply, call)
        if result is None:
            args, kwargs = _as_sent(args, kwargs, lane.messages_as_sent(call))
            with lane.handing_over(plan, post, reply) as replay:
                result = replay.result = await stock(*args, **kwargs)
            return result
        passage.made(result, told, None if told is None else told.atell)
        if post.log is not None:
            post.log.after(post.body, reply)
        if told is not None:
            told.atell()
        elif post.opening is None:
            lane.unheard.note()
        lane.gate.serve()
        return result

    def completion(self, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``litellm.completion``."""
        passage = Passage(self.stock, self.lane.gate.fault)
        try:
            return self._completion(passage, args, kwargs)
        except BaseException as error:
            if passage.passes(error):
                raise
        return passage.resume(*args, **kwargs)

    def _completion(self, passage: Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        lane, stock = self.lane, passage.run
        started = time.time()
        # LiteLLM's own acompletion calls completion with this argument.
        admitted = lane.admit("sync", args, kwargs, started) if lane.open() and "acompletion" not in kwargs else None
        if admitted is None:
            return trace.follow(stock, *args, **kwargs)
        plan, call = admitted
        if plan is LEARN:
            with lane.watching(lane.plans, call.key, call) as recording:
                result = recording.result = recording.trace.run(stock, *args, **kwargs)
            return result
        post = lane.ready(wire.post, plan, call)
        if post is None:
            return stock(*args, **kwargs)
        passage.sends(
            lambda reply: (*_as_sent(args, kwargs, lane.messages_as_sent(call)), lane.meeting(plan, post, reply))
        )
        reply = post.send()
        result, told = lane.result(plan, post, reply, call)
        if result is None:
            args, kwargs = _as_sent(args, kwargs, lane.messages_as_sent(call))
            with lane.handing_over(plan, post, reply) as replay:
                result = replay.result = stock(*args, **kwargs)
            return result
        passage.made(result, told, None if told is None else told.tell)
        if post.log is not None:
            post.log.after(post.body, reply)
        if told is not None:
            told.tell()
        lane.gate.serve()
        return result


def _as_sent(args: tuple[Any, ...], kwargs: dict[str, Any], messages: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments, with ``messages`` in the place of its own if there are any."""
    if messages is None:
        return args, kwargs
    return ((args[0], messages), kwargs) if len(args) > 1 else (args, {**kwargs, "messages": messages})
