"""What LiteLLM does with its lists of callbacks when a call begins.

LiteLLM's ``function_setup`` first puts each callback into the lists from which it is told, and then makes the call's
``Logging`` object. A call that the fast path serves needs the first half alone, so that half is cut out of LiteLLM's
own source: whatever a release does there, the fast path does.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel.stock import syntax

# The first thing that ``function_setup`` defines when it has looked at LiteLLM's lists: a call's own callbacks.
_END = "dynamic_success_callbacks"
_LISTS = {"callbacks", "input_callback", "success_callback", "failure_callback"}


@functools.lru_cache(1)
def placing(setup: Any) -> Callable[[], Any] | None:
    """Return the first half of ``setup``, LiteLLM's ``function_setup``, or None if its source does not show it."""
    if type(setup) is not FunctionType:
        return None
    try:
        definition = syntax.module(textwrap.dedent(inspect.getsource(setup))).body[0]
        assert isinstance(definition, ast.FunctionDef)
        body = next(node.body for node in ast.walk(definition) if isinstance(node, ast.Try))
        end = next(number for number, statement in enumerate(body) if _END in _names(statement))
    except (AssertionError, OSError, SyntaxError, StopIteration):
        return None
    body = body[:end]
    if not set().union(*map(_attributes, body)).issuperset(_LISTS):
        return None
    definition.name, definition.body, definition.decorator_list, definition.returns = "placing", body, [], None
    definition.args = ast.arguments([], [], None, [], [], ast.arg("kwargs"), [])
    module = ast.fix_missing_locations(ast.Module([definition], type_ignores=[]))
    made: dict[str, Callable[[], Any]] = {}
    exec(syntax.code(module, setup.__code__.co_filename), setup.__globals__, made)  # LiteLLM's own statements
    return made["placing"]


def _names(statement: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _attributes(statement: ast.AST) -> set[str]:
    """Return what of LiteLLM's package a statement mentions, and the functions that read a list for it."""
    found = {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    return found | {"callbacks"} if "get_dynamic_callbacks" in _names(statement) else found
