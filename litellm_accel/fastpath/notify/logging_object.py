"""The ``Logging`` object of a served call: LiteLLM's own class, which does less where nobody would see the rest."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from logging import DEBUG
from types import FunctionType
from typing import Any

from litellm_accel.fastpath.notify.success_notes import prints_payloads
from litellm_accel.fastpath.notify.told_callbacks import WAYS, ToldCallbacks
from litellm_accel.stock import seams

# Notes that callbacks are told of the end of a stream.
_DISPATCHED = "has_dispatched_final_stream_success"
# Names callbacks in LiteLLM's lists that a call has others in the place of.
_REPLACED = "replaced_global_callback_keys"


def fed_class(logging_class: Any, calculator: str, fault: Callable[[BaseException], None], told: ToldCallbacks) -> Any:
    litellm = importlib.import_module("litellm")
    mark_complete = seams.either(logging_class, *seams.MARK_COMPLETE)
    can_be_brief = (
        "build_logging_payload" in inspect.signature(logging_class._success_handler_helper_fn).parameters
        and hasattr(logging_class, "_restore_correlation_context")
        and mark_complete is not None
    )

    # By which later releases tell callbacks of the other kind, too.
    completed = getattr(logging_class, "_get_completed_success_callbacks", None)

    # Later releases name arguments that change nothing while they are these.
    unset = {
        name: parameter.default
        for name, parameter in inspect.signature(logging_class._build_standard_logging_payload).parameters.items()
        if parameter.default is not parameter.empty
    }

    dispatch = seams.CheckedDispatch(logging_class)
    logger = importlib.import_module("litellm._logging").verbose_logger
    # The method that notes a success for the handlers.
    noting = next(name for name in seams.NOTES_SUCCESS if hasattr(logging_class, name))

    class Fed(logging_class):  # type: ignore[misc]
        """A call's ``Logging`` object, made by the fast path."""

        # All else is in the dictionary, as stock has it.
        __slots__ = ("ends", "is_own", "notes", "payloads", "routed", *WAYS.values())

        async def dispatch_success_handlers(
            self,
            result: Any = None,
            start_time: Any = None,
            end_time: Any = None,
            cache_hit: Any = None,
            prefer_async_handlers: bool = False,
            **more: Any,
        ) -> None:
            times = {"start_time": start_time, "end_time": end_time, "cache_hit": cache_hit}
            if self.ends is None or not prefer_async_handlers or more or not dispatch.is_known():
                more["prefer_async_handlers"] = prefer_async_handlers
                await super().dispatch_success_handlers(result, **times, **more)
                return
            # As in stock, whose check of what is given takes longer than all the rest and refuses nothing.
            if self._is_assembled_stream_success(result):
                if self.model_call_details.get(_DISPATCHED):
                    return
                self.model_call_details[_DISPATCHED] = True
            await self.async_success_handler(result, **times)
            if self.stream and self._should_run_sync_callbacks_for_async_calls():
                dispatch.executor.submit(self.success_handler, result, **times, for_async_request=True)

        async def async_success_handler(
            self, result: Any = None, start_time: Any = None, end_time: Any = None, cache_hit: Any = None, **more: Any
        ) -> None:
            callbacks = self.dynamic_async_success_callbacks, litellm._async_success_callback
            routers = None if more else self._routers(*callbacks, result, "async_success_handler")
            if routers is None:
                await super().async_success_handler(result, start_time, end_time, cache_hit, **more)
            else:
                self._succeed("async_success", routers, result, start_time, end_time, cache_hit)

        def success_handler(
            self, result: Any = None, start_time: Any = None, end_time: Any = None, cache_hit: Any = None, **more: Any
        ) -> None:
            callbacks = self.dynamic_success_callbacks, litellm.success_callback
            routers = None if more else self._routers(*callbacks, result, "success_handler")
            if routers is None:
                super().success_handler(result, start_time, end_time, cache_hit, **more)
            else:
                self._succeed("sync_success", routers, result, start_time, end_time, cache_hit)

        def _async_success_handler_body(self, *args: Any, **given: Any) -> Any:
            stock = super()._async_success_handler_body
            body = self._shortened("_async_success_handler_body", args, given)
            return stock(*args, **given) if body is None else body(self, **given)

        def _success_handler_body(self, *args: Any, **given: Any) -> Any:
            stock = super()._success_handler_body
            body = self._shortened("_success_handler_body", args, given)
            return stock(*args, **given) if body is None else body(self, **given)

        def _shortened(self, name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
            try:
                find = None if completed is None else self._get_completed_success_callbacks
                return None if args else told.body(name, self, given, vars(logging_class)[name], find)
            except Exception as error:
                fault(error)
                return None

        def _routers(self, own: Any, common: list[Any], result: Any, hook: str) -> list[Any] | None:
            """Return the callbacks to be told of a success, if these are routers that have counted it already.

            None if somebody would see what LiteLLM makes of it, or if that cannot be told.
            """
            try:
                if self.routed is None and common and not getattr(self, _REPLACED, None):
                    return None
                return self._counting(own, common, result, hook)
            except Exception as error:
                fault(error)
                return None

        def _counting(self, own: Any, common: list[Any], result: Any, hook: str) -> list[Any] | None:
            if not can_be_brief or self.ends is not None or not self.is_own or prints_payloads():
                return None
            callbacks = super().get_combined_callback_list(own, common)
            if callbacks and self.routed is None:
                return None
            if completed is not None:
                callbacks = [*callbacks, *completed(self, asynchronous=hook == "async_success_handler")]
            if self.routed is None:
                return None if callbacks else []
            params = self.model_call_details["litellm_params"]
            if not self.routed.has_counted(callbacks, params["metadata"], result):
                return None
            return [held for held in callbacks if self.should_run_callback(held, params, hook)]

        def _succeed(self, event: str, routers: list[Any], result: Any, start: Any, end: Any, cache_hit: Any) -> None:
            """Do what LiteLLM's success handlers do where nobody reads a payload."""
            try:
                if self.should_run_logging(event):
                    self._success_handler_helper_fn(result, start, end, cache_hit, build_logging_payload=False)
                    mark_complete(self, event)
                    if self.routed is not None:
                        self.routed.succeed(routers)
            finally:
                self._restore_correlation_context()

        def get_combined_callback_list(self, *args: Any, **kwargs: Any) -> list[Any]:
            callbacks: list[Any] = super().get_combined_callback_list(*args, **kwargs)
            try:
                return callbacks if self.routed is None else [self.routed.shortened(callback) for callback in callbacks]
            except Exception as error:
                fault(error)
                return callbacks

        def _get_completed_success_callbacks(self, *, asynchronous: bool) -> tuple[Any, ...]:
            try:
                return told.find(self, asynchronous, super()._get_completed_success_callbacks)
            except Exception as error:
                fault(error)
                found: tuple[Any, ...] = super()._get_completed_success_callbacks(asynchronous=asynchronous)
                return found

        def _price(self, *args: Any, **kwargs: Any) -> Any:
            stock = getattr(super(), calculator)
            if self.ends is None or args or kwargs.keys() != {"result"}:
                return stock(*args, **kwargs)
            return self.ends.price(self, kwargs["result"], stock)

        def _build_standard_logging_payload(self, *args: Any, **kwargs: Any) -> Any:
            stock = super()._build_standard_logging_payload
            is_plain = len(args) == 3 and kwargs.items() <= unset.items()
            if not is_plain or not self._is_current():
                return stock(*args, **kwargs)
            payload = self.payloads.build(self, *args, stock)
            return stock(*args) if payload is None else payload

        def _note_success(self, *args: Any, **given: Any) -> Any:
            stock = getattr(super(), noting)
            if self.notes is None or args or logger.isEnabledFor(DEBUG):
                return stock(*args, **given)
            noted, watched = self.notes.begin(self, given, self._build_standard_logging_payload)
            if noted is not None:
                return noted
            returned = stock(**given)
            self.notes.end(watched, self, given, returned)
            return returned

        def _is_current(self) -> bool:
            try:
                return self.ends is None or bool(self.ends.are_current())
            except Exception as error:
                fault(error)
                return False

    if completed is None or not hasattr(logging_class, "_without_replaced_global_callbacks"):
        del Fed._get_completed_success_callbacks
    setattr(Fed, calculator, Fed._price)
    setattr(Fed, noting, Fed._note_success)
    for name in ("__module__", "__name__", "__qualname__"):
        setattr(Fed, name, getattr(logging_class, name))  # it calls itself what stock's does
    for name, member in vars(Fed).items():
        if type(member) is FunctionType:  # LiteLLM's worker says of which it has waited too long
            member.__qualname__ = f"{Fed.__qualname__}.{name}"
    return Fed
