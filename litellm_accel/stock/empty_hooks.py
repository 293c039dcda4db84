"""Hooks that do nothing: programs often write down all methods of a logger and leave empty what they have no use for.

LiteLLM calls an empty method of its own where a logger has none, so one of the same parameters changes nothing.
"""

from __future__ import annotations

import dis
from types import CodeType, FunctionType
from typing import Any

#: Hooks of which LiteLLM wants nothing but that they are called, and a result if they have one.
CALLED_ALONE = frozenset(
    [
        "async_post_call_success_deployment_hook",
        "async_pre_call_deployment_hook",
        "log_post_api_call",
        "log_pre_api_call",
    ]
)
_KIND = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # of functions with *args or **kwargs, and that yield or are awaited


def _plain() -> None: ...


async def _coroutine() -> None: ...


def empty_code(name: str, member: FunctionType, own: Any) -> CodeType | None:
    """Return the code of ``member``, a logger's hook of this ``name``, if it does nothing; ``own`` is LiteLLM's."""
    code = member.__code__
    if name not in CALLED_ALONE or type(own) is not FunctionType or _parameters(code) != _parameters(own.__code__):
        return None
    return code if _is_empty(code) and _is_empty(own.__code__) else None


def is_empty_hook(code: CodeType) -> bool:
    """Return whether ``code`` is that of a hook that does nothing."""
    return code.co_name in CALLED_ALONE and _is_empty(code)


def _is_empty(code: CodeType) -> bool:
    return not code.co_names and any(_steps(code) == _steps(empty.__code__) for empty in (_plain, _coroutine))


def _steps(code: CodeType) -> list[tuple[str, Any]]:
    """Return what ``code`` does; a docstring moves constants, and nothing else."""
    constants = dis.hasconst
    return [(step.opname, step.argval if step.opcode in constants else step.arg) for step in dis.get_instructions(code)]


def _parameters(code: CodeType) -> tuple[Any, ...]:
    return code.co_varnames[: code.co_argcount], code.co_kwonlyargcount, code.co_flags & _KIND
