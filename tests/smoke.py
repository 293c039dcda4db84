"""An installed litellm-accel, from outside its tree: `python smoke.py compiled|pure`.

Exits with an error unless the backend is that one, `accelerate()` activates everything and counting equals tiktoken.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # LiteLLM must not look for prices on the network

import litellm_accel

TEXTS = ("", "Hello, world!", "naïve café — 日本語 Привет 🙂\r\n\t12345", "def f(x):\n    return x ** 2\n" * 50)


def main(expected: str) -> None:
    """Raise `SystemExit` with what is wrong, else print what runs."""
    home = Path(litellm_accel.__file__).parent
    if home.parent == Path(__file__).resolve().parents[1]:
        raise SystemExit(f"this is the source tree's package, not an installed one: {home}")

    backends = litellm_accel.backend()
    if {chosen.kind for chosen in backends.values()} != {expected}:
        raise SystemExit(f"expected every module to be {expected}: {backends}")

    messages = [{"role": "user", "content": text} for text in TEXTS]
    import litellm

    stock = litellm.token_counter(model="gpt-4o", messages=messages)
    litellm_accel.accelerate(strict=True)
    if litellm.token_counter(model="gpt-4o", messages=messages) != stock:
        raise SystemExit(f"token_counter differs from stock's {stock}")
    if not litellm_accel.status()["tokens"].served:
        raise SystemExit(f"no call was served:\n{litellm_accel.status()}")

    import tiktoken

    for name in ("cl100k_base", "o200k_base"):
        theirs, ours = tiktoken.get_encoding(name), litellm_accel.get_encoding(name)
        for text in TEXTS:
            if ours.encode(text) != theirs.encode(text) or ours.count(text) != len(theirs.encode(text)):
                raise SystemExit(f"{name} differs from tiktoken on {text!r}")

    print(litellm_accel.status())
    litellm_accel.restore()


if __name__ == "__main__":
    main(sys.argv[1])
