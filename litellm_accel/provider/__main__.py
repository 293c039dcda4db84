"""``python -m litellm_accel.provider``: the provider by hand, and what `Provider` runs as its child."""

from __future__ import annotations

import argparse
import asyncio

from litellm_accel.provider.profiles import PROFILES
from litellm_accel.provider.server import serve


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m litellm_accel.provider", description="A provider on loopback.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--record", type=int, default=10_000, help="requests remembered (0: none)")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="plain", help="whose answers it gives")
    parser.add_argument("--tls", action="store_true", help="listen for TLS on another port, too")
    parser.add_argument("--requests", type=int, default=0, help="answers a connection (0: as the profile has it)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    parser.add_argument("--script", nargs=2, metavar=("FILE", "ARGUMENT"), help="a Python file that chooses scenarios")
    options = parser.parse_args(arguments)
    asyncio.run(serve(**vars(options)))


if __name__ == "__main__":
    main()
