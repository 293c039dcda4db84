"""What is remembered of a router beside its model groups.

The names of all deployments and who has which model, which deployments a pattern matches, and those that callers name
by their id. Each is compared with the router's own lists whenever it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from operator import is_
from typing import Any, NamedTuple, TypeAlias

from litellm_accel.fastpath import decline
from litellm_accel.hot import routing as _hot

Deployment: TypeAlias = "dict[str, Any]"

# More names than this that were matched with patterns are forgotten: callers make names up.
_MOST_NAMES = 1024
# Nor are more deployments remembered that callers named by their id.
_MOST_IDS = 64
_PLAIN = (str, int, float, bool, type(None))


def is_plain(value: Any) -> bool:
    """Return whether a deep copy of ``value`` is sure to succeed without running anybody's code."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in _PLAIN


def copied(value: Any) -> Any:
    """Return a deep copy, of plain data without ``deepcopy``'s detours."""
    if type(value) is dict:
        return {key: item if type(item) in _PLAIN else copied(item) for key, item in value.items()}
    if type(value) is list:
        return [item if type(item) in _PLAIN else copied(item) for item in value]
    return value if type(value) in _PLAIN else deepcopy(value)


def dicts_of(deployments: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the dicts of each deployment that a choice depends on: itself, its parameters, its model info."""
    found: list[dict[str, Any]] = []
    for deployment in deployments:
        if type(deployment) is not dict:
            raise decline.Unserved(decline.DEPLOYMENT_TYPE)
        for part in (deployment, deployment.get("litellm_params"), deployment.get("model_info")):
            if type(part) is not dict:
                raise decline.Unserved(decline.DEPLOYMENT_TYPE)
            found.append(part)
    return found


class Roster:
    """The deployments of a router by name and by model.

    ``names`` are their model names and, with its team, each name that a team has given. ``owners`` are the places of
    the deployments that have each model; ``groups`` are what the chooser makes of them.
    """

    __slots__ = ("_listed", "_models", "_seen", "groups", "names", "owners")

    def __init__(self, models: list[Deployment]) -> None:
        self._models = models
        self._listed = list(models)
        self._seen = _hot.Snapshot(dicts_of(self._listed))
        infos = [deployment["model_info"] for deployment in self._listed]
        theirs = [(info.get("team_id"), info.get("team_public_model_name")) for info in infos]
        self.names = frozenset([*(deployment["model_name"] for deployment in self._listed), *theirs])
        self.owners: dict[Any, list[int]] = {}
        for place, deployment in enumerate(self._listed):
            self.owners.setdefault(deployment["litellm_params"].get("model"), []).append(place)
        self.groups: dict[str, Any] = {}

    def changed(self, models: list[Deployment]) -> bool:
        """Return whether the router lists other deployments now, or one of them has been edited."""
        if models is not self._models or len(models) != len(self._listed) or not all(map(is_, models, self._listed)):
            return True
        return self._seen.changed()


class Matched:
    """The deployments of the first pattern that ``asked`` matches; ``groups`` are what the chooser makes of them.

    A group is kept for each name that callers reach it by, which is ``asked`` or the same without its provider.
    """

    __slots__ = ("asked", "groups", "models")

    def __init__(self, asked: str, models: Any) -> None:
        if type(models) is not list:
            raise decline.Unserved(decline.PATTERN_TYPE)
        self.asked = asked
        self.models: list[Deployment] = models
        self.groups: dict[str, Any] = {}


class _Patterns:
    """Which deployments of a pattern router a model name matches."""

    __slots__ = ("_matches", "_seen", "_source", "_table")

    def __init__(self, source: Any) -> None:
        self._source = source
        self._table: dict[str, Any] = source.patterns
        self._seen = _hot.Snapshot([self._table])
        self._matches: dict[str, Matched | None] = {}

    def changed(self, source: Any) -> bool:
        """Return whether the router has other patterns now, or too many names are remembered."""
        if source is not self._source or source.patterns is not self._table or len(self._matches) > _MOST_NAMES:
            return True
        return self._seen.changed()

    def matched(self, asked: str) -> Matched | None:
        """Return the deployments of the first pattern that ``asked`` matches, or None."""
        if asked not in self._matches:
            models = _first_match(self._table, asked)
            self._matches[asked] = None if models is None else Matched(asked, models)
        return self._matches[asked]


def _first_match(patterns: Mapping[str, Any], name: str) -> Any:
    try:
        return next((held for pattern, held in patterns.items() if re.match(pattern, name)), None)
    except re.error:  # stock's own rule: then nothing matches
        return None


class _Identified(NamedTuple):
    """A deployment, what was in it, and what stock makes of it for a caller who names it by its id."""

    listed: Deployment
    seen: _hot.Snapshot
    parsed: Deployment


def _identified(router: Any, model_id: str, listed: Any) -> _Identified:
    if type(listed) is not dict or not is_plain(listed):
        raise decline.Unserved(decline.DEPLOYMENT_TYPE)
    dicts: list[dict[str, Any]] = []
    lists: list[list[Any]] = []
    _collect(listed, dicts, lists)
    seen = _hot.Snapshot(dicts, lists)
    parsed: Deployment = router.get_deployment(model_id=model_id).model_dump(exclude_none=True)
    info = parsed["model_info"]
    if info.get("blocked") is True:
        raise decline.Unserved(decline.NONE_AVAILABLE)
    if info.get("access_windows") is not None:
        raise decline.Unserved(decline.ACCESS_WINDOWS)
    if parsed["litellm_params"]["model"].startswith("auto_router/"):
        raise decline.Unserved(decline.ROUTING_PRE_STRATEGIES)
    if not is_plain(parsed):
        raise decline.Unserved(decline.DEPLOYMENT_UNCOPYABLE)
    return _Identified(listed, seen, parsed)


def _collect(value: Any, dicts: list[dict[str, Any]], lists: list[list[Any]]) -> None:
    """Add to ``dicts`` and ``lists`` all of them in plain data."""
    if type(value) is dict:
        dicts.append(value)
        for item in value.values():
            _collect(item, dicts, lists)
    elif type(value) is list:
        lists.append(value)
        for item in value:
            _collect(item, dicts, lists)


class Listings:
    """What is remembered of one router beside its model groups.

    ``pattern_type`` is LiteLLM's pattern router, ``inferred_provider`` its function that tells a name's provider.
    """

    __slots__ = ("_identified", "_inferred_provider", "_pattern_type", "_patterns", "_roster")

    def __init__(self, pattern_type: type, inferred_provider: Callable[[str], str]) -> None:
        self._pattern_type = pattern_type
        self._inferred_provider = inferred_provider
        self._roster: Roster | None = None
        self._patterns: dict[str | None, _Patterns] = {}
        self._identified: dict[str, _Identified] = {}

    def roster(self, models: list[Deployment]) -> Roster:
        """Return what is known of all deployments, of which ``models`` is the router's list."""
        if self._roster is None or self._roster.changed(models):
            self._roster = Roster(models)
        return self._roster

    def matching(self, source: Any, team: str | None, name: str) -> Matched | None:
        """Return the deployments that ``source``, a pattern router, has for ``name``, or for it with its provider."""
        if type(source) is not self._pattern_type or not vars(source).keys() <= {"patterns", "_pattern_utils"}:
            raise decline.Unserved(decline.ROUTER_PART_CLASS)
        patterns = self._patterns.get(team)
        if patterns is None or patterns.changed(source):
            patterns = self._patterns[team] = _Patterns(source)
        found = patterns.matched(name)
        return patterns.matched(f"{self._inferred_provider(name)}/{name}") if found is None else found

    def deployment(self, router: Any, model_id: str, listed: Any) -> Deployment:
        """Return a new copy of the deployment ``listed`` under ``model_id``, as ``Router.get_deployment`` parses it."""
        held = self._identified.get(model_id)
        if held is None or held.listed is not listed or held.seen.changed():
            if len(self._identified) >= _MOST_IDS:
                self._identified.clear()
            held = self._identified[model_id] = _identified(router, model_id, listed)
        copy: Deployment = copied(held.parsed)
        return copy
