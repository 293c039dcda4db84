"""Keeps faults of ours from the application: how far a call has got is noted, and stock goes on from there.

Whatever runs stock's function for a call does so through a ``Passage``, which keeps what came of it. An exception that
is not stock's own is a fault of ours, and is counted. What stock has returned or raised by then is the outcome; what
the provider has answered is handed to stock; what was made of the answer is returned; else stock runs now. Nothing is
sent again, and nobody is told twice. Cancellation and other ``BaseException`` pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_NONE: Any = object()
Hook = Callable[..., Any]


class Passage:
    """One call of ``stock``, a function of LiteLLM's; ``fault`` counts what goes wrong in our part of it."""

    __slots__ = ("_again", "_error", "_fault", "_made", "_result", "_stock", "_tell")

    def __init__(self, stock: Callable[..., Any], fault: Callable[[BaseException], None]) -> None:
        self._stock = stock
        self._fault = fault
        self._result = self._made = _NONE
        self._error: BaseException | None = None
        self._again: Callable[[], tuple[Any, Any, Any]] | None = None
        self._tell: Callable[[], None] | None = None

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run stock and keep what comes of it."""
        try:
            result = self._result = self._stock(*args, **kwargs)
        except BaseException as error:
            self._error = error
            raise
        return result

    async def arun(self, /, *args: Any, **kwargs: Any) -> Any:
        """As ``run``, for a coroutine function."""
        try:
            result = self._result = await self._stock(*args, **kwargs)
        except BaseException as error:
            self._error = error
            raise
        return result

    def answered(self, again: Callable[[], tuple[Any, Any, Any]]) -> None:
        """Note that the provider has answered: ``again()`` gives stock's arguments, by place and by name, and how.

        How is a context manager in which stock meets the answer.
        """
        self._again = again

    def made(self, result: Any, tell: Callable[[], None] | None) -> None:
        """Note that ``result`` is what the call returns; ``tell()`` tells callbacks, unless they have been told."""
        self._made = result
        self._tell = tell

    def passes(self, error: BaseException) -> bool:
        """Return whether the caller is to meet ``error``; if not, it is a fault, which is counted here."""
        if error is self._error or not isinstance(error, Exception):
            self._error = None  # whose traceback leads back to here
            return True
        self._fault(error)
        return False

    def resume(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return what the call comes to after a fault; with these arguments if stock has not run for it."""
        if self._is_over():
            return self._outcome()
        if self._again is None:
            return self._stock(*args, **kwargs)
        args, kwargs, meeting = self._again()
        with meeting:
            return self._stock(*args, **kwargs)

    async def aresume(self, /, *args: Any, **kwargs: Any) -> Any:
        """As ``resume``, for a coroutine function."""
        if self._is_over():
            return self._outcome()
        if self._again is None:
            return await self._stock(*args, **kwargs)
        args, kwargs, meeting = self._again()
        with meeting:
            return await self._stock(*args, **kwargs)

    def _is_over(self) -> bool:
        return self._made is not _NONE or self._result is not _NONE or self._error is not None

    def _outcome(self) -> Any:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._made is _NONE:
            return self._result
        if self._tell is not None:
            try:
                self._tell()
            except Exception as error:  # nobody is told, since somebody might be told twice
                self._fault(error)
        return self._made


def around(stock: Callable[..., Any], before: Hook | None = None, after: Hook | None = None) -> Callable[..., Any]:
    """Return a function that runs ``stock`` and lets us look on.

    ``before``, given its arguments, returns None, or a value and an exception, one of which is the outcome in stock's
    place. ``after``, given its result and its arguments, returns what the result becomes. A fault in either changes
    nothing.
    """

    def looked_on(*args: Any, **kwargs: Any) -> Any:
        instead = _quietly(before, args, kwargs, None)
        if instead is not None:
            return _outcome(instead)
        result = stock(*args, **kwargs)
        return _quietly(after, (result, *args), kwargs, result)

    return looked_on


def aaround(stock: Callable[..., Any], before: Hook | None = None, after: Hook | None = None) -> Callable[..., Any]:
    """As ``around``, for a coroutine function."""

    async def looked_on(*args: Any, **kwargs: Any) -> Any:
        instead = _quietly(before, args, kwargs, None)
        if instead is not None:
            return _outcome(instead)
        result = await stock(*args, **kwargs)
        return _quietly(after, (result, *args), kwargs, result)

    return looked_on


def _quietly(hook: Hook | None, args: tuple[Any, ...], kwargs: dict[str, Any], otherwise: Any) -> Any:
    if hook is None:
        return otherwise
    try:
        return hook(*args, **kwargs)
    except Exception:
        return otherwise


def _outcome(instead: tuple[Any, BaseException | None]) -> Any:
    value, error = instead
    if error is not None:
        raise error
    return value
