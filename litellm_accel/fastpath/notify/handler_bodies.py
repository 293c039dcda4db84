"""LiteLLM's success handlers without the branches that most told calls do not take.

LiteLLM's handlers serve streams, batches, guardrails and callbacks of every kind. A call that is no stream, and whose
callbacks are loggers that do nothing but listen, takes one way through them. That way is cut out of the handlers' own
source and keeps its lines: what is logged of a callback that raises names the same file, lines and functions. A handler
whose source is not found, or is not what runs, is left as it is.
"""

from __future__ import annotations

import ast
import dis
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from litellm_accel.stock import syntax

# What holds for the calls that take this way, by LiteLLM's expressions.
_KNOWN = {
    "self.stream is True": "False",
    "self.stream is not True": "True",
    "self._is_assembled_stream_success(result)": "False",
    "complete_streaming_response is not None": "False",
    "complete_streaming_response is None": "True",
    "self.call_type == CallTypes.aretrieve_batch.value": "False",
    "self.call_type == 'pass_through_endpoint'": "False",
    "self.call_type != CallTypes.pass_through.value": "True",
    "isinstance(result, TranscriptionResponse)": "False",
    "isinstance(callback, CustomGuardrail)": "False",
    "isinstance(callback, ShadowEvalLogger)": "False",
    "isinstance(callback, CustomLogger)": "True",
    "callback.exempt_from_message_redaction()": "False",
    "callable(callback)": "False",
    "callable(callback) is True": "False",
}
# Calls whose result is part of the way, by the names of their functions.
_CALLS = {
    "get_combined_callback_list": "callbacks",
    "_get_completed_success_callbacks": "delivery",
}
_ASSEMBLE = "_get_assembled_streaming_response"
_TRUNCATE = "truncate_base64_in_messages_async"
_HOOKS = ("async_logging_hook", "logging_hook")
_EXCLUDE = "redact_standard_logging_payload_from_model_call_details"
# A pydantic validator of any object, which returns it.
_ANY = "_REDACTED_RESULT"


def shortened(function: Any, way: str) -> FunctionType | None:
    """Return what ``function``, a method of LiteLLM's ``Logging``, does for such a call; None if that is not known.

    The ``Logging`` object must have a ``Way`` in its attribute of the name ``way``.
    """
    code: Any = getattr(function, "__code__", None)
    if type(function) is not FunctionType or code.co_freevars or sys.version_info < (3, 11):
        return None
    try:
        tree = _source(code)
        imported = sorted(_with_methods(_compiled(tree, code)) - _with_methods(code))
        for name in imported:  # by names that a module has imported, Python calls methods otherwise
            tree.body.insert(0, ast.fix_missing_locations(ast.Import([ast.alias(name)])))
        if _compiled(tree, code) != code:
            return None
        made = _compiled(ast.fix_missing_locations(_Shortening(way).visit(tree)), code)
    except (OSError, SyntaxError, ValueError, IndexError, StopIteration):
        return None
    brief = FunctionType(made, function.__globals__, function.__name__, function.__defaults__)
    brief.__kwdefaults__ = function.__kwdefaults__
    return brief


def _source(code: Any) -> ast.Module:
    """Return the class with the method of this ``code`` alone, on the lines on which it is."""
    last = max(end for _, end, _, _ in code.co_positions() if end is not None)
    lines = Path(code.co_filename).read_text(encoding="utf-8").splitlines(keepends=True)
    first = code.co_firstlineno
    owner = code.co_qualname.partition(".")[0]
    before = "\n" * (first - 2)
    return syntax.module(f"{before}class {owner}:\n{''.join(lines[first - 1 : last])}")


def _compiled(tree: ast.Module, code: Any) -> CodeType:
    """Return the code of the method in ``tree``, as the file of ``code`` has been compiled."""
    futures = code.co_flags & _FUTURES
    whole = syntax.code(tree, code.co_filename, futures)
    owner = next(_codes(whole))
    return next(held for held in _codes(owner) if held.co_name == code.co_name)


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (held for held in code.co_consts if type(held) is CodeType)


def _with_methods(code: CodeType) -> set[str]:
    """Return the global names of which a method is called as such."""
    steps = list(dis.get_instructions(code))
    return {
        one.argval
        for one, two in itertools.pairwise(steps)
        if one.opname == "LOAD_GLOBAL"
        and (two.opname == "LOAD_METHOD" or (two.opname == "LOAD_ATTR" and "NULL|self" in two.argrepr))
    }


# Flags of ``from __future__`` imports.
_FUTURES = 0x1FF0000


class _Shortening(ast.NodeTransformer):
    """Puts what is known in the places of expressions, and takes out what nobody gets to."""

    def __init__(self, way: str) -> None:
        self._way = f"self.{way}"
        self._known: dict[type, list[tuple[str, str]]] = {}
        for text, value in _KNOWN.items():
            self._known.setdefault(type(syntax.expression(text)), []).append((ast.dump(syntax.expression(text)), value))

    def visit(self, node: ast.AST) -> Any:
        """Return ``node`` as it is to be, None if it is to be left out."""
        if isinstance(node, ast.expr):
            value = self._value(node)
            if value is not None:
                return _placed(value, node)
        return super().visit(node)

    def _value(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Call) and (name := _called(node)) in (_ASSEMBLE, *_CALLS):
            return "None" if name == _ASSEMBLE else f"{self._way}.{_CALLS[name]}"
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call) and _called(node.value) == _TRUNCATE:
            return f"{self._way}.messages"
        if isinstance(node, ast.Compare) and _is_of_callback(node):
            return "False"
        patterns = self._known.get(type(node))
        if patterns is None or not _is_short(node):
            return None
        text = ast.dump(node)
        return next((value for known, value in patterns if known == text), None)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Leave out what checks nothing, and have loggers asked only if they may leave something out."""
        self.generic_visit(node)
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            if function.value.id == _ANY and len(node.args) == 1 and not node.keywords:
                return node.args[0]
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if function.attr == _EXCLUDE and function.value.id == "callback" and len(given) == 1:
                test = _placed(f"{self._way}.is_bare(callback)", node)
                return ast.copy_location(ast.IfExp(test, given[0], node), node)
        return node

    def visit_For(self, node: ast.For) -> Any:
        """Let only those of the callbacks change what is logged that have a hook for that."""
        is_hooking = any(isinstance(held, ast.Call) and _called(held) in _HOOKS for held in ast.walk(node))
        self.generic_visit(node)
        if is_hooking:
            node.iter = _placed(f"{self._way}.hooks", node.iter)
        return node

    def visit_If(self, node: ast.If) -> Any:
        """Return the branch that is taken, if that is known."""
        node.test = self._test(node.test)
        is_true = _constant(node.test)
        if is_true is not None:
            kept = [self.visit(held) for held in (node.body if is_true else node.orelse)]
            return list(_flat(kept))
        node.body = list(_flat(map(self.visit, node.body))) or [ast.copy_location(ast.Pass(), node)]
        node.orelse = list(_flat(map(self.visit, node.orelse)))
        return node

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """Return the branch that is taken, if that is known."""
        node.test = self._test(node.test)
        is_true = _constant(node.test)
        if is_true is not None:
            return self.visit(node.body if is_true else node.orelse)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        """Leave out what is imported for a question that is answered."""
        return None if [name.name for name in node.names] == ["ShadowEvalLogger"] else node

    def _test(self, node: ast.expr) -> ast.expr:
        """Return a condition with what is known in it; of a value that is only tested, all that counts is its truth."""
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "self.stream":
            return _placed("False", node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            node.operand = self._test(node.operand)
            is_true = _constant(node.operand)
            return node if is_true is None else _placed(str(not is_true), node)
        if isinstance(node, ast.BoolOp):
            decides = isinstance(node.op, ast.Or)
            kept: list[ast.expr] = []
            for value in map(self._test, node.values):
                is_true = _constant(value)
                if is_true is decides:
                    if not kept:
                        return _placed(str(decides), node)
                    kept.append(value)
                    break
                if is_true is None:
                    kept.append(value)
            if not kept:
                return _placed(str(not decides), node)
            node.values = kept
            return kept[0] if len(kept) == 1 else node
        visited: ast.expr = self.visit(node)
        return visited


def _placed(text: str, node: ast.expr) -> ast.expr:
    """Return the expression ``text`` in the place of ``node``."""
    made = syntax.expression(text)
    for held in ast.walk(made):
        ast.copy_location(held, node)
    return made


def _called(node: ast.Call) -> str:
    function = node.func
    return getattr(function, "attr", None) or getattr(function, "id", None) or ""


def _constant(node: ast.expr) -> bool | None:
    return node.value if isinstance(node, ast.Constant) and type(node.value) is bool else None


def _is_of_callback(node: ast.Compare) -> bool:
    """Return whether a callback is compared with the name of one of LiteLLM's integrations."""
    return (
        isinstance(node.left, ast.Name)
        and node.left.id == "callback"
        and len(node.ops) == 1
        and isinstance(node.ops[0], ast.Eq)
        and isinstance(node.comparators[0], ast.Constant)
        and type(node.comparators[0].value) is str
    )


def _is_short(node: ast.expr) -> bool:
    """Return whether an expression has no more in it than what is known has."""
    if isinstance(node, ast.Call):
        return len(node.args) <= 2 and not node.keywords
    return not isinstance(node, ast.Compare) or len(node.ops) == 1


def _flat(nodes: Any) -> Iterator[ast.stmt]:
    for node in nodes:
        if isinstance(node, list):
            yield from node
        elif node is not None:
            yield node


class Way:
    """What such a call uses instead of looking it up.

    ``callbacks`` are those in LiteLLM's list, ``delivery`` those to be told; ``hooks`` those that may change what is
    logged first. ``messages`` are the call's as they are logged.
    """

    __slots__ = ("callbacks", "delivery", "hooks", "is_bare", "messages")

    def __init__(
        self, callbacks: list[Any], delivery: Any, hooks: Any, messages: Any, is_bare: Callable[[Any], bool]
    ) -> None:
        self.callbacks = callbacks
        self.delivery = delivery
        self.hooks = hooks
        self.messages = messages
        self.is_bare = is_bare
