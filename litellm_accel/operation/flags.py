"""Modes by OpenFeature: flags are asked when their provider says that they have changed, never in the course of a call.

The client's domain is ``litellm-accel``. Flag ``litellm-accel.enabled`` is ``on`` or ``off``, flag
``litellm-accel.<component>`` a mode as in the environment; what is not there, or empty, sets nothing. A flag that
cannot be understood, or asked, goes on to say what it said before; one that never said anything turns off what it is
about.
"""

from __future__ import annotations

import importlib
import itertools
import logging
from collections.abc import Callable
from typing import Any

from litellm_accel import activation, components
from litellm_accel.operation import sources
from litellm_accel.operation.schema import Problem
from litellm_accel.operation.sources import Source

DOMAIN = PREFIX = "litellm-accel"
_PLACE = "OpenFeature"
_ENABLED = "enabled"
_MISSING = "FLAG_NOT_FOUND"
_logger = logging.getLogger("litellm_accel")


class Flags:
    """Asks the flags while it is on, and hands what they say to ``take``; None when it is switched off."""

    def __init__(self, take: Callable[[Source | None], None]) -> None:
        self._take = take
        self._client: Any = None
        self._events: tuple[Any, ...] = ()
        self._said: dict[str, str] = {}
        self._turns = itertools.count(1)
        self._taken = 0  # the turn that was handed over last

    def set(self, wanted: bool) -> None:
        """Begin or end. Without the SDK that is logged."""
        if wanted == (self._client is not None):
            return
        if not wanted:
            client, self._client = self._client, None
            for event in self._events:
                client.remove_handler(event, self._changed)
            self._said = {}
            self._take(None)
            return
        try:
            api = importlib.import_module("openfeature.api")
            event = importlib.import_module("openfeature.event").ProviderEvent
        except ImportError:
            _logger.warning("litellm-accel: setting openfeature needs openfeature-sdk: pip install openfeature-sdk")
            return
        self._client = api.get_client(DOMAIN)
        self._events = event.PROVIDER_READY, event.PROVIDER_CONFIGURATION_CHANGED
        for each in self._events:
            self._client.add_handler(each, self._changed)  # and at once, if the provider is ready

    def _changed(self, details: object) -> None:
        """Ask all flags. Where changes come at the same time, what was asked last holds."""
        client, turn = self._client, next(self._turns)
        if client is None:
            return
        source, said = Source(_PLACE), dict(self._said)
        for name in (_ENABLED, *components.NAMES):
            said[name] = _asked(client, name, said.get(name, ""), source)
        with activation.locked():
            if client is self._client and turn > self._taken:
                self._said, self._taken = said, turn
                self._take(source)


def _asked(client: Any, name: str, before: str, source: Source) -> str:
    """Return what a flag says, which is put into ``source``; what it said ``before`` if that cannot be understood."""
    flag = f"{PREFIX}.{name}"
    try:
        found = client.get_string_details(flag, "")
        code = getattr(found.error_code, "value", found.error_code)
        if code not in (None, _MISSING):
            raise Problem(_PLACE, flag, f"{code} {found.error_message or ''}".rstrip(), "a flag of strings")
        text: str = "" if code == _MISSING else found.value
        _put(source, name, flag, text)
    except Problem as problem:
        source.problems.append(str(problem))
        text = before or "off"
        _put(source, name, flag, text)
    return text


def _put(source: Source, name: str, flag: str, text: str) -> None:
    """Put into ``source`` what a flag says. Raises ``Problem``."""
    place = f"{_PLACE}: {flag}"
    if not text:
        return
    if name == _ENABLED:
        source.values[_ENABLED] = sources.switch(_PLACE, flag, text)
        source.places[_ENABLED] = place
        return
    found = sources.mode(_PLACE, flag, text, name)
    source.values.setdefault("components", {})[name] = found
    source.places.update({f"components.{name}.{key}": place for key in found})
