"""Arguments beyond those the fast path knows by name: the provider's own, and values that are more than plain JSON.

LiteLLM passes an argument it has never heard of to the provider. Whether it has heard of one is read from LiteLLM: its
list of its own arguments, and every text in the code that a call runs through.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import inspect
import itertools
import marshal
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import SENT_HEADERS
from litellm_accel.hot import chat
from litellm_accel.import_watch import is_imported
from litellm_accel.stock import seams

# The key of a call that passes objects which somebody may change later.
SHARED = b"objects "
# The code that a call runs through, whichever provider it is for.
_CODE = (
    "litellm.main",
    "litellm.utils",
    "litellm.router",
    "litellm.litellm_core_utils.core_helpers",
    "litellm.litellm_core_utils.get_litellm_params",
    "litellm.litellm_core_utils.litellm_logging",
    "litellm.caching.caching_handler",
    "litellm.integrations.anthropic_cache_control_hook",
    "litellm.llms.azure.azure",
    "litellm.llms.custom_httpx.llm_http_handler",
    "litellm.llms.openai.openai",
)
# The classes that a call's arguments are read into.
_READ_INTO = ("litellm.types.litellm_params", "litellm.types.router")
_PACKAGES = ("litellm.caching.", "litellm.litellm_core_utils.", "litellm.router_strategy.", "litellm.router_utils.")
_CORES = "litellm.router_rust."
_PRIVATE = "_"
# Headers that LiteLLM reads from answers alone.
_ANSWERED = frozenset(("x-request-id",))
# Headers by which an HTTP client goes when it sends a request.
_FRAMING = frozenset(
    (
        *("content-encoding", "expect", "keep-alive", "proxy-authorization", "proxy-connection", "trailer"),
        *("transfer-encoding", "upgrade"),
    )
)
_LEAVES = frozenset((str, int, float, bool, bytes, type(None)))
# What of the constants in code may hold texts.
_OF_CODE = frozenset((tuple, frozenset, CodeType))
# The argument by which a call is left out of logs.
_NO_LOG = "no-log"


class Arguments:
    """Which arguments the installed LiteLLM passes on to the provider, and why a call's were refused."""

    @functools.cached_property
    def _heard(self) -> frozenset[str]:
        """Every name that LiteLLM may read from a call's arguments."""
        litellm = importlib.import_module("litellm")
        names = set(importlib.import_module("litellm.types.utils").all_litellm_params)
        for function in (litellm.completion, litellm.acompletion, litellm.Router.acompletion):
            names.update(inspect.signature(function).parameters)
        modules = {name: module for name in _CODE if (module := seams.module(name)) is not None}
        modules.update(item for item in sys.modules.copy().items() if item[0].startswith(_PACKAGES))
        for read_into in filter(None, map(seams.module, _READ_INTO)):
            for held in vars(read_into).values():
                if isinstance(held, type) and held.__module__ == read_into.__name__:
                    names.update(inspect.get_annotations(held))
        return frozenset(names.union(*map(_texts, modules.values())))

    @functools.cached_property
    def _read(self) -> frozenset[str]:
        """Names of headers that somebody may go by before a request is sent."""
        return SENT_HEADERS | _FRAMING | (self._heard - _ANSWERED)

    @functools.cached_property
    def _switches(self) -> frozenset[str]:
        """Arguments of LiteLLM's that switch something on; a router passes them on, and most are off."""
        fields = importlib.import_module("litellm.types.router").GenericLiteLLMParams.model_fields
        return frozenset((*(name for name, field in fields.items() if field.default is False), "caching", _NO_LOG))

    @functools.cached_property
    def _heard_by_cores(self) -> frozenset[str]:
        """Every name that LiteLLM or the core of a router may read from a call's metadata."""
        cores = [module for name, module in sys.modules.copy().items() if name.startswith(_CORES)]
        return self._heard.union(*map(_texts, cores))

    def heard_of(self) -> frozenset[str]:
        """Return every name that LiteLLM may read from a call's metadata; cores may be imported at any time."""
        return self._heard_by_cores if is_imported(seams.CORE) else self._heard

    def are_admitted(self, name: str, value: Any) -> bool:
        """Return whether an argument that the fast path does not know is the provider's, or a switch that is off.

        ``no-log`` may be on, too: LiteLLM itself chooses which callbacks it tells of such a call.
        """
        is_switch = (value is False and name in self._switches) or (value is True and name == _NO_LOG)
        return is_switch or self.are_providers(name)

    def are_unread(self, headers: dict[str, str]) -> bool:
        """Return whether neither LiteLLM nor a client goes by any of these ``headers``, which a call gives."""
        names = set(map(str.lower, headers))
        return len(names) == len(headers) and names.isdisjoint(self._read)

    def state_of(self, value: Any) -> Any:
        """Return what a router's note for one call says, None if that is more than names and numbers."""
        kind = type(value)
        if kind.__module__.partition(".")[0] != "litellm" or not dataclasses.is_dataclass(value):
            return None
        parts = [_sorted(getattr(value, field.name)) for field in dataclasses.fields(value)]
        plain = all(part is None or type(part) in (str, int, bool) or _holds_names(part) for part in parts)
        return (kind.__module__, kind.__qualname__, *parts) if plain else None

    def are_providers(self, name: str) -> bool:
        """Return whether LiteLLM knows no argument of this ``name``, and so passes it to the provider."""
        return not name.startswith(_PRIVATE) and name not in self._heard

    def key(self, passed: list[Any]) -> bytes | None:
        """Return the key of what a call passes, where ``marshal`` makes none; None if there is none.

        It begins with ``SHARED`` if a value may be changed by others.
        """
        speller = _Speller()
        try:
            key = marshal.dumps([speller.spelled(item) for item in passed], 2)
        except (ValueError, RecursionError):
            return None
        return SHARED + key if speller.is_shared else key

    def refusal(self, kind: str, kwargs: dict[str, Any]) -> Why:
        """Return why a call with these arguments has no key: the first of them that it cannot have."""
        stream = kwargs.get("stream")
        for name, value in kwargs.items():
            alone = {name: value} if not stream or name == "stream" else {"stream": stream, name: value}
            if name != "messages" and chat.call_key(kind, (), alone, self) is None:
                return decline.ARGUMENT.of(name)
        return decline.ARGUMENTS

    def told(self, kwargs: dict[str, Any]) -> Why:
        """Return why a call that somebody is told of is refused: the first argument that others may change."""
        for name, value in kwargs.items():
            speller = _Speller()
            try:
                speller.spelled(value)
            except ValueError:
                continue  # has a key of another kind
            if speller.is_shared:
                return decline.SHARED_ARGUMENT.of(name)
        return decline.ARGUMENTS


def _texts(module: ModuleType) -> set[str]:
    """Return every text in the code of the functions and methods that ``module`` defines, and in its own lists."""
    texts: set[str] = set()
    held = list(vars(module).values())
    for item in held:
        kind = type(item)
        if kind is CodeType:
            texts.update([constant for constant in item.co_consts if type(constant) is str])
            held.extend([constant for constant in item.co_consts if type(constant) in _OF_CODE])
        elif isinstance(item, str):
            texts.add(item)
        elif isinstance(item, (list, tuple, set, frozenset)):
            held.extend([part for part in item if isinstance(part, (str, tuple, frozenset, CodeType))])
        elif isinstance(item, type):
            if item.__module__ == module.__name__:
                held.extend(vars(item).values())
        elif isinstance(item, property):
            held.append(item.fget)
        elif kind is FunctionType or callable(item) or isinstance(item, (classmethod, staticmethod)):
            function = item if kind is FunctionType else getattr(item, "__func__", item)
            if hasattr(function, "__wrapped__"):
                function = inspect.unwrap(function)
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                held.append(function.__code__)
    return texts


_classes: WeakKeyDictionary[type, tuple[Any, int]] = WeakKeyDictionary()
_numbers = itertools.count(1)


def _class_number(kind: type) -> int:
    """Return a number that a class shares with no other, and that changes when pydantic rebuilds it."""
    schema = kind.__dict__.get("__pydantic_core_schema__")
    found = _classes.get(kind)
    if found is None or found[0] is not schema:
        found = _classes[kind] = schema, next(_numbers)
    return found[1]


class _Speller:
    """Spells values out in what ``marshal`` can write: a class by its number, and what its object holds.

    ``is_shared`` tells whether there was one that its owner may change.
    """

    def __init__(self) -> None:
        self.is_shared = False

    def spelled(self, value: Any) -> Any:
        """Return what stands for ``value`` and for no other. Raises ``ValueError``."""
        kind = type(value)
        if kind in _LEAVES or value is ...:
            return value
        if kind is list or kind is tuple:
            return kind(map(self.spelled, value))
        if kind is dict:
            return [..., "dict", [(self.spelled(name), self.spelled(item)) for name, item in value.items()]]
        if isinstance(value, enum.Enum):
            return (..., "member", _class_number(kind), value.name, self.spelled(value.value))
        if isinstance(value, type):
            if "__pydantic_core_schema__" not in value.__dict__:
                raise ValueError("a class")
            return (..., "class", _class_number(value))
        if isinstance(value, BaseModel):
            self.is_shared = True
            parts = value.__dict__, value.__pydantic_extra__, value.__pydantic_private__
            fields = sorted(value.__pydantic_fields_set__)
            return (..., "model", _class_number(kind), [self.spelled(part) for part in parts], fields)
        return (..., "subclass", _class_number(kind), self._base(value, kind), self._attributes(value, kind))

    def _base(self, value: Any, kind: type) -> Any:
        """Return what the built-in class sees of ``value``, whatever its own class says."""
        if issubclass(kind, str):
            return str.__str__(value)
        if issubclass(kind, int):
            return int.__int__(value)
        if issubclass(kind, float):
            return float.__float__(value)
        self.is_shared = True
        if issubclass(kind, dict):
            return self.spelled(dict(dict.items(value)))
        if issubclass(kind, list):
            return self.spelled(list(list.__iter__(value)))
        if issubclass(kind, tuple):
            return self.spelled(tuple(tuple.__iter__(value)))
        raise ValueError("an object")

    def _attributes(self, value: Any, kind: type) -> Any:
        if any(base.__dict__.get("__slots__") for base in kind.__mro__):
            raise ValueError("an object with slots")
        attributes = getattr(value, "__dict__", None)
        if attributes:
            self.is_shared = True
        return self.spelled(attributes or {})


def _sorted(part: Any) -> Any:
    """Return the names in a set in their order, and nothing for a dictionary without any."""
    if type(part) is frozenset and all(type(name) is str for name in part):
        return tuple(sorted(part))
    return () if type(part) is dict and not part else part


def _holds_names(part: Any) -> bool:
    return type(part) is tuple and all(type(name) is str for name in part)
