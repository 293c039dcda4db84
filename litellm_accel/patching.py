"""The only module that changes another package: it swaps a Python function's code for a trampoline.

A swap of ``__code__`` reaches every reference at once: the defining module, modules that imported the function by name,
lazy package attributes, and names an application imported long before. The function object itself stays, and with it
name, docstring, defaults, annotations, pickling, weak references and identity; the trampoline is compiled with the
function's own parameters, so signature and ``inspect.iscoroutinefunction`` stay too. Undoing it puts the very same
code object back.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any

from litellm_accel.stock.guard import is_defined_at

_IMPLEMENTATION = "__litellm_accel__"
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it when the process forked


class PatchError(Exception):
    """A target is missing, is not a plain Python function, or has been changed by somebody else."""


def resolve(target: str) -> FunctionType:
    """Return the function at ``"module:qualified.name"``.

    Raises ``PatchError`` if it is missing or somebody has put something else in its place.
    """
    module_name, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for attribute in path.split("."):
            found = inspect.getattr_static(found, attribute)
        if type(found) is staticmethod:
            found = found.__func__
    except (ImportError, AttributeError):
        raise PatchError(f"{target} does not exist in the installed LiteLLM") from None
    if type(found) is not FunctionType:
        raise PatchError(f"{target} is a {type(found).__name__}, not a plain function")
    if not is_defined_at(found, module_name, path):
        raise PatchError(f"{target} has been replaced by code in {found.__code__.co_filename}")
    return found


def stock_copy(function: FunctionType) -> FunctionType:
    """Return a function that runs ``function``'s present code, whatever happens to ``function`` later."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__doc__ = function.__doc__
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    copy.__dict__.update(function.__dict__)
    return copy


def trampoline(code: CodeType, implementation: Callable[..., Any]) -> CodeType:
    """Return code with the parameters of ``code`` that passes every call to ``implementation``.

    Positional parameters are passed by position, keyword-only ones by keyword. Raises ``PatchError`` for generators.
    """
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        raise PatchError(f"{code.co_name} is a generator")
    is_coroutine = code.co_flags & inspect.CO_COROUTINE
    parameters, arguments = _parameters(code)
    body = f"{_IMPLEMENTATION} = {_IMPLEMENTATION!r}; "
    # Naming the free variables, even where nothing runs, gives the new code the closure the function object has.
    body += "".join(f"None and {name}; " for name in code.co_freevars)
    body += f"return {'await ' if is_coroutine else ''}{_IMPLEMENTATION}({arguments})"
    source = f"{'async ' if is_coroutine else ''}def trampoline({parameters}): {body}"
    if code.co_freevars:
        source = f"def scope({', '.join(code.co_freevars)}):\n {source}"
    compiled = compile(source, code.co_filename, "exec", dont_inherit=True, optimize=0)
    for _ in range(2 if code.co_freevars else 1):
        compiled = next(constant for constant in compiled.co_consts if isinstance(constant, CodeType))
    constants = tuple(implementation if constant == _IMPLEMENTATION else constant for constant in compiled.co_consts)
    # The original's place keeps inspect.getsource() and tracebacks pointing at LiteLLM's own definition.
    made = compiled.replace(co_consts=constants, co_name=code.co_name, co_firstlineno=code.co_firstlineno)
    if sys.version_info >= (3, 11):
        made = made.replace(co_qualname=code.co_qualname)
    return made


def _parameters(code: CodeType) -> tuple[str, str]:
    names = iter(code.co_varnames)
    positional = [next(names) for _ in range(code.co_argcount)]
    keyword_only = [next(names) for _ in range(code.co_kwonlyargcount)]
    parameters = positional.copy()
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    arguments = positional.copy()
    if code.co_flags & inspect.CO_VARARGS:
        parameters.append(f"*{(rest := next(names))}")
        arguments.append(f"*{rest}")
    elif keyword_only:
        parameters.append("*")
    parameters += keyword_only
    arguments += [f"{name}={name}" for name in keyword_only]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        parameters.append(f"**{(rest := next(names))}")
        arguments.append(f"**{rest}")
    return ", ".join(parameters), ", ".join(arguments)


class Patch:
    """One function whose calls go to ``implementation`` while the patch is applied."""

    def __init__(self, function: FunctionType, implementation: Callable[..., Any]) -> None:
        self.function = function
        self.original = function.__code__
        self.replacement = trampoline(function.__code__, implementation)

    def apply(self) -> None:
        """Send the function's calls to the implementation. Raises ``PatchError`` if its code has changed since."""
        if self.function.__code__ is not self.original:
            raise PatchError(f"{self.function.__qualname__} was changed by somebody else meanwhile")
        self.function.__code__ = self.replacement

    def undo(self) -> bool:
        """Give the function its original code back; false if somebody has put other code over ours, which stays."""
        if self.function.__code__ is self.replacement:
            self.function.__code__ = self.original
        return self.function.__code__ is self.original


class Shared:
    """A context manager around a function that is patched while anybody is inside, from any number of threads.

    ``build(stock)`` returns what takes its calls. What somebody else has put into the function meanwhile is its stock.
    """

    def __init__(self, function: FunctionType, build: Callable[[FunctionType], Callable[..., Any]]) -> None:
        self._function = function
        self._build = build
        self._patch: Patch | None = None
        self._holders = 0

    def __enter__(self) -> None:
        with _lock:
            if not self._holders:
                if self._patch is None or self._patch.original is not self._function.__code__:
                    self._patch = Patch(self._function, self._build(stock_copy(self._function)))
                self._patch.apply()
            self._holders += 1

    def __exit__(self, *error: object) -> None:
        with _lock:
            self._holders -= 1
            if not self._holders and self._patch is not None:
                self._patch.undo()


_shared: dict[FunctionType, Shared] = {}


def shared(function: FunctionType, build: Callable[[FunctionType], Callable[..., Any]]) -> Shared:
    """Return the one ``Shared`` of ``function``, whoever asks first: two of them would undo each other's patch."""
    return _shared.setdefault(function, Shared(function, build))


def install(patches: Sequence[Patch]) -> None:
    """Apply all ``patches`` or none. Raises ``PatchError``."""
    with _lock:
        applied: list[Patch] = []
        try:
            for patch in patches:
                patch.apply()
                applied.append(patch)
        except BaseException:
            uninstall(applied)
            raise


def uninstall(patches: Sequence[Patch]) -> list[str]:
    """Undo ``patches``, last first; return the names of functions that hold somebody else's code and keep it."""
    with _lock:
        return [patch.function.__qualname__ for patch in reversed(patches) if not patch.undo()]
