"""``with litellm_accel.profile() as p`` and ``python -m litellm_accel.profile app.py``: calls by line.

The module is called like a function, since importing it puts it in the place of one of this name.
"""

from __future__ import annotations

import sys
from types import ModuleType


class _Callable(ModuleType):
    def __call__(self) -> object:
        """Return what counts calls by line in a ``with`` block."""
        from litellm_accel.operation.profiler import Profile

        return Profile()


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    from litellm_accel.cli import main, profile

    main(profile, prog_name="python -m litellm_accel.profile")
