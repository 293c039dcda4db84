"""What two correct runs may differ in. Everything else must be equal.

An identifier drawn at random becomes ``<id N>``, numbered by its first appearance in the run, so that an id that is
used in two places must still be the same in both. A clock's reading becomes its type, so that it must still be there.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import time
from functools import lru_cache
from typing import Any

#: Keys and attributes whose value is a moment or a duration. A number becomes ``<float>``, a text ``<text>``.
CLOCKS = frozenset(
    {
        "start_time",
        "end_time",
        "startTime",
        "endTime",
        "api_call_start_time",
        "completion_start_time",
        "completionStartTime",
        "response_time",
        "_response_ms",
        "response_ms",
        "litellm_overhead_time_ms",
        "callback_duration_ms",
        "llm_api_duration_ms",
        "duration",
        "elapsed",
        "llm_api_timing_windows",
        "latency",  # of the router's latency strategy
        "latency_normalized",
        "time_to_first_token_seconds",
        "http",  # an address, for which that strategy says how long it takes
        "timestamp",  # of an entry in the response cache
        "deployment_budget_start_time",
        "created_at",  # of a streamed chunk
        "_stream_created_time",
    }
)

#: `created` is a clock only where LiteLLM made it up; the provider's own dates are older than that.
RECENT_SECONDS = 3600

#: Random identifiers, wherever they appear in a text.
IDENTIFIERS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"  # uuid4
    r"|(?<![0-9a-f])[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}(?![0-9a-f])"  # uuid4().hex
)

#: The frames of a traceback that became part of a text; the exception after them is compared.
FRAMES = re.compile(r'(?:^ +File "[^\n]*\n(?:^ {4}[^\n]*\n)*)+', re.MULTILINE)

#: The same in the address of a bug report that LiteLLM offers.
REPORTED_FRAMES = re.compile(r"(?<=LiteLLM\+frames%3A%0A%60%60%60%0A).*?(?=%60%60%60)")

#: Parts of a text that are clocks or addresses in memory, and what stands for them.
TEXTS = (
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"^\d\d:\d\d:\d\d(?= - )", re.MULTILINE), "<moment>"),  # how LiteLLM's log lines begin
    (re.compile(r"[A-Z][a-z]{2}, \d\d[ -][A-Z][a-z]{2}[ -](\d\d)?\d\d \d\d:\d\d:\d\d GMT"), "<moment>"),  # headers
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?"), "<moment>"),
    (re.compile(r"(?<=:)\d\d-\d\d(?=$|:)"), "<minute>"),  # router cache keys: …:tpm:HH-MM
    (re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d"), "<minute>"),  # …:YYYY-MM-DD-HH-MM
    # What calls of earlier runs have left in LiteLLM's worker.
    (re.compile(r"carried \d+ pending and revived \d+ dequeued"), "carried <some>"),
    (re.compile(r"(?<=_cache_hit)\d+\.\d+"), "<moment>"),
    (re.compile(r"(time[_ ]taken|duration|time passed|after) ?[=:]? ?\d+\.\d+", re.IGNORECASE), r"\1 <seconds>"),
)


#: The same in a text, such as the repr of a response.
CREATED = re.compile(r"(?<=created)(['\"]?[=:] ?)(\d{10})\b")


#: The length of the shortest identifier.
IDENTIFIER = 32

#: What every identifier has in it; looked for at a fraction of the price.
SIGN = re.compile(r"4[0-9a-f]{3}-?[89ab][0-9a-f]{3}")

#: What every text with a clock or an address in it has.
DIGIT = re.compile(r"\d")

#: A longer text is compared by its digest.
LONG_TEXT = 4096


def mask(description: Any) -> Any:
    """A description with its identifiers numbered and the clocks and addresses in its texts named.

    Numbers are given in an order that does not depend on that of dicts, which is not compared.
    """
    shown = _Shown()

    def walk(value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return shown[value]
        if kind is list:
            return [shown[item] if type(item) is str else walk(item) for item in value]
        if kind is dict:
            return {shown[key]: walk(value[key]) for key in _in_order(tuple(value))}
        return value

    return walk(description)


class _Shown(dict[str, str]):
    """The texts of a run and what is shown for them; most come again and again."""

    def __init__(self) -> None:
        self.numbers: dict[str, str] = {}

    def __missing__(self, text: str) -> str:
        show = _shown if len(text) <= LONG_TEXT else _long_shown
        shown = self[text] = show(IDENTIFIERS.sub(self.number, text) if _may_identify(text) else text)
        return shown

    def number(self, match: re.Match[str]) -> str:
        return self.numbers.setdefault(match.group(), f"<id {len(self.numbers) + 1}>")


def _may_identify(text: str) -> bool:
    return len(text) >= IDENTIFIER and SIGN.search(text) is not None


@lru_cache(5_000)
def _in_order(keys: tuple[str, ...]) -> list[str]:
    return sorted(keys, key=_without_identifiers)


def _without_identifiers(key: str) -> str:
    return IDENTIFIERS.sub("<id>", key) if _may_identify(key) else key


#: What a callback sees or does not see as two threads happen to run: what the router adds to a response while a thread
#: already logs it, and what thread and event loop note while each logs.
RACING = frozenset(
    {
        "x-litellm-attempted-fallbacks",
        "x-litellm-attempted-retries",
        "x-litellm-model-group",
        "_litellm_router_usage_counted_tokens",
        "has_logged_async_success",
        "has_logged_sync_success",
    }
)

#: The same where a thread and the event loop log one call: each names the event before it calls its callbacks.
RACING_IN_THREADS = RACING | {"log_event_type"}

#: What is logged or warned about when garbage is collected, whenever that is.
COLLECTED = (
    "Unclosed ",
    "Task was destroyed",
    "coroutine 'BaseRoutingStrategy.periodic_sync_in_memory_spend_with_redis' was never awaited",
)


def without_races(description: Any, racing: frozenset[str] = RACING) -> Any:
    """What callbacks recorded, without what is there or not, or is this or that, by chance."""
    if type(description) is dict:
        return {name: without_races(item, racing) for name, item in description.items() if name not in racing}
    if type(description) is list:
        return [without_races(item, racing) for item in description]
    return description


def _show(text: str) -> str:
    named = _names(text)
    if len(named) <= LONG_TEXT:
        return named
    digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{named[:80]}… <{len(named)} characters, sha256 {digest}>"


# Most texts come again, in the same run or in the next. Few are long, and it takes longest to look through them.
_shown = lru_cache(10_000)(_show)
_long_shown = lru_cache(50)(_show)


def _names(text: str) -> str:
    if DIGIT.search(text) is None:
        return text
    if "\n" in text:
        text = REPORTED_FRAMES.sub("<frames>", FRAMES.sub("<frames>\n", text))
    if "created" in text:
        text = CREATED.sub(lambda match: match[1] + ("<now>" if _recent(int(match[2])) else match[2]), text)
    for pattern, name in TEXTS:
        text = pattern.sub(name, text)
    return text


def clock(key: object, value: Any) -> str | None:
    """What stands for a clock's reading; None where the value is something else."""
    if isinstance(value, (datetime.datetime, datetime.timedelta)):
        return f"<{type(value).__name__}>"
    if not TIMED[key]:
        return None
    if key == "created":
        return "<now>" if type(value) is int and _recent(value) else None
    return f"<{type(value).__name__}>" if type(value) in (int, float, str) else None


class _Timed(dict[object, bool]):
    def __missing__(self, key: object) -> bool:
        timed = self[key] = isinstance(key, str) and (key == "created" or key.partition(":")[0] in CLOCKS)
        return timed


#: Whether a number or a text that is called so may be a clock's reading.
TIMED = _Timed()


def _recent(moment: int) -> bool:
    return abs(moment - time.time()) < RECENT_SECONDS
