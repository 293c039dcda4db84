"""Which functions of the packages relied on run in a watched call: whose they are, and who stands among them.

Python itself tells which functions begin: to a monitoring tool where there is such a thing (3.12), else to a profile
function, which is there only while the call has its thread. Where others have taken these places, nothing is traced.
What runs in tasks and threads of their own is not the call's, but for the thread in which LiteLLM runs the first part
of an asynchronous call: that runs by ``follow``.
"""

from __future__ import annotations

import dis
import gc
import importlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from types import CodeType, FrameType, ModuleType
from typing import Any, Generic, TypeVar

from litellm_accel.hot import calls
from litellm_accel.stock.empty_hooks import is_empty_hook
from litellm_accel.stock.guard import PACKAGES, Origin, origin

Result = TypeVar("Result")
_trace: ContextVar[Trace | None] = ContextVar("litellm_accel_trace", default=None)
# What runs below these is not the call's way: modules that are imported now, and whoever writes log records.
_ASIDE = frozenset((("importlib._bootstrap", "_find_and_load"), ("logging", "callHandlers")))
_IMPORTING: CodeType = importlib._bootstrap._find_and_load.__code__  # type: ignore[attr-defined]
# Modules whose functions are put around others to make something else of them.
_DECORATING = frozenset(("contextlib", "functools"))
_IS_FUNCTION = 0x2  # of a code's flags; modules and bodies of classes lack it


class Function:
    """A function that has begun in some traced call: its ``code``, and its ``module`` if that is relied on.

    ``first`` is by which name a method has itself. Each is only equal to itself: codes are compared by all they hold.
    """

    __slots__ = ("code", "first", "module")

    def __init__(self, code: CodeType, module: str | None, first: str | None = None) -> None:
        self.code = code
        self.module = module
        self.first = first


_known: dict[int, Function] = {}  # by the code's address, which no other can have while it is here
_MAX_KNOWN = 16384


class Trace:
    """The functions that begin in ``run`` and ``arun``.

    ``stranger`` is a function of somebody else's that stock called, or that called stock: what it does is not stock's
    to do. Python calls special methods of any object; these stand in nobody's way unless they call stock. ``fault`` is
    what went wrong here.
    """

    def __init__(self) -> None:
        self.stranger: str | None = None
        self.fault: Exception | None = None
        self.calls = calls.Calls(_known, self.began, _IMPORTING)  # which looks below since a stranger has run
        self._is_over = False

    def run(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Return what ``function`` returns, which runs here."""
        token = _trace.set(self)
        is_open = self._quietly(_hook.open)
        try:
            return self._follow(function, args, kwargs)
        finally:
            if is_open:
                self._quietly(_hook.close)
            _trace.reset(token)

    async def arun(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Return what ``coroutine`` returns, which runs here."""
        token = _trace.set(self)
        is_open = self._quietly(_hook.open)
        try:
            result: Result = await _Steps(self, coroutine)
            return result
        finally:
            if is_open:
                self._quietly(_hook.close)
            _trace.reset(token)

    def on(self) -> bool:
        """Hear of functions in this thread from now on; return whether that has to be switched ``off``."""
        return self._quietly(self._on)

    def off(self) -> None:
        """Hear of none in this thread."""
        self._quietly(_hook.off, self)

    def _on(self) -> bool:
        return not self._is_over and _hook.on(self)

    def _quietly(self, hook: Callable[..., bool | None], *args: Any) -> bool:
        """Return what ``hook`` does, or that it does not, for the call must not fail in the middle."""
        try:
            return bool(hook(*args))
        except Exception as error:
            self.fault = error
            return False

    def end(self) -> None:
        """Let go of all that was seen: tasks that were begun meanwhile may hold this trace for long."""
        self._is_over = True
        self.calls.clear()

    def functions(self) -> list[Function]:
        """Return the functions that have run."""
        return [function for function, _ in self.calls.met]

    def owners(self, known: set[tuple[Function, str]]) -> set[str]:
        """Return whose functions have run: modules ``"module"``, classes and objects ``"module:name"``.

        Functions that have run for the same class before are ``known``; the others are added there.
        """
        found: set[str] = set()
        kinds: set[type] = set()
        selves = set()
        for function, first in self.calls.met:
            kind = first if isinstance(first, type) else type(first)
            run = function, kind.__qualname__
            if run in known:
                continue
            known.add(run)
            name = str(function.module)
            found.add(name)
            kinds.update(kind.__mro__, _classes(function.code, sys.modules.get(name, _NOTHING)))
            selves.add(id(first))
        for module in [sys.modules.get(name, _NOTHING) for name in found]:
            for name, held in vars(module).copy().items():
                if id(held) in selves and not isinstance(held, type | ModuleType) and hasattr(held, "__dict__"):
                    found.add(f"{module.__name__}:{name}")
        for kind in kinds:
            home = str(kind.__module__)
            if home.partition(".")[0] in PACKAGES and _at(sys.modules.get(home, _NOTHING), kind.__qualname__) is kind:
                found.add(f"{home}:{kind.__qualname__}")
        return found

    def began(self, code: CodeType, names: dict[str, Any], below: FrameType | None, first: Any) -> None:
        """Note a function that begins for the first time, a method of ``first``, called from ``below``."""
        try:
            function = _known.get(id(code)) or self._meet(code, names, below)
            if function.module is not None and (not self.calls.looks_below or self._is_called_by_call(below)):
                self.calls.met.append((function, first))
        except Exception as error:
            self.fault = error

    def _follow(self, function: Callable[..., Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result:
        is_on = self.on()
        try:
            return function(*args, **kwargs)
        finally:
            if is_on:
                self.off()

    def _meet(self, code: CodeType, names: dict[str, Any], below: FrameType | None) -> Function:
        """Return what is to be known of a function, which is met for the first time; look at who calls a stranger."""
        module, name = names.get("__name__"), code.co_name
        whose, is_function = origin(code.co_filename, module), code.co_flags & _IS_FUNCTION
        if whose is Origin.STRANGER or (module, name) in _ASIDE:
            self.calls.looks_below = True
            is_special = (name[:2] == name[-2:] == "__" and name != "__call__") or _is_subscribed(below)
            is_called = is_function and not is_special and not _is_collectors(code) and not is_empty_hook(code)
            if whose is Origin.STRANGER and is_called and _is_called_by_stock(below):
                self._note_stranger(module, name)
            return Function(code, None)
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        is_stock = whose is Origin.STOCK and is_function
        known = Function(code, str(module) if is_stock else None, calls.self_name(code))
        return _known.setdefault(id(code), known)

    def _is_called_by_call(self, below: FrameType | None) -> bool:
        """Return whether the way of the call has led through ``below``; note a stranger on it."""
        stranger = None
        while below is not None and below.f_code not in _ENDS:
            name = below.f_globals.get("__name__")
            if (name, below.f_code.co_name) in _ASIDE:
                return False
            if stranger is None and origin(below.f_code.co_filename, name) is Origin.STRANGER:
                stranger = below
            below = below.f_back
        if stranger is not None:
            self._note_stranger(stranger.f_globals.get("__name__"), stranger.f_code.co_name)
        return True

    def _note_stranger(self, module: Any, name: str) -> None:
        if self.stranger is None:
            self.stranger = f"{module}.{name}"


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
            is_on = trace.on()
            try:
                awaited = step(value)
            except StopIteration as ended:
                result: Result = ended.value
                return result
            finally:
                step = value = None  # an error's traceback leads back to here
                if is_on:
                    trace.off()
            try:
                value = yield awaited
                step = coroutine.send
            except BaseException as error:
                value, step = error, coroutine.throw


def follow(function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    """Return what ``function`` returns; in whatever thread, it belongs to the traced call in whose context it runs."""
    trace = _trace.get()
    return function(*args, **kwargs) if trace is None else trace._follow(function, args, kwargs)


def _is_called_by_stock(below: FrameType | None) -> bool:
    """Return whether stock has called the function that begins above ``below``, or something around it for stock."""
    while below is not None and below.f_code not in _ENDS:
        name = below.f_globals.get("__name__")
        whose = origin(below.f_code.co_filename, name)
        if whose is not Origin.OURS and name not in _DECORATING:
            return whose is Origin.STOCK
        below = below.f_back
    return False


def _is_subscribed(below: FrameType | None) -> bool:
    """Return whether a subscription in ``below`` runs what begins above: a special method, whatever its name."""
    return below is not None and below.f_code.co_code[below.f_lasti] == _SUBSCRIPTION


def _is_collectors(code: CodeType) -> bool:
    """Return whether Python's garbage collector calls this function, in the middle of whatever runs."""
    return any(getattr(getattr(one, "__func__", one), "__code__", None) is code for one in gc.callbacks)


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


_SUBSCRIPTION = dis.opmap.get("BINARY_SUBSCR")
_ENDS = frozenset((Trace._follow.__code__, _Steps.__await__.__code__))
_NOTHING = ModuleType("nothing")


class _ByProfile:
    """A profile function, in the thread that runs the call, while it does.

    A process's first call imports hundreds of modules: what they run is passed over, or it would cost as much again.
    """

    def open(self) -> bool:
        """Get ready; return whether there is something to ``close``."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def on(self, trace: Trace) -> bool:
        """Tell ``trace`` of what begins in this thread from now on; return whether that is so."""
        is_on: bool = trace.calls.on()
        return is_on

    def off(self, trace: Trace) -> None:
        """Stop that."""
        trace.calls.off()


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
            if trace is not None and id(code) not in trace.calls.seen:
                trace.calls.begun(sys._getframe(1))

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
