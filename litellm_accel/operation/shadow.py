"""Mode ``shadow``: stock answers, the component computes beside it, and both are compared; what differs is kept.

What only computes is called again with the same arguments (``components.beside``). ``chat`` and ``streaming`` compare
as they do where calls are proven (``fastpath.plans.comparison``, ``components.streaming``), and serve nothing.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from litellm_accel.components.beside import DECLINED, EQUAL, UNTOLD, Uncopied, copied
from litellm_accel.operation.modes import Mode

_KEPT = 20
_MOST_WAITING = 200
_NAMED = 40
_BY_THEMSELVES = ("chat", "streaming")
# Arguments and members whose texts reveal nothing of what users write.
_OPEN = frozenset({"model", "custom_llm_provider", "role", "type", "call_type"})
_logger = logging.getLogger("litellm_accel")


@dataclass(frozen=True)
class Difference:
    """A call that the component would have answered differently, and ``where``, if that is more than the result.

    Texts are left out unless requested.
    """

    function: str
    arguments: str
    stock: str
    accelerated: str
    where: str = ""


def redacted(value: Any) -> Any:
    """Return ``value`` with each text replaced by its length."""
    if isinstance(value, str):
        return f"<{len(value)} characters>"
    if isinstance(value, Mapping):
        return {
            str(key)[:_NAMED]: item[:_NAMED] if key in _OPEN and isinstance(item, str) else redacted(item)
            for key, item in list(value.items())[:_NAMED]
        }
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value[:_NAMED]]
    return value if isinstance(value, (int, float, type(None))) else f"<{type(value).__name__}>"


class Worker:
    """A thread for comparisons that can wait. It restarts in forked processes, and drops jobs when it is full."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many jobs have not started."""
        return self._jobs.qsize()

    def put(self, job: Callable[[], object]) -> bool:
        """Queue ``job``; return whether it was accepted."""
        if self._jobs.qsize() >= _MOST_WAITING:
            return False
        self._jobs.put(job)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="litellm-accel-shadow", daemon=True)
            self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            try:
                self._jobs.get(timeout=60)()
            except queue.Empty:
                return


class Ticket:
    """A call that stock is answering and that will be compared afterwards."""

    def __init__(self, shadow: Shadow, beside: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._shadow = shadow
        self._beside = beside
        self._args, self._kwargs = args, kwargs
        self._compare = beside(args, kwargs)
        self._arguments = shadow.shown({**dict(zip(beside.parameters, args, strict=False)), **kwargs})

    def finish(self, result: Any) -> None:
        """Compare with stock's ``result``, now or in the thread."""
        shadow = self._shadow
        try:
            shown = shadow.shown(result)
            if not self._beside.can_wait:
                self._compare_with(result, shown)
                return
            kept = copied(result)
            if not shadow.worker.put(lambda: self._compare_with(kept, shown)):
                shadow.add("skipped")
        except Exception as error:  # stock's answer must not be lost
            shadow.fault(error)

    def _compare_with(self, result: Any, shown: str) -> None:
        """Compare, and count the outcome."""
        shadow = self._shadow
        try:
            made = self._compare(result)
        except Exception as error:
            shadow.fault(error)
            return
        if made is EQUAL:
            shadow.add("equal")
        elif made is DECLINED:
            shadow.add("declined")
        elif made is UNTOLD:
            shadow.add("skipped")
        else:
            shadow.differ(Difference(self._beside.name, self._arguments, shown, shadow.shown(made)))


class Shadow:
    """Comparisons of one component: ``percent`` of its calls; counts, and the last differences."""

    worker = Worker()

    def __init__(self, percent: float, reveal: bool) -> None:
        self._percent = percent
        self._reveal = reveal
        self._due = 0.0
        self._lock = threading.Lock()
        self.equal = self.different = self.declined = self.skipped = self.faults = 0
        self.differences: deque[Difference] = deque(maxlen=_KEPT)

    def begin(self, beside: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ticket | None:
        """Return the ticket of a call that stock is about to answer, or None if it is not compared."""
        self._due += self._percent
        if self._due < 100:
            return None
        self._due -= 100
        try:
            return Ticket(self, beside, args, kwargs)
        except Uncopied:
            self.add("skipped")
        except Exception as error:
            self.fault(error)
        return None

    def add(self, outcome: str) -> None:
        """Count an outcome: ``equal``, ``different``, ``declined``, ``skipped`` or ``faults``."""
        with self._lock:
            setattr(self, outcome, getattr(self, outcome) + 1)

    def later(self, job: Callable[[], object]) -> bool:
        """Do ``job`` soon, in another thread and this context; return whether it will be done."""
        context = contextvars.copy_context()

        def run() -> None:
            try:
                context.run(job)
            except Exception as error:
                self.fault(error)

        return self.worker.put(run)

    def differs(self, function: str, where: str, arguments: Any, stock: Any = None, accelerated: Any = None) -> None:
        """Count and keep that a call differs."""
        shown = (self.shown(arguments), self.shown(stock), self.shown(accelerated))
        self.differ(Difference(function, *shown, where))

    def fault(self, error: Exception) -> None:
        """Count that a comparison has failed."""
        self.add("faults")
        _logger.debug("litellm-accel: a call cannot be compared: %r", error)

    def shown(self, value: Any) -> str:
        """Return ``value`` without texts, unless these may be kept."""
        return repr(value if self._reveal else redacted(value))[:1000]

    def differ(self, difference: Difference) -> None:
        """Count and keep a difference; the first is logged."""
        self.differences.append(difference)
        is_first = not self.different
        self.add("different")
        if is_first:
            _logger.warning("litellm-accel: differs from stock in shadow: %s", difference)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "equal": self.equal,
            "different": self.different,
            "declined": self.declined,
            "skipped": self.skipped,
            "faults": self.faults,
            "differences": [asdict(difference) for difference in list(self.differences)],
        }


class ShadowMode(Mode):
    """Serves nothing; compares a share of the calls.

    That is the gate's share where a component compares by itself the calls that it is given; else the shadow's own.
    """

    measures = True

    def __str__(self) -> str:
        return f"shadow {self._percent:g} %"

    @property
    def _percent(self) -> float:
        return 100.0 if self.settings.percent is None else self.settings.percent

    def enter(self) -> None:
        """Start comparing."""
        compares_itself = self.name in _BY_THEMSELVES
        self.gate.compare_with(Shadow(100.0 if compares_itself else self._percent, self.settings.reveal))
        self.share(self._percent if compares_itself else 0.0)

    def leave(self) -> None:
        """Stop comparing."""
        self.gate.compare_with(None)
