"""What a component is: a thing a user can switch, made of functions it replaces in LiteLLM."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

from litellm_accel._backend import load

gate = load("gate")


class Unavailable(Exception):
    """The installed LiteLLM lacks what a component replaces or relies on; the component stays off."""


class Unproven(Exception):
    """Equality with the installed LiteLLM has not been shown; the component stays off until it is."""


class ProbeMismatch(Exception):
    """An input for which the accelerated function and stock differ on this LiteLLM; the component fails."""


@dataclass(frozen=True)
class Replacement:
    """One function of LiteLLM and what takes its calls.

    ``target`` is ``"module:qualified.name"``. ``build(stock)`` receives a function that still runs the original code
    and returns the callable that every call is passed to, with the arguments of the target's own signature: what the
    caller left out is filled with the target's defaults, keyword-only arguments stay keywords.
    """

    target: str
    build: Callable[[FunctionType], Callable[..., Any]]


@dataclass(frozen=True)
class Replaced:
    """A replacement made ready: the ``accelerated`` callable beside the ``stock`` function."""

    accelerated: Callable[..., Any]
    stock: FunctionType


def require_same_parameters(accelerated: Callable[..., Any], stock: FunctionType) -> None:
    """Raise ``Unavailable`` unless both take the same parameters: another LiteLLM may have added or moved some."""
    wanted, found = list(inspect.signature(accelerated).parameters), list(inspect.signature(stock).parameters)
    if wanted != found:
        raise Unavailable(f"{stock.__module__}:{stock.__qualname__} takes other parameters in the installed LiteLLM")


class Component:
    """A switchable part. Subclasses set the class variables and override the methods."""

    name: ClassVar[str]
    summary: ClassVar[str]
    hot_modules: ClassVar[tuple[str, ...]] = ()
    relies_on: ClassVar[tuple[str, ...]] = ()  # modules of LiteLLM whose source a record of equality is bound to

    def replacements(self, gate: Any) -> Sequence[Replacement]:
        """Return what is replaced; every accelerated call passes ``gate``. Raises ``Unavailable``."""
        raise NotImplementedError

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Show that the accelerated functions (by target) equal stock here, before anything is replaced.

        Raises ``ProbeMismatch`` naming the input that differs, or ``Unproven`` when a record of equality is missing.
        """
        raise NotImplementedError

    def started(self) -> None:
        """Begin, where that is more than replacing functions. Called after they have been replaced."""

    def stopped(self) -> None:
        """Release what the component holds. Called after its functions have been given back."""
