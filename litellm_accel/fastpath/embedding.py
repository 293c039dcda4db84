"""``litellm.embedding`` and ``litellm.aembedding`` by way of the fast path: completions with an input for messages."""

from __future__ import annotations

import marshal
from typing import Any, ClassVar

import orjson

from litellm_accel import hot
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.arguments import SHARED
from litellm_accel.fastpath.completion import CompletionHandler
from litellm_accel.fastpath.notify.embedding_success import EmbeddingNotifiers
from litellm_accel.fastpath.notify.success import NotifierFactory
from litellm_accel.fastpath.pipeline import Call, Pipeline
from litellm_accel.fastpath.plans import outlines
from litellm_accel.fastpath.plans.embedding_maker import EmbeddingPlanMaker
from litellm_accel.fastpath.plans.maker import PlanMaker
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.fastpath.plans.recorder import Reply
from litellm_accel.fastpath.router_core import CoreHandler
from litellm_accel.fastpath.transport.outbound import OutboundRequest
from litellm_accel.hot import chat, embeddings

# Arguments of embeddings that chats do not know, with their types, and of chats that embeddings do not.
_OWN = {"dimensions": int, "encoding_format": str}
_CHATS = frozenset(("messages", "stream", "stream_options"))


class EmbeddingPipeline(Pipeline):
    """The plans of embeddings, and how they are admitted."""

    maker_class: ClassVar[type[PlanMaker]] = EmbeddingPlanMaker
    notifiers_class: ClassVar[type[NotifierFactory]] = EmbeddingNotifiers
    maker: EmbeddingPlanMaker

    def parse_call(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], started: float) -> Call | None:
        """Return a call that began at ``started`` (``time.time()``) as the fast path knows it, or None to decline."""
        own = [(name, kwargs[name]) for name in _OWN if name in kwargs]
        given = {name: value for name, value in kwargs.items() if name != "input" and name not in _OWN}
        odd = [name for name, value in own if value is not None and type(value) is not _OWN[name]]
        odd.extend(_CHATS.intersection(kwargs))
        if kwargs.get("headers") and kwargs.get("extra_headers"):
            odd.append("headers")  # LiteLLM writes into the caller's
        found = None if odd else chat.call_key(kind, args, given, self.arguments)
        if found is None:
            self.gate.decline(decline.ARGUMENT.of(odd[0]) if odd else self.arguments.refusal(kind, given))
            return None
        reason: decline.Why | None
        reason, epoch = self.environment.decline_reason(), self.environment.epoch
        self.forgotten = self.forget(self.plans, self.forgotten)
        if reason is None and self._internal.get():
            reason = decline.INTERNAL_CALL
        if reason is None and self._is_counted(kwargs):
            reason = decline.COUNTED_BEFOREHAND
        if reason is None and self.environment.litellm.cache is not None:
            reason = decline.CACHEABLE
        if reason is None and kind in ("sync", "router"):
            reason = self.environment.levels.in_threads
        if reason is None:
            value = args[1] if len(args) > 1 else kwargs.get("input")
            read = embeddings.input_of(value)
            if read is None:
                reason = decline.EMBEDDING_INPUT
            elif found[0].startswith(SHARED) and self.is_told(kwargs):
                reason = self.arguments.told(kwargs)
            else:
                key, free = found
                sort, encoded = read
                key = b"%d %b %b" % (epoch, marshal.dumps((sort, own), 2), key) + self.environment.levels.key
                if free and key in self.bound:
                    key += b",".join(free.values())
                return Call(key, value, encoded, free, kwargs, started, None)
        self.gate.decline(reason)
        return None

    def messages_as_sent(self, call: Call) -> Any:
        """Return the input that has been sent for ``call``, if its caller has changed it since; else None."""
        now = embeddings.input_of(call.messages)
        return None if now is not None and now[1] == call.encoded else orjson.loads(call.encoded)

    def outline_of(self, answer: Any) -> outlines.Outline:
        """Return what is told of an answer where LiteLLM is not known: of its vectors, how many there are."""
        told = outlines.of_reply(orjson.dumps(answer.value), self.proof.clues)
        return {**told, "vectors": self.proof.clues.number(len(answer.entries))}

    def result(self, plan: chat.Plan, post: OutboundRequest, reply: Reply, call: Call) -> tuple[Any, Any]:
        """Return what ``call`` returns for ``reply``, or None if stock must judge it, and what callbacks are to be
        told."""
        result, told = super().result(plan, post, reply, call)
        if result is not None and plan.conversion is None:
            self.maker.warn(result)
        return result, told


class EmbeddingHandler(CompletionHandler):
    """Serves embeddings; what is called a completion there is one here.

    Its pipeline is made at the first call: most programs embed nothing, and there is much to look at.
    """

    subject: ClassVar[str] = "input"
    mark: ClassVar[str] = "aembedding"

    def __init__(self, gate: hot.gate.Gate, proof: Proof) -> None:
        self.fault = gate.fault
        self._given = gate, proof

    def __getattr__(self, name: str) -> Any:
        if name != "pipeline":
            raise AttributeError(name)
        pipeline = self.pipeline = EmbeddingPipeline(*self._given)
        return pipeline


class EmbeddingCoreHandler(CoreHandler):
    """Serves embeddings of a router's core."""

    endpoint: ClassVar[str] = "embedding"
    subject: ClassVar[str] = "input"

    def completion(self, core: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``embedding`` of a router's core."""
        return super().completion(core, *args[:2], **kwargs)  # the third, ``is_async``, says nothing

    def _is_blocked(self, result: Any) -> bool:
        return False
