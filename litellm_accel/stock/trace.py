"""Which functions of the packages relied on run in a watched call: whose they are, and who stands among them.

Python itself tells which functions begin: to a monitoring tool where there is such a thing (3.12), else to a profile
function, which is there only while the call has its thread. Where others have taken these places, nothing is traced.
What runs in tasks and threads of their own is not the call's, but for the thread in which LiteLLM runs the first part
of an asynchronous call: that runs by ``follow``.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from types import CodeType, FrameType, ModuleType
from typing import Any, Generic, TypeVar

from litellm_accel.stock.guard import PACKAGES, Origin, origin

Result = TypeVar("Result")
_trace: ContextVar[Trace | None] = ContextVar("litellm_accel_trace", default=None)
_IMPORTING = ("importlib._bootstrap", "_find_and_load")
# Modules whose functions are put around others to make something else of them.
_DECORATING = frozenset(("contextlib", "functools"))
_SELVES = ("self", "cls")  # what methods call their first argument; to look at others costs more than all else here
_IS_FUNCTION = 0x2  # of a code's flags; modules and bodies of classes lack it


class Trace:
    """The functions that begin in ``run`` and ``arun``.

    ``stranger`` is a function of somebody else's that stock called, or that called stock: what it does is not stock's
    to do. Python calls special methods of any object; these stand in nobody's way unless they call stock. ``fault`` is
    what went wrong here.
    """

    def __init__(self) -> None:
        self.stranger: str | None = None
        self.fault: Exception | None = None
        self._seen: dict[int, CodeType] = {}  # kept, so that no other gets the address of one that is gone
        self._met: list[tuple[CodeType, str, Any]] = []
        self._looks_below = False  # since there may be others than stock
        self._is_over = False

    def run(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Return what ``function`` returns, which runs here."""
        token = _trace.set(self)
        is_ready = _hook.open()
        try:
            return self._follow(function, args, kwargs)
        finally:
            if is_ready:
                _hook.close()
            _trace.reset(token)

    async def arun(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Return what ``coroutine`` returns, which runs here."""
        token = _trace.set(self)
        is_ready = _hook.open()
        try:
            return await _Steps(self, coroutine)
        finally:
            if is_ready:
                _hook.close()
            _trace.reset(token)

    def end(self) -> None:
        """Let go of all that was seen: tasks that were begun meanwhile may hold this trace for long."""
        self._is_over = True
        self._seen.clear()
        self._met.clear()

    def owners(self) -> set[str]:
        """Return whose functions have run: modules ``"module"``, classes and objects ``"module:name"``."""
        found: set[str] = set()
        kinds: set[type] = set()
        selves = set()
        for code, name, first in self._met:
            found.add(name)
            kinds.update(_classes(code, sys.modules.get(name, _NOTHING)))
            kinds.update((first if isinstance(first, type) else type(first)).__mro__)
            selves.add(id(first))
        for module in [sys.modules.get(name, _NOTHING) for name in found]:
            for name, held in list(vars(module).items()):
                if id(held) in selves and not isinstance(held, type | ModuleType) and hasattr(held, "__dict__"):
                    found.add(f"{module.__name__}:{name}")
        for kind in kinds:
            home = str(kind.__module__)
            if home.partition(".")[0] in PACKAGES and _at(sys.modules.get(home, _NOTHING), kind.__qualname__) is kind:
                found.add(f"{home}:{kind.__qualname__}")
        return found

    def began(self, frame: FrameType, event: str = "call", argument: Any = None) -> None:
        """Note the function that begins in ``frame``; other events are none of ours."""
        if event != "call":
            return
        code = frame.f_code
        if id(code) not in self._seen:
            self._seen[id(code)] = code
            try:
                self._look(frame, code)
            except Exception as error:
                self.fault = error

    def _follow(self, function: Callable[..., Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result:
        is_on = not self._is_over and _hook.on(self)
        try:
            return function(*args, **kwargs)
        finally:
            if is_on:
                _hook.off(self)

    def _look(self, frame: FrameType, code: CodeType) -> None:
        module = frame.f_globals.get("__name__")
        whose = origin(code.co_filename, module)
        if whose is Origin.STOCK:
            if code.co_flags & _IS_FUNCTION and (not self._looks_below or self._is_called_by_call(frame)):
                name = code.co_varnames[0] if code.co_argcount else None
                first = frame.f_locals.get(name) if name in _SELVES else None
                self._met.append((code, str(module), first))
        elif whose is Origin.STRANGER:
            self._looks_below = True
            is_special = code.co_name[:2] == code.co_name[-2:] == "__" and code.co_name != "__call__"
            if not is_special and code.co_flags & _IS_FUNCTION and _is_called_by_stock(frame):
                self._meet(frame)
        elif (module, code.co_name) == _IMPORTING:
            self._looks_below = True

    def _is_called_by_call(self, frame: FrameType) -> bool:
        """Return whether the call itself has led to ``frame``, not an import; note a stranger on the way."""
        below = frame.f_back
        while below is not None and below.f_code not in _ENDS:
            name = below.f_globals.get("__name__")
            if (name, below.f_code.co_name) == _IMPORTING:
                return False
            if origin(below.f_code.co_filename, name) is Origin.STRANGER:
                self._meet(below)
                return True
            below = below.f_back
        return True

    def _meet(self, frame: FrameType) -> None:
        if self.stranger is None:
            self.stranger = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"


class _Steps(Generic[Result]):
    """Awaits a coroutine, each step of which is traced."""

    __slots__ = ("_coroutine", "_trace")

    def __init__(self, trace: Trace, coroutine: Coroutine[Any, Any, Result]) -> None:
        self._trace = trace
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Result]:
        trace, coroutine = self._trace, self._coroutine
        step: Any = coroutine.send
        value: Any = None
        while True:
            is_on = not trace._is_over and _hook.on(trace)
            try:
                awaited = step(value)
            except StopIteration as ended:
                result: Result = ended.value
                return result
            finally:
                step = value = None  # an error's traceback leads back to here
                if is_on:
                    _hook.off(trace)
            try:
                value = yield awaited
                step = coroutine.send
            except BaseException as error:
                value, step = error, coroutine.throw


def follow(function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    """Return what ``function`` returns; in whatever thread, it belongs to the traced call in whose context it runs."""
    trace = _trace.get()
    return function(*args, **kwargs) if trace is None else trace._follow(function, args, kwargs)


def _is_called_by_stock(frame: FrameType) -> bool:
    """Return whether stock has called the function that begins in ``frame``, or something around it has for stock."""
    below = frame.f_back
    while below is not None and below.f_code not in _ENDS:
        name = below.f_globals.get("__name__")
        whose = origin(below.f_code.co_filename, name)
        if whose is not Origin.OURS and name not in _DECORATING:
            return whose is Origin.STOCK
        below = below.f_back
    return False


def _classes(code: CodeType, module: ModuleType) -> list[type]:
    """Return the classes of ``module`` in which a function may have been found whose first argument does not tell."""
    if sys.version_info >= (3, 11):
        return [_at(module, code.co_qualname.rpartition(".")[0])]
    return [held for held in list(vars(module).values()) if isinstance(held, type) and code.co_name in vars(held)]


def _at(owner: Any, path: str) -> Any:
    """Return the class that is at ``path`` in ``owner``, ``object`` if there is none."""
    for name in path.split("."):
        owner = vars(owner).get(name)
        if not isinstance(owner, type):
            return object
    return owner


_ENDS = frozenset((Trace._follow.__code__, _Steps.__await__.__code__))
_NOTHING = ModuleType("nothing")


class _ByProfile:
    """A profile function, in the thread that runs the call, while it does."""

    def open(self) -> bool:
        """Get ready; return whether there is something to ``close``."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def on(self, trace: Trace) -> bool:
        """Tell ``trace`` of what begins in this thread from now on; return whether that is so."""
        if sys.getprofile() is not None:
            return False
        sys.setprofile(trace.began)
        return True

    def off(self, trace: Trace) -> None:
        """Stop that."""
        if sys.getprofile() == trace.began:
            sys.setprofile(None)


if sys.version_info >= (3, 12):

    class _ByMonitoring:
        """A monitoring tool, which hears of functions in all threads, while there are calls that are traced."""

        def __init__(self) -> None:
            self._here = threading.local()
            self._lock = threading.Lock()
            self._open = 0
            self._tool = 0
            os.register_at_fork(after_in_child=self._forked)

        def open(self) -> bool:
            """Get ready; return whether there is something to ``close``."""
            monitoring = sys.monitoring
            with self._lock:
                if not self._open:
                    free = [tool for tool in _TOOLS if monitoring.get_tool(tool) is None]
                    if not free:
                        return False
                    self._tool = free[0]
                    monitoring.use_tool_id(self._tool, "litellm-accel")
                    monitoring.register_callback(self._tool, monitoring.events.PY_START, self._begun)
                    monitoring.set_events(self._tool, monitoring.events.PY_START)
                self._open += 1
            return True

        def close(self) -> None:
            """Stop listening when nobody else wants it."""
            with self._lock:
                if self._open == 1:
                    self._stop()
                self._open = max(0, self._open - 1)

        def on(self, trace: Trace) -> bool:
            """Tell ``trace`` of what begins in this thread from now on; return whether that is so."""
            if not self._open or getattr(self._here, "trace", None) is not None:
                return False
            self._here.trace = trace
            return True

        def off(self, trace: Trace) -> None:
            """Stop that."""
            self._here.trace = None

        def _begun(self, code: CodeType, offset: int) -> Any:
            trace = getattr(self._here, "trace", None)
            if trace is not None:
                trace.began(sys._getframe(1))

        def _stop(self) -> None:
            sys.monitoring.set_events(self._tool, 0)
            sys.monitoring.register_callback(self._tool, sys.monitoring.events.PY_START, None)
            sys.monitoring.free_tool_id(self._tool)

        def _forked(self) -> None:
            """Another thread may have held the lock, or been traced."""
            self._lock = threading.Lock()
            if self._open:
                self._open = 0
                self._stop()

    _TOOLS = (4, 3)  # that belong to no kind of tools
    _hook: _ByProfile | _ByMonitoring = _ByMonitoring()
else:
    _hook = _ByProfile()
