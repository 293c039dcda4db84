"""Which callbacks LiteLLM tells of a success, and whether it takes the short way through its handlers to them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from logging import DEBUG
from operator import is_not
from typing import Any

from litellm_accel.fastpath.notify.handler_bodies import Way, shortened
from litellm_accel.fastpath.notify.message_copies import LoggedMessages
from litellm_accel.stock import releases

# What LiteLLM's handlers call of a logger besides telling it; and what changes what is logged.
_ASKED = ("exempt_from_message_redaction", "redact_standard_logging_payload_from_model_call_details")
_HOOKS = ("async_logging_hook", "logging_hook")
# By which a logger is told from others.
_TOLD_APART = ("__eq__", "__ne__", "__hash__", "__getattribute__")
# The modules on the short way.
_MODULES = (
    "litellm.integrations.custom_guardrail",
    "litellm.integrations.custom_logger",
    "litellm.integrations.shadow_eval_logger",
    "litellm.litellm_core_utils.litellm_logging",
    "litellm.litellm_core_utils.logging_utils",
    "litellm.litellm_core_utils.redact_messages",
)
_CALL_TYPES = frozenset(("completion", "acompletion", "embedding", "aembedding"))
_IN_LOOPS = "_async_success_handler_body"
#: The methods of ``Logging`` that are shortened, and the attributes in which their ways are: both may run at a time.
WAYS = {_IN_LOOPS: "way", "_success_handler_body": "way_in_thread"}


# Loggers that LiteLLM tells in another way.
_OTHERS = (
    ("litellm.integrations.custom_guardrail", "CustomGuardrail"),
    ("litellm.integrations.shadow_eval_logger", "ShadowEvalLogger"),
)


def _others() -> tuple[type, ...]:
    """Return those loggers' classes; of a module that nobody has imported there is no logger."""
    modules = ((sys.modules.get(module), name) for module, name in _OTHERS)
    return tuple(getattr(module, name) for module, name in modules if module is not None)


class ToldCallbacks:
    """Finds which callbacks are told of a success; LiteLLM does so by their methods, several times a call.

    ``state`` returns what stays equal while functions, settings and callbacks do, or None.
    """

    def __init__(self, state: Callable[[], Any]) -> None:
        self._litellm = importlib.import_module("litellm")
        self._logger = importlib.import_module("litellm._logging").verbose_logger
        self._state = state
        self._found: _Found | None = None
        self._messages = LoggedMessages()
        self._base = importlib.import_module("litellm.integrations.custom_logger").CustomLogger
        self._bodies: dict[str, tuple[Any, Any]] = {}
        self._results = (self._litellm.ModelResponse, self._litellm.EmbeddingResponse)

    def find(self, logging: Any, asynchronous: bool, stock: Callable[..., Any]) -> tuple[Any, ...]:
        """Return the callbacks of a call that has the object ``logging``, as ``stock`` does."""
        found = self._now(logging)
        if found is None:
            return stock(asynchronous=asynchronous)  # type: ignore[no-any-return]
        told = found.told.get(asynchronous)
        if told is None:
            told = found.told[asynchronous] = stock(asynchronous=asynchronous)
        return told

    def body(
        self, name: str, logging: Any, given: dict[str, Any], stock: Any, completed: Callable[..., Any] | None
    ) -> Any:
        """Return LiteLLM's method of this ``name`` for a call that takes the short way, None for one that does not.

        ``stock`` is all of the method, ``given`` what it is called with; ``completed`` returns who is to be told.
        """
        if (
            logging.ends is not None
            or logging.stream
            or not logging.is_own
            or logging.call_type not in _CALL_TYPES
            or type(given.get("result")) not in self._results
        ):
            return None
        found = self._now(logging)
        if found is None or not self._is_plain(found):
            return None
        code, body = self._bodies.get(name, (None, None))
        if code is not stock.__code__:
            self._bodies[name] = stock.__code__, None  # what fails once is not tried for each call
            body = shortened(stock, WAYS[name]) if releases.strange(_MODULES) is None else None
            self._bodies[name] = stock.__code__, body
        if body is None:
            return None
        asynchronous = name == _IN_LOOPS
        own = logging.dynamic_async_success_callbacks if asynchronous else logging.dynamic_success_callbacks
        common = found.callbacks[found.here + 1 :] if asynchronous else found.callbacks[: found.here]
        callbacks = common if own is None else list(dict.fromkeys(common))
        messages = None
        if asynchronous:
            details = logging.model_call_details
            messages = None if details.get("system") is not None else self._messages.made(details.get("messages"))
            if messages is None:
                return None
        delivery = None if completed is None else found.told.get(asynchronous) or completed(asynchronous=asynchronous)
        if self._found is not found:  # another thread has changed the lists
            return None
        hooks: tuple[Any, ...] = ()
        if found.is_hooked or _hides_messages(found.loggers):
            hooks = tuple(dict.fromkeys((*callbacks, *(delivery or ()))))
        setattr(logging, WAYS[name], Way(callbacks, delivery, hooks, messages, self._is_bare))
        return body

    def _now(self, logging: Any) -> _Found | None:
        """Return what is known of the present lists, None if LiteLLM is to look at them for this call."""
        state = self._state()
        if (
            state is None
            or logging.dynamic_success_callbacks
            or logging.dynamic_async_success_callbacks
            or getattr(logging, "replaced_global_callback_keys", None)
            or logging.routed is not None
            or self._logger.isEnabledFor(DEBUG)  # stock writes down what it leaves out
        ):
            return None
        here = [*self._litellm.success_callback]
        callbacks = [*here, None, *self._litellm._async_success_callback]
        found = self._found
        if (
            found is None
            or found.state != state
            or found.here != len(here)
            or len(found.callbacks) != len(callbacks)
            or any(map(is_not, found.callbacks, callbacks))
        ):
            found = self._found = _Found(state, callbacks, len(here))
        return found

    def _is_plain(self, found: _Found) -> bool:
        """Return whether all callbacks are loggers that LiteLLM asks nothing but what every logger answers alike."""
        if found.is_plain is None:
            loggers = list({id(held): held for held in found.callbacks if held is not None}.values())
            found.is_plain = all(map(self._is_plain_logger, loggers))
            found.is_hooked = not all(self._has_own(held, name) for held in loggers for name in _HOOKS)
            found.loggers = loggers
        return found.is_plain

    def _is_plain_logger(self, callback: Any) -> bool:
        kind = type(callback)
        return (
            issubclass(kind, self._base)
            and not issubclass(kind, _others())
            and all(getattr(kind, name) is getattr(object, name) for name in _TOLD_APART)
            and not any({"__call__", "__getattr__", "__class__"} & vars(owner).keys() for owner in kind.__mro__[:-1])
            and all(self._has_own(callback, name) for name in _ASKED)
        )

    def _has_own(self, callback: Any, name: str) -> bool:
        """Return whether a method is the one that every logger has."""
        return getattr(type(callback), name, None) is getattr(self._base, name, None) and name not in vars(callback)

    def _is_bare(self, callback: Any) -> bool:
        """Return whether it is known that a logger leaves out nothing of what it is told."""
        try:
            excluded = getattr(self._litellm, "standard_logging_payload_excluded_fields", None)
            return getattr(callback, "turn_off_message_logging", False) is False and not excluded
        except Exception:
            return False


def _hides_messages(loggers: list[Any]) -> bool:
    """Return whether one of ``loggers`` is not to be told what was said."""
    try:
        for logger in loggers:
            if getattr(logger, "message_logging", True) is not True:
                return True
    except Exception:  # which LiteLLM will meet, too
        return True
    return False


class _Found:
    """What is known of LiteLLM's lists as they were in one ``state``.

    ``callbacks`` are the members of both, with None between: of the first as many as ``here`` says.
    """

    __slots__ = ("callbacks", "here", "is_hooked", "is_plain", "loggers", "state", "told")

    def __init__(self, state: Any, callbacks: list[Any], here: int) -> None:
        self.state = state
        self.here = here
        self.callbacks = callbacks
        self.told: dict[bool, tuple[Any, ...]] = {}
        self.is_plain: bool | None = None
        self.is_hooked = True
        self.loggers: list[Any] = []
