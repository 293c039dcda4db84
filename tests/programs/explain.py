"""Says of each call that component ``chat`` declines what it looked like: the very arguments, messages or settings."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any


class Explained:
    """Counts kinds of declined calls; of each, also what else would have made it one."""

    def __init__(self) -> None:
        from litellm_accel.fastpath import pipeline
        from litellm_accel.hot import chat

        self.kinds: list[Any] = []
        self.counts: Counter[str] = Counter()
        self._chat = chat
        owner, known, explain = pipeline.Pipeline, pipeline.Pipeline.parse_call, self.explain

        def watched(self: Any, kind: str, args: Any, kwargs: Any, started: float) -> Any:
            before = self.gate.declined
            call = known(self, kind, args, kwargs, started)
            if call is None:
                after = self.gate.declined
                reason = next((name for name in after if after[name] != before.get(name)), "?")
                explain(self, kind, args, kwargs, reason)
            return call

        owner.parse_call = watched  # type: ignore[method-assign]

    def explain(self, pipeline: Any, kind: str, args: Any, kwargs: Any, reason: str) -> None:
        """Count a declined call with what it was about."""
        what: list[Any] = []
        try:
            if reason.startswith(("logging", "setting", "callback", "patched")):
                what.append(self.surroundings(reason))
            what += filter(
                None, (self.arguments(pipeline, kind, args, kwargs), self.messages(pipeline, kind, args, kwargs))
            )
        except Exception as error:
            what += traceback.format_exception_only(error)
        shown = f"{reason} | {' | '.join(map(str, what))}"
        self.counts[shown] += 1
        self.kinds[:] = [[count, text] for text, count in self.counts.most_common(40)]

    def arguments(self, pipeline: Any, kind: str, args: Any, kwargs: Any) -> Any:
        """The arguments without which the call would have a key."""
        key = self._chat.call_key
        if len(args) > 2:
            return f"{len(args)} positional arguments"
        rest = {name: value for name, value in kwargs.items() if name != "messages"}
        refused = {}
        for name, value in rest.items():
            if key(kind, (), {"model": "m", "stream": rest.get("stream"), name: value}, pipeline.arguments) is None:
                refused[name] = _brief(value)
        return {"arguments": refused} if refused else None

    def messages(self, pipeline: Any, kind: str, args: Any, kwargs: Any) -> Any:
        """The shapes of those messages that have no body."""
        messages = args[1] if len(args) > 1 else kwargs.get("messages")
        if type(messages) is not list:
            return _type(messages)
        named = len(args) < 2 or kind.endswith("router")
        shapes = [_shape(message) for message in messages if not self.read(pipeline, message, named)]
        return [f"messages, told={pipeline.is_told(kwargs)}", *dict.fromkeys(shapes)] if shapes else None

    def read(self, pipeline: Any, message: Any, named: bool) -> bool:
        """Return whether the fast path can read a message."""
        return self._chat.body_of([message]) is not None or pipeline._reader.read([message], named) is not None

    def surroundings(self, reason: str) -> Any:
        """The value of the setting, the callbacks, the loggers' levels, and who may have set them."""
        import logging

        import litellm

        if reason.startswith("setting "):
            return _brief(getattr(litellm, reason.split()[1].partition("=")[0], "absent"))
        if reason.startswith("callback"):
            lists = ("callbacks", "input_callback", "success_callback", "_async_success_callback", "failure_callback")
            return {name: [_callback(one) for one in getattr(litellm, name)] for name in lists}
        names = ("", "httpx", "httpcore", "openai", "LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
        return {
            name or "root": logging.getLevelName(logging.getLogger(name).level)
            + "/"
            + logging.getLevelName(logging.getLogger(name).getEffectiveLevel())
            for name in names
        }


def _type(value: Any) -> str:
    kind = type(value)
    bases = [base.__qualname__ for base in kind.__mro__[1:-1]]
    return f"{kind.__module__}.{kind.__qualname__}({', '.join(bases)})"


def _brief(value: Any) -> str:
    shown = repr(value)
    return f"{_type(value)} {shown if len(shown) < 160 else shown[:160] + '…'}"


def _callback(one: Any) -> str:
    hooks = [name for name in dir(one) if name.startswith(("log_", "async_", "pre_", "post_"))]
    return one if isinstance(one, str) else f"{_type(one)} {hooks[:8]}"


def _shape(value: Any, depth: int = 4) -> str:
    """A message as a text: keys and types, short texts as they are."""
    if type(value) is str:
        return repr(value) if len(value) < 12 and value.isidentifier() else "str"
    if isinstance(value, str):
        return f"{_type(value)} {str(value)[:20]!r}"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value) if type(value) in (type(None), bool, int, float) else _type(value)
    if type(value) is dict and depth:
        return "{" + ", ".join(f"{name}: {_shape(item, depth - 1)}" for name, item in value.items()) + "}"
    if type(value) is list and depth:
        return "[" + ", ".join(dict.fromkeys(_shape(item, depth - 1) for item in value)) + "]"
    members = getattr(value, "__dict__", None)
    if isinstance(value, dict):
        members = dict(value)
    return _type(value) + (_shape(dict(members), depth - 1) if members and depth else "")
