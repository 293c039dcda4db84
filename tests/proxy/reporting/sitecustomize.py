"""Has each process of a proxy under test say every now and then what is served in it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

_FOLDER = os.environ["PROXY_TESTS_REPORTS"]
_SECONDS = float(os.environ.get("PROXY_TESTS_REPORT_SECONDS", "0.2"))  # to report costs the process a millisecond


def _report() -> None:
    place = os.path.join(_FOLDER, str(os.getpid()))
    while True:
        time.sleep(_SECONDS)
        accel = sys.modules.get("litellm_accel")
        if accel is not None and "litellm.proxy.proxy_server" in sys.modules:
            with open(f"{place}~", "w") as file:
                json.dump(accel.status().to_dict(), file)
            os.replace(f"{place}~", place)


def _start() -> None:
    threading.Thread(target=_report, daemon=True).start()


_start()
os.register_at_fork(after_in_child=_start)
