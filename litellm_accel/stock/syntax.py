"""Syntax trees of LiteLLM's source, made by one thread at a time.

CPython up to 3.12 counts how deep a tree is in one place for all threads; where another thread makes one meanwhile, it
raises SystemError. Our own threads wait for each other, and what an application's thread has disturbed is tried again.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, ParamSpec, TypeVar

_TRIES = 4
_ONE_THREAD = threading.RLock()  # a collected object may import in the midst

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _alone(make: Callable[_P, _T]) -> Callable[_P, _T]:
    def made(*args: _P.args, **given: _P.kwargs) -> _T:
        with _ONE_THREAD:
            for _ in range(_TRIES - 1):
                try:
                    return make(*args, **given)
                except SystemError:
                    continue
            return make(*args, **given)

    return made


@_alone
def module(source: str | bytes) -> ast.Module:
    """Return the tree of a module's ``source``; raises SyntaxError."""
    return ast.parse(source)


@_alone
def expression(source: str) -> ast.expr:
    """Return the tree of an expression; raises SyntaxError."""
    return ast.parse(source, mode="eval").body


@_alone
def code(tree: ast.Module, file: str, futures: int = 0) -> CodeType:
    """Return the code of ``tree``, as of a ``file`` with these ``from __future__`` flags; raises SyntaxError."""
    made: Any = compile(tree, file, "exec", flags=futures, dont_inherit=True)
    assert isinstance(made, CodeType)
    return made
