"""Exceptions that calls raise for replies of the provider's that are errors, like 429 and 500.

The provider's SDK makes an exception of such a reply, LiteLLM's handler another of that, and LiteLLM one of its own of
this: which one depends on words of the reply's text. Their own functions are called here, with what they are called
with when stock meets the reply. What LiteLLM does besides is telling callbacks; where somebody is told of failures,
stock meets the reply.

Some replies of a status are handed to stock first, and compared: what LiteLLM raised for them, with all its causes, and
what is made here. From then on replies of this status to such calls become exceptions here.
"""

from __future__ import annotations

import datetime
import importlib
import time
from types import FunctionType
from typing import Any

import httpx

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.argument_writes import same
from litellm_accel.fastpath.plans.error_states import error_state
from litellm_accel.fastpath.plans.recorder import Failure, Reply
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.transport.client_guard import ClientGuard
from litellm_accel.fastpath.transport.outbound import OutboundRequest
from litellm_accel.hot import chat

# What LiteLLM's handlers and the SDK treat like any error; for other statuses they may change the request or answer.
_STATUSES = frozenset((401, 403, 404, 408, 409, 429))
_SERVER = range(500, 600)
# Words for which LiteLLM's handler changes the request and sends another.
_SENT_ANEW = (b"alternat", b"Last message must have role", b"unknown field")
# What LiteLLM sets when the exception is on its way to the caller.
_SET_LATER = ("timeout",)
# What the exception tells of the call it was raised in, besides its arguments.
_OF_ONE_CALL = frozenset(("litellm_call_id", "litellm_logging_obj"))
_PLAIN = (str, int, float, bool, type(None))
_METADATA = "metadata"
_REFUSED = -1
_MAX_KINDS = 1024


class CallErrors:
    """What LiteLLM is told of the calls of one plan when it makes an exception; one ``error`` has shown it.

    ``mapped`` are the arguments of LiteLLM's function that makes it, ``call`` is the one that it was raised in.
    """

    def __init__(self, mapped: dict[str, Any], error: Exception, call: Any) -> None:
        self._model = mapped["model"]
        self._provider = mapped["custom_llm_provider"]
        given = mapped["extra_kwargs"]
        self._given = {name: value for name, value in given.items() if type(value) in _PLAIN}
        for name in _OF_ONE_CALL:
            self._given.pop(name, None)
        metadata = given.get(_METADATA)
        if type(metadata) is dict:
            self._given[_METADATA] = {name: value for name, value in metadata.items() if type(value) in _PLAIN}
        self._later = {name: vars(error)[name] for name in _SET_LATER if name in vars(error)}
        self._own = [
            name for name, value in self._later.items() if value is not None and same(value, call.kwargs.get(name))
        ]

    def arguments(self, call: Any, original: Exception) -> dict[str, Any]:
        """Return what LiteLLM's function is called with, of an exception that is its handler's."""
        passed = {name: value for name, value in call.kwargs.items() if name in self._given or name == _METADATA}
        return {
            "model": self._model,
            "custom_llm_provider": self._provider,
            "original_exception": original,
            "completion_kwargs": {"messages": call.messages},
            "extra_kwargs": {**self._given, **passed},
        }

    def finish(self, error: Exception, call: Any) -> None:
        """Set what LiteLLM sets later on an ``error`` of ``call``."""
        for name, value in self._later.items():
            setattr(error, name, call.kwargs.get(name, value) if name in self._own else value)


class ErrorMaker:
    """Makes exceptions by the functions of LiteLLM and of the SDK.

    ``calls`` is how many replies of a status must have agreed.
    """

    def __init__(self) -> None:
        self._main = importlib.import_module("litellm.main")
        self._mapping = self._main.exception_type
        self._code = self._mapping.__code__  # while calls are watched, it has another
        common = importlib.import_module("litellm.llms.openai.common_utils")
        self._handlers = common.OpenAIError
        self._upstream: Any = getattr(common, "upstream_error_response", None)  # other releases lack it
        # By the templates that plans share: these, which keeps their identity, and how many replies of a status agreed.
        self._kinds: dict[int, tuple[Any, dict[int, int]]] = {}

    def serves(self, plan: chat.Plan, reply: Reply, calls: int) -> bool:
        """Return whether replies like this one to calls of ``plan`` become exceptions here."""
        if plan.errors is None or not _is_understood(reply):
            return False
        agreed = self._agreed(plan).get(reply.status, 0)
        return agreed != _REFUSED and agreed >= max(calls, 1)

    def learn(
        self, plan: chat.Plan, client: ClientGuard, call: Any, post: OutboundRequest, reply: Reply, met: Failure
    ) -> None:
        """Learn from what LiteLLM has raised for a ``reply`` that it has ``met``.

        Raises ``Unrepeatable`` if another exception is made of it here; then it never is for such a reply.
        """
        if not _is_understood(reply) or met.later or met.heard:
            return
        agreed = self._agreed(plan)
        if agreed.get(reply.status) == _REFUSED:
            return
        if met.mapped["extra_kwargs"].get("num_retries") is not None:  # LiteLLM tries again
            return
        errors = plan.errors or CallErrors(met.mapped, met.error, call)
        made = self._made(errors, client, call, post, reply, self._quiet())
        if made is None or error_state(made) != met.state:
            agreed[reply.status] = _REFUSED
            raise Unrepeatable(decline.ERROR_DIFFERS)
        plan.errors = errors
        agreed[reply.status] = agreed.get(reply.status, 0) + 1

    def error(
        self, plan: chat.Plan, client: ClientGuard, call: Any, post: OutboundRequest, reply: Reply
    ) -> Exception | None:
        """Return what ``call``, which has sent ``post``, raises for a ``reply``; None if stock is to meet it."""
        errors: Any = plan.errors
        error = self._made(errors, client, call, post, reply, self._main.exception_type)
        if error is not None:
            errors.finish(error, call)
        return error

    def _agreed(self, plan: chat.Plan) -> dict[int, int]:
        """Return, by status, how many replies have agreed where LiteLLM converts answers as it does for ``plan``."""
        kind = id(plan.templates)
        if kind not in self._kinds:
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            self._kinds[kind] = plan.templates, {}
        return self._kinds[kind][1]

    def _quiet(self) -> Any:
        """Return LiteLLM's function as one that prints nothing: it has been called for this reply already."""
        function = self._mapping
        if self._main.exception_type is not function:
            raise Unrepeatable(decline.ERROR_DIFFERS)
        held = {**function.__globals__, "print": lambda *parts: None}
        return FunctionType(self._code, held, function.__name__, function.__defaults__, function.__closure__)

    def _made(
        self,
        errors: Any,
        client: ClientGuard,
        call: Any,
        post: OutboundRequest,
        reply: Reply,
        mapping: Any,
    ) -> Exception | None:
        sdk = client.sdk
        if not hasattr(sdk, "_make_status_error_from_response"):
            return None
        try:
            self._raise(errors, sdk, call, _response(post, reply), mapping)
        except Exception as error:
            return error.with_traceback(None)
        return None

    def _raise(self, errors: Any, sdk: Any, call: Any, response: httpx.Response, mapping: Any) -> None:
        """Raise what LiteLLM raises for an error ``response``, while its causes are being handled, as LiteLLM does."""
        try:
            try:
                try:
                    response.raise_for_status()
                except httpx.HTTPStatusError as error:
                    raise sdk._make_status_error_from_response(error.response) from None
            except Exception as error:
                about: Any = error
                upstream = {} if self._upstream is None else {"response": self._upstream(about)}
                raise self._handlers(  # noqa: B904  # the cause is told as LiteLLM tells it
                    status_code=about.status_code,
                    message=about.message,
                    **upstream,
                    headers=about.response.headers,
                    body=about.body,
                )
        except Exception as error:
            raise mapping(**errors.arguments(call, error))  # noqa: B904  # as above


def _is_understood(reply: Reply) -> bool:
    status = reply.status
    if reply.error is not None or reply.body_error is not None or reply.live is not None:
        return False
    return (status in _STATUSES or status in _SERVER) and not any(words in reply.body for words in _SENT_ANEW)


def _response(post: OutboundRequest, reply: Reply) -> httpx.Response:
    """Return ``reply`` as the client shows it, with the request that it answers."""
    headers = post.options["headers"].raw(post.body, post.cookie)
    request = httpx.Request("POST", str(post.options["url"]), headers=headers, content=post.body)
    held = reply.headers if type(reply.headers) is list else list(reply.headers.items())
    stream = httpx.ByteStream(reply.body)
    response = httpx.Response(reply.status, headers=held, stream=stream, request=request, extensions=reply.extensions)
    response.read()
    response.elapsed = datetime.timedelta(seconds=time.time() - reply.sent)
    return response
