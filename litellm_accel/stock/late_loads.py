"""Whether a module or a model has only loaded what it had put off until the first need.

No call that was watched earlier can have used what was not there yet, so that what it has shown still holds. Modules
put things off in two ways: their ``__getattr__`` provides a name, or a function without parameters, which cannot be
told what to put there, fills a global that it has found empty. Pydantic builds the validator of a model whose
``defer_build`` is set, and what goes with it, when it makes the first one.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from litellm_accel.stock.guard import is_stock

# What stands in a model's class for what is not built.
_PUT_OFF = "pydantic._internal._mock_val_ser"
_BUILT_OF = ("builtins", "inspect", "pydantic", "pydantic_core")
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def is_late_load(owner: ModuleType | type, name: str, before: Any, missing: Any) -> bool:
    """Return whether ``owner`` has loaded ``name``, which held ``before``; ``missing`` if it was not there."""
    if isinstance(owner, type):
        return _is_built(owner, name, before, missing)
    return _is_imported(owner, name, before, missing)


def _is_built(model: type, name: str, before: Any, missing: Any) -> bool:
    is_of_build = name.startswith("__pydantic_") or name == "__signature__"
    is_empty = before is missing or before is False or _is_empty(before) or type(before).__module__ == _PUT_OFF
    home = type(vars(model).get(name)).__module__.partition(".")[0]
    return is_of_build and is_empty and getattr(model, "__pydantic_complete__", False) is True and home in _BUILT_OF


def _is_imported(module: ModuleType, name: str, before: Any, missing: Any) -> bool:
    held = vars(module).get(name, missing)
    if held is missing or type(held) in _PLAIN or not (is_stock(held) and is_stock(type(held))):
        return False
    if before is not missing:
        return _is_empty(before) and _is_filled(module, name)
    return _is_provided(module, name, held) or _is_filled(module, name)


def _is_empty(value: Any) -> bool:
    return value is None or (type(value) in (dict, list) and not value)


def _is_provided(module: ModuleType, name: str, held: Any) -> bool:
    """Return whether the module's ``__getattr__`` provides ``name``: what its package holds so elsewhere, or names."""
    provide = vars(module).get("__getattr__")
    if not isinstance(provide, FunctionType):
        return False
    is_named = isinstance(held, (type, FunctionType))
    home = str((held if is_named else type(held)).__module__)
    own = name.lstrip("_") if is_named else name
    is_of_package = home.partition(".")[0] == module.__name__.partition(".")[0]
    if is_of_package and getattr(sys.modules.get(home), own, None) is held:
        return True
    if is_named:
        return False
    return name in _texts(provide.__code__.co_consts) or any(name in table for table in _tables(module, provide))


def _tables(module: ModuleType, provide: FunctionType) -> Iterator[Mapping[Any, Any]]:
    """Yield the tables of the modules that ``provide``, a function of ``module``, imports when it is called."""
    for step in dis.get_instructions(provide.__code__):
        if step.opname == "IMPORT_NAME":
            for name in (step.argval, f"{module.__package__}.{step.argval}"):
                held = vars(sys.modules[name]) if name in sys.modules else {}
                yield from (table for table in list(held.values()) if isinstance(table, Mapping))


def _is_filled(module: ModuleType, name: str) -> bool:
    return any(_fills(function, name) for function in _functions(module))


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for held in list(vars(module).values()):
        function = inspect.unwrap(held) if isinstance(held, FunctionType) else held
        if isinstance(function, FunctionType) and function.__globals__ is vars(module):
            yield function


def _fills(function: FunctionType, name: str) -> bool:
    """Return whether a call of ``function``, which takes no parameters, reads a global ``name`` and sets it."""
    code = function.__code__
    takes = code.co_argcount or code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if takes or name not in code.co_names:
        return False
    done = {step.opname for step in dis.get_instructions(code) if step.argval == name}
    return {"LOAD_GLOBAL", "STORE_GLOBAL"} <= done


def _texts(constants: tuple[Any, ...]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from _texts(tuple(constant))
