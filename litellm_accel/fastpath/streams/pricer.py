"""How a stream ends that the fast path has opened: what it has cost, and what LiteLLM's payload says of it.

LiteLLM prices a stream twice when it has ended, once for its usage and once for those who are told of it, and then
describes it, whether or not anybody listens. Its handlers still do all that, on a ``Logging`` object of ours (``Fed``,
see ``success``) which asks here for the price. The payload is made as that of any other call, see ``payload``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath.notify.rates import DIAGNOSTIC, FAILED, Rates, note_found, pricing_facts
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.proof import Trial
from litellm_accel.fastpath.plans.recorder import Recording

# What pricing tells a ``Logging`` object, and its dictionary of details.
_TOLD = frozenset(("billed_token_rates", "cost_breakdown"))
# Numbers of a usage, the last of which LiteLLM adds when it has priced a stream; and what tells more of two of them.
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cost")
_DETAILED = {"prompt_tokens_details": "prompt_tokens", "completion_tokens_details": "completion_tokens"}
_MAX_TRIES = 8


class StreamPricer:
    """The ends of one kind of stream.

    ``are_current`` says whether the settings are those under which the kind was learned; if not, the end is stock's.
    ``total`` makes of what stock has priced a result by what prices another, see ``Maker.total``; ``fault`` is told of
    an exception in here. While prices are on ``trial`` LiteLLM prices as well, and its prices are used.
    """

    def __init__(
        self,
        are_current: Callable[[], bool],
        total: Callable[[dict[str, Any]], Callable[[Any], Any]],
        fault: Callable[[BaseException], None],
        trial: Trial,
    ) -> None:
        self._trial = trial
        self.are_current = are_current
        self._total = total
        self._fault = fault
        self._tries = 0
        self._prices: dict[Any, _Price | _Stamped] = {}

    def price(self, logging: Any, result: Any, stock: Callable[..., Any]) -> Any:
        """Return what ``result`` costs and tell ``logging`` how that is made up, as ``stock`` does."""
        try:
            tokens = counted(result.usage) if self.are_current() else None
            if tokens is not None:
                shape = tokens, _stamped(result) is None, *result._hidden_params
                price = self._prices.get(shape)
                if price is not None and self._trial.is_on:
                    return self._tried(price, logging, result, stock)
                found = None if price is None else price.told(logging, result)
                if price is not None and found is not None:
                    price.notes.write(logging, result)
                    return found
                if price is None and self._tries < _MAX_TRIES:
                    return self._learn(logging, result, shape, stock)
        except Exception as error:
            self._tries = _MAX_TRIES
            self._prices.clear()
            self._fault(error)
        return stock(result=result)

    def _tried(self, price: _Price | _Stamped, logging: Any, result: Any, stock: Callable[..., Any]) -> Any:
        """Return what stock says that ``result`` costs, to which ``price`` must come, too."""
        hidden = result._hidden_params.copy()
        cost = stock(result=result)
        told = price.made_up(logging, result)
        if told is None:
            return cost
        is_noted = _Notes.of(hidden, logging, result) == price.notes
        if is_noted and told["total_cost"] == cost and told == logging.cost_breakdown:
            self._trial.agreed()
        else:
            self._tries = _MAX_TRIES
            self._prices.clear()
            self._trial.refuse("price of a stream")
        return cost

    def _learn(self, logging: Any, result: Any, shape: Any, stock: Callable[..., Any]) -> Any:
        self._tries += 1
        details = logging.model_call_details
        before, known, hidden = vars(logging).copy(), details.copy(), result._hidden_params.copy()
        recording = Recording()
        with recorder.scripted(recording):
            cost = stock(result=result)
        pricing = recording.pricing
        changed = {name for name, value in vars(logging).copy().items() if value is not before.get(name, ...)}
        noted = {name for name, value in details.copy().items() if value is not known.get(name, ...)}
        notes = _Notes.of(hidden, logging, result)
        if notes is None:
            return cost
        if pricing is None and not changed and noted <= {DIAGNOSTIC} and details.get(DIAGNOSTIC) is None:
            stamped = _Stamped(result, notes)
            told = stamped.made_up(logging, result)
            if told is not None and told["total_cost"] == cost:
                self._prices[shape] = stamped
        if pricing is not None and changed == _TOLD and noted <= {DIAGNOSTIC} and details.get(DIAGNOSTIC) is None:
            rates = Rates(logging.billed_token_rates, logging.cost_breakdown, pricing_facts(result))
            price = _Price(rates, self._total(pricing), result, notes)
            if rates.billed is not None and price.makes_up(result, cost, logging.cost_breakdown):
                self._prices[shape] = price
        return cost


class _Notes(tuple[tuple[str, str], ...]):
    """What LiteLLM notes with a result that it prices, 1.104 its ``optional_params``.

    Pairs of a hidden parameter's name and that of the ``Logging`` object's attribute which it holds.
    """

    @classmethod
    def of(cls, hidden: dict[str, Any], logging: Any, result: Any) -> _Notes | None:
        """Return what has been noted with ``result`` whose parameters were ``hidden``; None if anything else was."""
        attributes = {id(value): name for name, value in vars(logging).copy().items() if value is not None}
        now = result._hidden_params.copy()
        noted = [(name, attributes.get(id(value))) for name, value in now.items() if value is not hidden.get(name, ...)]
        names = cls((name, attribute) for name, attribute in noted if attribute is not None)
        return names if len(names) == len(noted) and hidden.keys() <= now.keys() else None

    def write(self, logging: Any, result: Any) -> None:
        """Note with ``result`` what LiteLLM would."""
        for name, attribute in self:
            result._hidden_params[name] = getattr(logging, attribute)


class _Price:
    """The price of streams like one whose ``result`` LiteLLM has priced."""

    def __init__(self, rates: Rates, total: Callable[[Any], Any], result: Any, notes: _Notes) -> None:
        self.notes = notes
        self._rates = rates
        self._total = total
        self._facts = _facts(result)

    def makes_up(self, result: Any, cost: Any, told: dict[str, Any]) -> bool:
        """Return whether the rates make up the ``cost`` of the stream they are from, of which LiteLLM has ``told``."""
        return self._rates.make_up(result.usage, told) and self._total(result) == cost == told["total_cost"]

    def told(self, logging: Any, result: Any) -> Any:
        """Return what ``result`` costs and tell ``logging``; None if LiteLLM must say."""
        made_up = self.made_up(logging, result)
        if made_up is None:
            return None
        logging.cost_breakdown = made_up
        logging.billed_token_rates = self._rates.billed
        note_found(logging)
        return made_up["total_cost"]

    def made_up(self, logging: Any, result: Any) -> dict[str, Any] | None:
        """Return how the price of ``result`` is made up; None if LiteLLM must say."""
        details = logging.model_call_details
        if details.get("cache_hit") or details.get("additional_response_cost") or _facts(result) != self._facts:
            return None
        return self._rates.made_up(result.usage, self._total(result))


class _Stamped:
    """The price of streams like one whose ``result`` LiteLLM has priced before: what it says that it costs."""

    def __init__(self, result: Any, notes: _Notes) -> None:
        self.notes = notes
        self._facts = _facts(result)

    def told(self, logging: Any, result: Any) -> Any:
        """Return what ``result`` costs, of which ``logging`` has been told; None if LiteLLM must say."""
        made_up = self.made_up(logging, result)
        if made_up is None:
            return None
        logging.model_call_details.pop(FAILED, None)  # what an earlier try to price left there
        note_found(logging)
        return made_up["total_cost"]

    def made_up(self, logging: Any, result: Any) -> dict[str, Any] | None:
        """Return how the price of ``result`` is made up; None if LiteLLM must say, as it does of what costs nothing."""
        details, told, cost = logging.model_call_details, logging.cost_breakdown, _stamped(result)
        if details.get("cache_hit") or type(cost) is not float or not 0.0 < cost < math.inf:
            return None
        is_known = type(told) is dict and told.get("total_cost") == cost and _facts(result) == self._facts
        return told if is_known else None


def counted(usage: Any) -> Any:
    """Return in what a usage that counts nothing but tokens of text differs from others; None for any other usage."""
    shape: list[Any] = []
    for name, value in (*usage.__dict__.items(), *(usage.__pydantic_extra__ or {}).items()):
        count = _DETAILED.get(name)
        if name in _COUNTS or not value:
            shape.append((name, type(value), bool(value)))
        elif count is None or value.__pydantic_extra__:
            return None
        else:
            found = {kind: number for kind, number in value.__dict__.items() if number}
            if found and found != {"text_tokens": getattr(usage, count)}:
                return None
            kinds = ((kind, type(number), bool(number)) for kind, number in value.__dict__.items())
            shape.append((name, type(value), *kinds))
    return None if any((usage.__pydantic_private__ or {}).values()) else tuple(shape)


def _facts(result: Any) -> tuple[Any, ...]:
    """Return what LiteLLM goes by when it prices ``result``, its usage aside."""
    return pricing_facts(result), type(result), result._hidden_params.get("model_id")


def _stamped(result: Any) -> Any:
    """Return what ``result`` says that it costs, None if it has not been priced."""
    return result._hidden_params.get("response_cost")
