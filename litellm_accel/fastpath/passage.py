"""Keeps faults of ours from the application: how far a call has got is noted, and stock goes on from there.

Whatever runs stock's function for a call does so through a ``Passage``, which keeps what came of it. An exception that
is not stock's own is a fault of ours, and is counted. What stock has returned or raised by then is the outcome; what
the provider has answered is handed to stock; what was made of the answer is returned; else stock runs now. Nothing is
sent again, and nobody is told twice. Cancellation and other ``BaseException`` pass.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

_NONE: Any = object()
Hook = Callable[..., Any]


_PACKAGE = Path(__file__).parents[1].name


class Progress:
    """How far the sending of a request has got: whether it has ``left``, and the ``reply`` as soon as there is one.

    Each is set by the statement that makes it true. With ``is_next`` the same request was sent and answered before.
    """

    __slots__ = ("is_next", "left", "reply")

    def __init__(self) -> None:
        self.left = self.is_next = False
        self.reply: Any = None

    def again(self) -> None:
        """Note that the request, which was answered, will be sent once more."""
        self.is_next, self.left, self.reply = True, False, None


_progress: ContextVar[Progress | None] = ContextVar("litellm_accel_progress", default=None)


def sending() -> Progress:
    """Return how far the request has got that is being sent here."""
    return _progress.get() or Progress()


def is_ours(error: BaseException) -> bool:
    """Return whether ``error`` was raised in this package, and not in what it called."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and f"{_PACKAGE}/" in trace.tb_frame.f_code.co_filename.replace("\\", "/")


class Passage:
    """One call of ``stock``, a function of LiteLLM's; ``fault`` counts what goes wrong in our part of it."""

    __slots__ = ("_again", "_error", "_fault", "_made", "_progress", "_result", "_stock", "_tell", "_told", "_undo")

    def __init__(self, stock: Callable[..., Any], fault: Callable[[BaseException], None]) -> None:
        self._stock = stock
        self._fault = fault
        self._result = self._made = _NONE
        self._error: BaseException | None = None
        self._again: Callable[[Any], tuple[Any, Any, Any]] | None = None
        self._progress = Progress()
        self._tell: Callable[[], None] | None = None
        self._told: Any = None
        self._undo: Callable[[], None] | None = None

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

    def begins(self, undo: Callable[[], None]) -> None:
        """Note that ``undo()`` takes back what was done for the call, should stock run it from its beginning."""
        self._undo = undo

    def sends(self, again: Callable[[Any], tuple[Any, Any, Any]]) -> None:
        """Note that a request will be sent now.

        ``again``, given the reply or None if that is lost, returns stock's arguments, by place and by name, and a
        context manager in which stock meets the reply.
        """
        self._again = again
        _progress.set(self._progress)

    def made(self, result: Any, told: Any, tell: Callable[[], None] | None = None) -> None:
        """Note that ``result`` is what the call returns; ``tell()`` tells callbacks, unless ``told.is_told``."""
        self._told = told
        self._tell = tell
        self._made = result

    def raises(self, error: Exception) -> None:
        """Note that the call ends with ``error``, as it would in stock."""
        self._error = error

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
        if self._again is None or not (self._progress.left or self._progress.is_next):
            self._begin_anew()
            return self._stock(*args, **kwargs)
        args, kwargs, meeting = self._again(self._progress.reply)
        with meeting:
            return self._stock(*args, **kwargs)

    async def aresume(self, /, *args: Any, **kwargs: Any) -> Any:
        """As ``resume``, for a coroutine function."""
        if self._is_over():
            return self._outcome()
        if self._again is None or not (self._progress.left or self._progress.is_next):
            self._begin_anew()
            return await self._stock(*args, **kwargs)
        args, kwargs, meeting = self._again(self._progress.reply)
        with meeting:
            return await self._stock(*args, **kwargs)

    def _begin_anew(self) -> None:
        if self._undo is not None:
            self._undo()

    def _is_over(self) -> bool:
        return self._made is not _NONE or self._result is not _NONE or self._error is not None

    def _outcome(self) -> Any:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._made is _NONE:
            return self._result
        if self._tell is not None and not self._told.is_told:
            try:
                self._tell()
            except Exception as error:  # nobody is told, since somebody might be told twice
                self._fault(error)
        return self._made


def around(
    stock: Callable[..., Any], before: Hook | None = None, after: Hook | None = None, failed: Hook | None = None
) -> Callable[..., Any]:
    """Return a function that runs ``stock`` and lets us look on.

    ``before``, given its arguments, returns None, or a value and an exception, one of which is the outcome in stock's
    place. ``after``, given its result and its arguments, returns what the result becomes. ``failed`` is told of an
    exception that stock raises, and of its arguments. A fault in any of them changes nothing.
    """

    def looked_on(*args: Any, **kwargs: Any) -> Any:
        instead = _quietly(before, args, kwargs, None)
        if instead is not None:
            return _outcome(instead)
        try:
            result = stock(*args, **kwargs)
        except Exception as error:
            _quietly(failed, (error, *args), kwargs, None)
            raise
        return _quietly(after, (result, *args), kwargs, result)

    return looked_on


def aaround(
    stock: Callable[..., Any], before: Hook | None = None, after: Hook | None = None, failed: Hook | None = None
) -> Callable[..., Any]:
    """As ``around``, for a coroutine function. ``failed`` is told of an exception that stock raises."""

    async def looked_on(*args: Any, **kwargs: Any) -> Any:
        instead = _quietly(before, args, kwargs, None)
        if instead is not None:
            return _outcome(instead)
        try:
            result = await stock(*args, **kwargs)
        except Exception as error:
            _quietly(failed, (error,), {}, None)
            raise
        return _quietly(after, (result, *args), kwargs, result)

    return looked_on


class Overheard:
    """The body of a response, read by stock from ``source``; ``note`` is told what comes, ``failed`` how it breaks."""

    def __init__(self, source: Any, note: Hook, failed: Hook) -> None:
        self._source = source
        self._note = note
        self._failed = failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """As aiohttp's own."""
        try:
            async for chunk in self._source.iter_chunked(size):
                _quietly(self._note, (chunk,), {}, None)
                yield chunk
        except Exception as error:
            _quietly(self._failed, (error,), {}, None)
            raise


class OverheardStream(Overheard, httpx.SyncByteStream):
    """As ``Overheard``, for httpx."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._source:
                _quietly(self._note, (chunk,), {}, None)
                yield chunk
        except Exception as error:
            _quietly(self._failed, (error,), {}, None)
            raise

    def close(self) -> None:
        """As the source's own."""
        self._source.close()


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
