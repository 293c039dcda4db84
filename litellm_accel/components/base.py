"""What a component is: a thing a user can switch, made of functions it replaces in LiteLLM."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

from litellm_accel import hot, patching

if TYPE_CHECKING:
    from litellm_accel.fastpath.plans.proof import Proof


class Unavailable(Exception):
    """The installed LiteLLM lacks what a component replaces or relies on; the component stays off."""


class Native(Exception):
    """The installed LiteLLM has something of its own for what a component does; the component leaves it that."""


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


def prepared(replacement: Replacement) -> tuple[patching.Patch, Replaced]:
    """Return what replaces a function, and the two beside each other; raises ``PatchError``."""
    function = patching.resolve(replacement.target)
    stock = patching.stock_copy(function)
    accelerated = replacement.build(stock)
    return patching.Patch(function, accelerated), Replaced(accelerated, stock)


def with_parameters_of(
    stock: FunctionType, fast: Callable[..., Any], decline: Callable[[str], Any]
) -> Callable[..., Any]:
    """Return ``fast`` as a function of ``stock``'s parameters, which LiteLLM's releases add to and reorder.

    Both take all arguments by position. A parameter that ``fast`` does not know must hold its default, or
    ``decline(name)`` is what the call returns; one that ``stock`` lacks is None. Raises ``Unavailable`` if ``stock``
    takes any number of arguments, or requires one that ``fast`` does not know.
    """
    wanted = list(inspect.signature(fast).parameters)
    found = inspect.signature(stock).parameters
    if any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in found.values()):
        raise Unavailable(f"{stock.__module__}:{stock.__qualname__} takes any arguments in the installed LiteLLM")
    if wanted == list(found):
        return fast
    places = {name: place for place, name in enumerate(found)}
    chosen = [places.get(name, len(places)) for name in wanted]
    others = [(places[name], name, parameter.default) for name, parameter in found.items() if name not in wanted]
    if any(default is inspect.Parameter.empty for *_, default in others):
        raise Unavailable(f"{stock.__module__}:{stock.__qualname__} takes other parameters in the installed LiteLLM")

    choose: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    choose = operator.itemgetter(*chosen) if len(chosen) > 1 else lambda arguments: (arguments[chosen[0]],)

    def call(*arguments: Any) -> Any:
        for place, name, default in others:
            if arguments[place] is not default:
                return decline(name)
        return fast(*choose((*arguments, None)))

    return call


class Component:
    """A switchable part. Subclasses set the class variables and override the methods."""

    name: ClassVar[str]
    summary: ClassVar[str]
    hot_modules: ClassVar[tuple[str, ...]] = ()
    relies_on: ClassVar[tuple[str, ...]] = ()  # modules whose source a record of equality is bound to

    @property
    def proof(self) -> Proof | None:
        """What proves calls where ``prove`` cannot show all, while the component is active; else None."""
        return None

    @property
    def partly(self) -> dict[str, int]:
        """How many calls had a part of them left to stock, by reason."""
        return {}

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return what is replaced; every accelerated call passes ``gate``. Raises ``Unavailable``."""
        raise NotImplementedError

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Show that the accelerated functions (by target) equal stock here, before anything is replaced.

        Raises ``ProbeMismatch`` naming the input that differs, or ``Unproven`` when a record of equality is demanded
        and missing.
        """
        raise NotImplementedError

    def started(self) -> None:
        """Begin, where that is more than replacing functions. Called after they have been replaced."""

    def stopped(self) -> None:
        """Release what the component holds. Called after its functions have been given back."""
