"""The typed door to the hot modules: ``from litellm_accel.hot import chat``.

At run time each name is what ``_backend.load`` has chosen; for type checkers and editors it is the twin, whose public
names and signatures the compiled module shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "bindings",
    "bpe",
    "calls",
    "chat",
    "cost",
    "embeddings",
    "function_definitions",
    "gate",
    "http1",
    "limit_checks",
    "payload_parts",
    "plain_data",
    "proxy_limits",
    "rate_limit",
    "routing",
    "sse",
    "streaming",
    "template",
    "token_counter",
    "variables",
    "watch",
]

if TYPE_CHECKING:
    from litellm_accel._py import (
        bindings,
        bpe,
        calls,
        chat,
        cost,
        embeddings,
        function_definitions,
        gate,
        http1,
        limit_checks,
        payload_parts,
        plain_data,
        proxy_limits,
        rate_limit,
        routing,
        sse,
        streaming,
        template,
        token_counter,
        variables,
        watch,
    )
else:
    from litellm_accel import _backend

    def __getattr__(name: str) -> object:
        """Return a hot module. Nothing is kept here: ``_backend`` alone holds what was chosen."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _backend.load(name)
