"""Whether two results of LiteLLM are equal, ids and clocks aside."""

from __future__ import annotations

from typing import Any

# What no two calls have in common; the last is what OpenAI fills chunks of a stream up with.
MASKED = frozenset({"id", "created", "obfuscation"})


def comparable(value: Any) -> Any:
    """Return ``value``, a result of LiteLLM, in JSON types, ids and clocks masked; models keep their type's name."""
    if hasattr(value, "model_dump"):
        fields = {name: "masked" if name in MASKED else field for name, field in value.model_dump().items()}
        return {"type": type(value).__name__, "response_cost": _response_cost(value), **comparable(fields)}
    if isinstance(value, dict):
        return {str(name): comparable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(member) for member in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def _response_cost(value: Any) -> float | None:
    hidden = getattr(value, "_hidden_params", None) or {}
    cost: float | None = hidden.get("response_cost")
    return cost


def difference(stock: Any, accelerated: Any, path: str = "result") -> str | None:
    """Return where two comparable values differ first and how, in a line; None if they are equal."""
    if type(stock) is type(accelerated):
        if isinstance(stock, dict) and stock.keys() == accelerated.keys():
            pairs = ((f"{path}.{name}", stock[name], accelerated[name]) for name in stock)
            return next((found for p, s, a in pairs if (found := difference(s, a, p))), None)
        if isinstance(stock, list) and len(stock) == len(accelerated):
            triples = ((f"{path}[{i}]", s, a) for i, (s, a) in enumerate(zip(stock, accelerated, strict=True)))
            return next((found for p, s, a in triples if (found := difference(s, a, p))), None)
        if stock == accelerated:
            return None
    return f"{path}: {_short(stock)} in stock, {_short(accelerated)} accelerated"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
