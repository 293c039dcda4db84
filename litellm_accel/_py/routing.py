"""Choosing a deployment of a router: what is remembered of a model group, and each strategy's pick.

The truth stays in the router's own lists and caches. What is remembered of them is compared with them at every choice:
a dict has changed when its version has (PEP 509), a list when one of its items is another object.
"""

from __future__ import annotations

import sys
import time
import weakref
from asyncio import _get_running_loop as running_loop
from collections.abc import Collection
from math import ceil, inf
from operator import is_
from random import Random
from typing import TYPE_CHECKING, Any

from litellm_accel._py.bindings import Bindings
from litellm_accel._py.gate import Gate
from litellm_accel._py.watch import HAS_TAGS, tag_of
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved
from litellm_accel.routing.known_names import (
    EMPTY_CONTAINERS,
    LISTING_METHODS,
    PATIENCE,
    PAUSE,
    STEERING_KEYS,
    UNSERVED_KEYS,
    UNSERVED_METADATA,
    UNSERVED_UNLESS_NONE,
)

if TYPE_CHECKING:
    from litellm_accel.components.routing import Reader
    from litellm_accel.routing.listings import Listings

__all__ = ["Chooser", "Snapshot", "increment", "shuffled"]

_NOTHING: frozenset[str] = frozenset()

Deployment = dict[str, Any]


class _Changing(Unserved):
    """The router's lists disagree, as they do while another thread removes a deployment."""


def _same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(is_, before, now))


class Snapshot:
    """Dicts and lists as they were when the snapshot was made."""

    __slots__ = ("_copies", "_dicts", "_items", "_lists", "_tags", "_versions")

    def __init__(self, dicts: list[dict[Any, Any]], lists: list[list[Any]] | None = None) -> None:
        for mapping in dicts:
            if not isinstance(mapping, dict):
                raise TypeError(f"a snapshot is of dicts, got {type(mapping).__name__}")
        self._dicts = list(dicts)
        self._tags = list(map(tag_of, dicts)) if HAS_TAGS else []
        self._versions = b"".join(self._tags)
        self._copies = [] if HAS_TAGS else [dict(mapping) for mapping in dicts]
        self._lists = list(lists or [])
        self._items = [list(held) for held in self._lists]

    def changed(self) -> bool:
        """Return whether one of them has been written to since. Nested objects are not looked into."""
        if not all(map(_same, self._items, self._lists)):
            return True
        if HAS_TAGS:
            return b"".join(self._tags) != self._versions
        return not all(
            _same(list(held), list(copy)) and _same(list(held.values()), list(copy.values()))
            for held, copy in zip(self._dicts, self._copies, strict=True)
        )


def shuffled(source: Random, count: int) -> list[int]:
    """Return the order in which ``random.sample(population, count)`` gives all ``count`` items of a population.

    ``source`` is a ``random.Random``; it is left in the state ``sample`` leaves it in.
    """
    return source.sample(range(count), count)


def increment(store: Any, key: str, amount: float, ttl: float | None = None, least: float | None = None) -> float:
    """Add ``amount`` to a counter of an ``InMemoryCache`` as ``increment_cache`` does, and return the sum.

    A counter that starts lives ``ttl`` seconds, the cache's own time where that is None; a sum below ``least`` is kept
    as that. Raises ``Unserved``, before anything is written, where the counter is no number.
    """
    memory = store
    with memory._increment_lock:
        now = memory._clock()
        if type(memory.cache_dict.get(key, 0)) not in (int, float) and not now > memory.ttl_dict.get(key, inf):
            raise Unserved(decline.CACHED_VALUE)
        total: float = (memory.get_cache(key) or 0) + amount
        if least is not None and total < least:
            total = least
        memory.set_cache(key, total, ttl=ttl)
    return total


def _kept(entries: dict[str, Any], expiries: dict[str, float], key: str, now: float) -> Any:
    """Read ``key`` as ``InMemoryCache.get_cache`` does at time ``now``, dropping it when it has expired."""
    if key not in entries:
        return None
    expiry = expiries.get(key)
    if expiry is not None and now > expiry:
        entries.pop(key, None)
        expiries.pop(key, None)
        return None
    value = entries[key]
    if value is None or type(value) in (dict, int, float):
        return value
    raise Unserved(decline.CACHED_VALUE)


def _number(value: Any) -> float:
    """Return a count or a time as a C double; exact, or ``Unserved``."""
    if (type(value) is float and -inf < value < inf) or (type(value) is int and -(1 << 52) < value < 1 << 52):
        return float(value)
    raise Unserved(decline.CACHED_VALUE)


def _mapping(value: Any) -> dict[Any, Any] | None:
    if value is not None and type(value) is not dict:
        raise Unserved(decline.CACHED_VALUE)
    return value


def _within(limit: tuple[Any, Any], usages: dict[str, Any] | None, minute: str, tokens: int) -> bool:
    """Return whether one more call of ``tokens`` tokens keeps the (tpm, rpm) ``limit`` in this minute."""
    used = {} if usages is None else usages.get(minute, {})
    if type(used) is not dict:
        raise Unserved(decline.CACHED_VALUE)
    spent, called = _number(used.get("tpm", 0)), _number(used.get("rpm", 0))
    return not (spent + tokens > limit[0] or called + 1 > limit[1])


def _at(models: list[Deployment], slots: list[int]) -> list[Deployment]:
    """Return the deployments at ``slots``; another thread may be shortening the list meanwhile."""
    if slots and min(slots) < 0:
        raise _Changing(decline.LIST_CHANGING)
    try:
        return [models[slot] for slot in slots]
    except IndexError:
        raise _Changing(decline.LIST_CHANGING) from None


class _Cooldowns:
    """The deployments of one router that cool down, as its cooldown cache tells."""

    def now(self, store: Any, known: dict[str, int]) -> frozenset[str]:
        """Return the ids cooling down; expired entries of ``known`` ids leave ``store`` as they do in stock."""
        entries, expiries = store.cache_dict, store.ttl_dict
        if not entries:
            return _NOTHING
        clock = store._clock()
        moment = time.time()
        active = []
        expired = []
        for key, value in list(entries.items()):
            if type(key) is not str or not key.startswith("deployment:") or not key.endswith(":cooldown"):
                continue
            model_id = key[11:-9]
            if model_id not in known:
                continue
            expiry = expiries.get(key)
            if expiry is not None and clock > expiry:
                expired.append(key)
                continue
            if type(value) is not dict:
                raise Unserved(decline.COOLDOWN_VALUE)
            if not value:
                continue
            end = _number(value["timestamp"]) + _number(value["cooldown_time"])
            if end - moment <= 0:
                expired.append(key)
                continue
            if expiry is not None and expiry > end + 4.999:
                raise Unserved(decline.COOLDOWN_KEPT)
            active.append(model_id)
        for key in expired:
            entries.pop(key, None)
            expiries.pop(key, None)
        return frozenset(active)


class _Group:
    """What is remembered of one model group: its deployments in order, and what choosing needs of each.

    A place is a deployment's position in the group. A wildcard group is chosen among copies that are ``rendered`` for
    the name asked for; ``originals`` are what they are copies of.
    """

    def __init__(
        self,
        reader: Reader,
        name: str | None,
        team: str | None,
        indices: list[int],
        models: list[Deployment],
        known: dict[str, int],
        rendered: list[Deployment] | None = None,
        asked: str | None = None,
    ) -> None:
        self.indices = indices
        self.slots = list(indices)
        self.known = known
        self.seen_known = Snapshot([known])
        listed = _at(models, self.slots)
        self.listed = listed
        self.seen = Snapshot(reader.dicts(listed), reader.lists(listed))
        self.refusal, self.ids, self.blocked, self.orders, self.plain = reader.group(name, team, listed, known)
        self.misplaced = self.refusal is decline.MISPLACED
        self.rendered = rendered is not None
        self.deployments = listed if rendered is None else rendered
        if rendered is not None and (len(rendered) != len(listed) or not self.plain):
            self.refusal = self.refusal or decline.DEPLOYMENT_UNCOPYABLE
        self.filters: Any = None
        if self.refusal is None:
            called: Any = asked or name  # one of them is given
            self.filters = reader.filters(
                called, self.deployments, self.ids, self.blocked, self.orders, name is not None and team is None
            )
        self.places = {model_id: place for place, model_id in enumerate(self.ids)}
        self.colons = any(":" in model_id for model_id in self.ids)
        self.pool: _Pool | None = None
        self.prices: _Prices | None = None
        self._limits: dict[bool, list[tuple[Any, Any] | None]] = {}

    def changed(self, indices: list[int], models: list[Deployment], known: dict[str, int]) -> bool:
        """Return whether the router lists other deployments for the group now, or one of them has been edited."""
        if indices is not self.indices or known is not self.known or self.seen_known.changed():
            return True
        if not _same(indices, self.slots):
            return True
        if self.rendered and len(models) != len(self.slots):
            return True
        try:
            return not _same(_at(models, self.slots), self.listed) or self.seen.changed()
        except _Changing:
            return True

    def available(self, cooling: frozenset[str]) -> _Pool:
        """Return the pool without the deployments ``cooling`` names; it is kept until another set is left out."""
        out = cooling & self.places.keys()
        if self.pool is None or out != self.pool.out:
            self.pool = _Pool(self, frozenset(out), self.left(out), list(range(len(self.ids))))
        return self.pool

    def left(self, out: Collection[str]) -> list[int]:
        """Return the places of deployments that are neither blocked nor ``out``, of the first order that has any."""
        places = [place for name, place in self.places.items() if place not in self.blocked and name not in out]
        if self.orders is None:
            return places
        first = min((order for place in places if (order := self.orders[place]) is not None), default=None)
        return places if first is None else [place for place in places if self.orders[place] == first]

    def limits(self, reader: Reader, strict: bool) -> list[tuple[Any, Any] | None]:
        """Return per place the (tpm, rpm) limits, None for a deployment without; ``strict`` takes 0 for a limit."""
        if strict not in self._limits:
            self._limits[strict] = reader.limits(self.deployments, strict)
        return self._limits[strict]


class _Pool:
    """The deployments of a group that can be chosen now, in the group's order."""

    def __init__(self, group: _Group, out: frozenset[str], places: list[int], considered: list[int]) -> None:
        chosen = frozenset(places)
        read = frozenset(considered)
        self.places = places
        self.deployments = [group.deployments[place] for place in places]
        self.out = out
        self.member = bytes(place in chosen for place in range(len(group.ids)))
        self.considered = bytes(place in read for place in range(len(group.ids)))
        self.weighed = False
        self.sums: list[float] | None = None

    def drawn(self, reader: Reader, source: Random) -> Deployment:
        """Return one deployment as ``random.choices`` with weights, or ``random.choice`` without, would draw it."""
        if not self.weighed:
            self.sums = reader.cumulative(self.deployments)
            self.weighed = True
        if self.sums is None:
            return source.choice(self.deployments)
        return source.choices(self.deployments, cum_weights=self.sums)[0]


class _Prices:
    """What a token in and a token out of each deployment cost together, kept while the cost map's rows are the same."""

    def __init__(self, reader: Reader, table: dict[str, Any], deployments: list[Deployment]) -> None:
        self.names = reader.priced_names(deployments)
        self.rows = list(map(table.get, self.names))
        self.seen = Snapshot([row for row in self.rows if row is not None])
        self.costs: list[Any] = reader.costs(deployments)

    def changed(self, table: dict[str, Any]) -> bool:
        return not _same(self.rows, list(map(table.get, self.names))) or self.seen.changed()


def _times(samples: Any) -> list[float]:
    if type(samples) is not list:
        raise Unserved(decline.LATENCIES_TYPE)
    for sample in samples:
        if not 0.0 <= _number(sample) < inf:
            raise Unserved(decline.LATENCY_NO_TIME)
    return samples


def _average(samples: Any) -> float:
    """Return the mean as stock takes it: ``sum`` over ``len``, 0.0 of nothing."""
    return sum(samples) / len(samples) if _times(samples) else 0.0


def _latency(usages: Any, streaming: bool, percentile: float | None) -> float:
    """Return what a deployment's latency map says of it: the time to the first token for a stream that has samples."""
    if type(usages) is not dict:
        raise Unserved(decline.LATENCIES_MAP)
    mean = _average(usages.get("latency", []))
    first_tokens = _times(usages.get("time_to_first_token_seconds", [])) if streaming else []
    if not first_tokens:
        return mean
    if percentile is None:
        return _average(first_tokens)
    first = sorted(first_tokens)[ceil(len(first_tokens) * percentile) - 1]
    if type(first) is not float:
        raise Unserved(decline.LATENCIES_TYPE)
    return first


def _usage_key(group: _Group, key: Any, minute: str) -> int:
    """Return twice the place of the deployment whose tokens of ``minute`` are kept under ``key``, one more for its
    requests; -1 for any other key."""
    if type(key) is not str:
        return -1
    name, _, kept_minute = key.rpartition(":")
    name, _, kind = name.rpartition(":")
    if kept_minute != minute or kind not in ("tpm", "rpm"):
        return -1
    model_id, _, model = name.partition(":")
    place = group.places.get(model_id)
    if place is None or group.deployments[place]["litellm_params"]["model"] != model:
        return -1
    return 2 * place + (kind == "rpm")


class _Index:
    """What is remembered of one router: its settings, its cooldowns and its model groups."""

    def __init__(self, reader: Reader, router: weakref.ref[Any]) -> None:
        self.router = router
        self.cooldowns = _Cooldowns()
        self.health = reader.health()
        self.groups: dict[Any, _Group] = {}
        self.listings: Listings = reader.listings()
        self.disagreeing: Any = None

    def group(
        self,
        reader: Reader,
        name: str,
        team: str | None,
        indices: list[int],
        model_list: list[Deployment],
        known: dict[str, int],
    ) -> _Group:
        """Return the model group called ``name``, by a ``team`` if one is given."""
        key = name if team is None else (team, name)
        group = self.groups.get(key)
        if group is None or group.changed(indices, model_list, known):
            group = _Group(reader, name, team, indices, model_list, known)
            if group.changed(indices, model_list, known):
                raise _Changing(decline.LIST_CHANGING)
            self.groups[key] = group
        return group

    def having(self, reader: Reader, model: str, model_list: list[Deployment], known: dict[str, int]) -> _Group:
        """Return the deployments whose own model is ``model``."""
        roster = self.listings.roster(model_list)
        indices = roster.owners.get(model)
        group: _Group | None = roster.groups.get(model)
        if indices is None:
            raise Unserved(decline.NO_DEPLOYMENT_OF_MODEL)
        if group is None or group.changed(indices, model_list, known):
            group = roster.groups[model] = _Group(reader, None, None, indices, model_list, known, None, model)
        return group

    def wildcard(
        self, reader: Reader, source: Any, name: str, team: str | None, known: dict[str, int]
    ) -> _Group | None:
        """Return the group of the first pattern of ``source`` that matches, or None."""
        matched = self.listings.matching(source, team, name)
        if matched is None:
            return None
        group: _Group | None = matched.groups.get(name)
        if group is None or group.changed(group.indices, matched.models, known):
            indices = list(range(len(matched.models)))
            rendered = reader.rendered(source, matched.asked)
            group = matched.groups[name] = _Group(reader, None, team, indices, matched.models, known, rendered, name)
        return group


class Chooser:
    """Chooses deployments for routers whose settings it fully understands; declines every other call.

    ``gate`` counts what is declined; ``reader`` reads routers and deployments as LiteLLM does
    (``components.routing.Reader``).
    """

    def __init__(self, gate: Gate, reader: Reader) -> None:
        self._gate = gate
        self._reader = reader
        self._code = Bindings(reader.code)
        self._litellm: dict[str, Any] = reader.litellm
        self._logging: dict[str, Any] = reader.logging
        self._random: Random = reader.random
        self._indexes: dict[int, _Index] = {}

    def forget(self) -> None:
        """Drop everything remembered of any router."""
        self._indexes.clear()

    def choose(
        self,
        router: object,
        model: object,
        messages: object = None,
        input: object = None,
        specific_deployment: object = False,
        request_kwargs: object = None,
    ) -> object:
        """Return the deployment ``Router.get_available_deployment`` would choose, or ``DECLINED``."""
        try:
            return self._settled(router, model, messages, input, specific_deployment, request_kwargs, False)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])

    def choose_async(
        self,
        router: object,
        model: object,
        request_kwargs: object,
        messages: object = None,
        input: object = None,
        specific_deployment: object = False,
    ) -> object:
        """Return the deployment ``Router.async_get_available_deployment`` would choose, or ``DECLINED``."""
        try:
            return self._settled(router, model, messages, input, specific_deployment, request_kwargs, True)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])

    def check(self, router: Any) -> Any:
        """Return the in-memory cache of a router that is understood. Raises ``Unserved``."""
        if type(router) is not self._reader.router_type:
            raise Unserved(decline.ROUTER_SUBCLASS)
        return self.check_cache(router.__dict__["cache"])

    def check_process(self) -> None:
        """Raise ``Unserved`` where LiteLLM's routing is patched, or settings make it log or trace what it does."""
        if self._code.changed():
            raise Unserved(decline.ROUTING_PATCHED)
        self._check_settings()

    def check_cache(self, cache: Any) -> Any:
        """Return the in-memory half of a cache without Redis. Raises ``Unserved``."""
        self.check_process()
        store = cache.in_memory_cache
        if type(cache) is not self._reader.cache_type or type(store) is not self._reader.memory_type:
            raise Unserved(decline.ROUTING_CACHE)
        reader = self._reader
        if not cache.__dict__.keys() <= reader.cache_fields or not store.__dict__.keys() <= reader.memory_fields:
            raise Unserved(decline.ROUTER_PART_METHODS)
        if cache.redis_cache is not None:
            raise Unserved(decline.ROUTING_REDIS)
        return store

    def listed(self, router: Any, model_name: Any, model_alias: Any = None, team_id: Any = None) -> Any:
        """Return the deployments ``Router.get_all_deployments`` would list, or ``DECLINED``."""
        try:
            return self._deployments(router, model_name, model_alias, team_id)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])

    def _deployments(self, router: Any, name: Any, alias: Any, team: Any) -> list[Deployment]:
        if type(router) is not self._reader.router_type:
            raise Unserved(decline.ROUTER_SUBCLASS)
        if self._code.changed():
            raise Unserved(decline.ROUTING_PATCHED)
        state = router.__dict__
        if type(name) is not str or alias is not None:
            raise Unserved(decline.MODEL_NAME_TYPE)
        if team is not None and (team, name) in state["team_model_to_deployment_indices"]:
            raise Unserved(decline.TEAM_DEPLOYMENTS)
        known = state["model_id_to_deployment_index_map"]
        indices = state["model_name_to_deployment_indices"].get(name)
        if type(indices) is not list or not LISTING_METHODS.isdisjoint(state):
            raise Unserved(decline.UNKNOWN_GROUP)
        group = self._index(router).group(self._reader, name, None, indices, state["model_list"], known)
        if group.refusal is not None:
            raise Unserved(group.refusal)
        return group.deployments.copy()

    def _settled(
        self, router: Any, model: Any, messages: Any, input: Any, specific: Any, request: Any, asynchronous: bool
    ) -> Deployment:
        """Serve a call. While another thread removes a deployment, wait, once only for lists that go on to disagree.

        In an event loop nobody may wait: such a choice is left to stock.
        """
        if running_loop() is not None:
            return self._serve(router, model, messages, input, specific, request, asynchronous)
        for _ in range(PATIENCE):
            try:
                return self._serve(router, model, messages, input, specific, request, asynchronous)
            except _Changing:
                index = self._index(router)
                lists = self._lists(router.__dict__)
                if lists == index.disagreeing:
                    raise
                time.sleep(PAUSE)
        index.disagreeing = lists
        return self._serve(router, model, messages, input, specific, request, asynchronous)

    def _lists(self, state: dict[str, Any]) -> tuple[int, dict[str, int], dict[str, list[int]]]:
        """Return what tells whether the router's lists have been written to."""
        known, table = state["model_id_to_deployment_index_map"], state["model_name_to_deployment_indices"]
        return len(state["model_list"]), dict(known), dict(table)

    def _serve(
        self, router: Any, model: Any, messages: Any, input: Any, specific: Any, request: Any, asynchronous: bool
    ) -> Deployment:
        if type(router) is not self._reader.router_type:
            raise Unserved(decline.ROUTER_SUBCLASS)
        if self._code.changed():
            raise Unserved(decline.ROUTING_PATCHED)
        self._check_settings()
        index = self._index(router)
        state = router.__dict__
        refusal, strategy, selector, _ = self._reader.router(router)
        if refusal is not None:
            raise Unserved(refusal)
        if strategy == "usage-based-routing":
            asynchronous = False  # stock's coroutine hands this strategy to its synchronous sibling
        elif strategy == "cost-based-routing" and not asynchronous:
            raise Unserved(decline.NO_SYNC_CHOICE)
        self._check_router(state)
        if type(model) is not str:
            raise Unserved(decline.MODEL_NAME_TYPE)
        known = state["model_id_to_deployment_index_map"]
        if len(state["model_list"]) != len(known):
            raise _Changing(decline.SHARED_ID)
        if request is None and asynchronous:
            raise Unserved(decline.NO_REQUEST)
        team, caller, web_search = self._check_request(request, asynchronous)
        name = model
        if specific is True:
            if name in state["model_names"] or name in state["model_name_to_deployment_indices"]:
                raise Unserved(decline.SPECIFIC_LIKE_GROUP)
            group = index.having(self._reader, name, state["model_list"], known)
        elif name not in state["model_names"] and name in known:
            return index.listings.deployment(router, name, _at(state["model_list"], [known[name]])[0])
        else:
            name = self._group_name(state, model)
            group = self._find(index, state, name, team, caller, known)
        if group.refusal is not None:
            raise (_Changing if group.misplaced else Unserved)(group.refusal)
        pool = group.available(index.cooldowns.now(self._cooldown_store(state), known))
        if not pool.places:
            raise Unserved(decline.NONE_AVAILABLE)
        if asynchronous:
            self._check_callbacks()
        granted = None
        if caller is not None and specific is not True and name in state["model_names"]:
            granted = group.filters.granted(router, caller)
        if granted is not None or self._narrows(group, state, messages, input, request, web_search):
            left = group.filters.left(
                router, index.health, pool.out, granted, messages, input, request, web_search, asynchronous
            )
            if left is not None:
                if left.pool is None:
                    left.pool = _Pool(group, pool.out, left.places, left.considered)
                pool = left.pool
                if not pool.places:
                    raise Unserved(decline.NONE_AVAILABLE)
        if strategy == "simple-shuffle":
            chosen = pool.drawn(self._reader, self._random)
        else:
            called = model if asynchronous else name
            chosen = self._measured(
                strategy, selector, group, pool, state, called, messages, input, request, asynchronous
            )
        if request is not None:
            for key in STEERING_KEYS:
                request.pop(key, None)
        if group.rendered:
            place = group.places[chosen["model_info"]["id"]]
            copy: Deployment = self._reader.copied(group.listed[place])
            copy["litellm_params"]["model"] = chosen["litellm_params"]["model"]
            return copy
        return chosen

    def _narrows(
        self, group: _Group, state: dict[str, Any], messages: Any, input: Any, request: Any, web: bool
    ) -> bool:
        """Return whether something beside cooldowns may leave out deployments for this request."""
        if web or state["enable_health_check_routing"] or state["enable_tag_filtering"] or group.filters.tagging:
            return True
        if state["enable_pre_call_checks"] and (messages is not None or input is not None):
            return True
        if request is None:
            return False
        return request.get("enable_tag_filtering") is True or any(key in request for key in STEERING_KEYS)

    def _find(
        self, index: _Index, state: dict[str, Any], name: str, team: str | None, caller: Any, known: dict[str, int]
    ) -> _Group:
        """Return the model group a request reaches by ``name``: its team's, the router's, or a wildcard's."""
        model_list = state["model_list"]
        table = state["model_name_to_deployment_indices"]
        indices = None if team is None else state["team_model_to_deployment_indices"].get((team, name))
        if indices:
            if type(indices) is not list or name in table:
                raise Unserved(decline.TEAM_DEPLOYMENTS)
            return index.group(self._reader, name, team, indices, model_list, known)
        if name in state["model_names"]:
            indices = table.get(name)
            if type(indices) is not list:
                index.groups.pop(name, None)
                raise Unserved(decline.UNKNOWN_GROUP)
            return index.group(self._reader, name, None, indices, model_list, known)
        if name in table or state["default_deployment"] is not None:
            raise Unserved(decline.UNKNOWN_GROUP)
        if team is not None:
            names = index.listings.roster(model_list).names
            if name in names or (team, name) in names:
                raise Unserved(decline.TEAM_DEPLOYMENTS)
        elif caller is not None and any(
            name == called for _, called in list(state["team_model_to_deployment_indices"])
        ):
            raise Unserved(decline.TEAM_DEPLOYMENTS)
        group = index.wildcard(self._reader, state["pattern_router"], name, None, known)
        if group is None and team is not None and team in state["team_pattern_routers"]:
            group = index.wildcard(self._reader, state["team_pattern_routers"][team], name, team, known)
        if group is None:
            raise Unserved(decline.UNKNOWN_GROUP)
        return group

    def _index(self, router: Any) -> _Index:
        key = id(router)
        index = self._indexes.get(key)
        if index is None or index.router() is not router:
            indexes = self._indexes
            index = _Index(self._reader, weakref.ref(router, lambda gone: indexes.pop(key, None)))
            self._indexes[key] = index
        return index

    def _check_settings(self) -> None:
        """Raise ``Unserved`` where process-wide settings make stock log or trace a choice."""
        if self._litellm["set_verbose"] or self._logging["set_verbose"]:
            raise Unserved(decline.ROUTING_VERBOSE)
        if self._reader.router_log.isEnabledFor(20):
            raise Unserved(decline.LOGGING.of("LiteLLM Router", "INFO"))
        if self._reader.log.isEnabledFor(10):
            raise Unserved(decline.LOGGING.of("LiteLLM", "DEBUG"))
        proxy = sys.modules.get("litellm.proxy.proxy_server")
        if proxy is not None and getattr(proxy, "open_telemetry_logger", None) is not None:
            raise Unserved(decline.ROUTING_TRACED)

    def _check_router(self, state: dict[str, Any]) -> None:
        """Raise ``Unserved`` where one of the router's own containers asks for more than a plain choice."""
        for name, reason in EMPTY_CONTAINERS:
            if state.get(name):
                raise Unserved(reason)

    def _group_name(self, state: dict[str, Any], model: str) -> str:
        """Return the model group that ``model`` names, through the router's aliases."""
        name = model
        aliases = state["model_group_alias"]
        if aliases:
            target = aliases.get(model)
            if type(target) is dict:
                target = target.get("model")
            if type(target) is str and target:
                name = target
            elif target is not None:
                raise Unserved(decline.ALIAS_TYPE)
        renamed = self._litellm["model_alias_map"]
        if renamed and name in renamed:
            raise Unserved(decline.MODEL_ALIAS_MAP)
        return name

    def _check_request(self, request: Any, asynchronous: bool) -> tuple[str | None, Any, bool]:
        """Return a request's team, its caller, and whether it searches the web.

        Raises ``Unserved`` where its arguments change the choice in ways only stock knows, or stock would change them.
        """
        if request is None:
            return None, None, False
        if type(request) is not dict:
            raise Unserved(decline.REQUEST_TYPE)
        for key in request:
            if type(key) is not str:
                raise Unserved(decline.REQUEST_TYPE)
            if key in UNSERVED_KEYS:
                raise Unserved(decline.REQUEST_STEERS.of(key))
        for key in UNSERVED_UNLESS_NONE:
            if request.get(key) is not None:
                raise Unserved(decline.REQUEST_STEERS.of(key))
        team = caller = None
        for field in ("metadata", "litellm_metadata"):
            metadata = request.get(field)
            if metadata is None:
                continue
            if type(metadata) is not dict:
                raise Unserved(decline.METADATA_TYPE)
            if asynchronous and any(key in metadata for key in UNSERVED_METADATA):
                raise Unserved(decline.EARLIER_DECISION)
            if team is None:
                team = metadata.get("user_api_key_team_id")
                if not isinstance(team, str) or not team:
                    team = None
                elif type(team) is not str:
                    raise Unserved(decline.METADATA_TYPE)
            caller = caller or metadata.get("user_api_key_auth")
        web_search = bool(asynchronous and request.get("tools")) and self._reader.searches_web(request["tools"])
        if asynchronous and request.get("_context_compaction_state") is not None:
            self._reader.disarm(request["_context_compaction_state"])
        return team, caller, web_search

    def _check_callbacks(self) -> None:
        """Raise ``Unserved`` where a callback filters deployments."""
        callbacks = self._litellm["callbacks"]
        if type(callbacks) is not list:
            raise Unserved(decline.ROUTING_CALLBACKS_TYPE)
        for callback in callbacks:
            if type(callback) is not str and isinstance(callback, self._reader.callback_type):
                function = getattr(type(callback), "async_filter_deployments", None)
                if function is not self._reader.no_filter and not self._reader.keeps_all(function):
                    raise Unserved(decline.ROUTING_FILTERED.of(type(callback).__name__))
                if "async_filter_deployments" in callback.__dict__:
                    raise Unserved(decline.ROUTING_FILTERED.of(type(callback).__name__))

    def _cooldown_store(self, state: dict[str, Any]) -> Any:
        """Return the in-memory cache the router keeps its cooldowns in."""
        cooldowns = state["cooldown_cache"]
        shared = cooldowns._cooldown_store
        store = cooldowns.in_memory_cache
        if type(shared) is not self._reader.cache_type or type(store) is not self._reader.memory_type:
            raise Unserved(decline.ROUTING_CACHE)
        if shared.in_memory_cache is not store or cooldowns.cache is not state["cache"]:
            raise Unserved(decline.ROUTING_CACHE)
        if shared.redis_cache is not None or state["cache"].redis_cache is not None:
            raise Unserved(decline.ROUTING_REDIS)
        return store

    def _measured(
        self,
        strategy: str,
        selector: Any,
        group: _Group,
        pool: _Pool,
        state: dict[str, Any],
        group_name: str,
        messages: Any,
        input: Any,
        request: Any,
        asynchronous: bool,
    ) -> Deployment:
        """Return the pick of a strategy that looks at what has been measured."""
        cache = state["cache"]
        if not group.plain:
            raise Unserved(decline.DEPLOYMENT_UNCOPYABLE)
        if self._litellm["redact_user_api_key_info"]:
            raise Unserved(decline.ROUTING_REDACTED)
        if asynchronous and self._litellm["service_callback"]:
            raise Unserved(decline.ROUTING_SERVICES)
        if selector.router_cache is not cache:
            raise Unserved(decline.ROUTING_CACHE)
        store = cache.in_memory_cache
        if type(cache) is not self._reader.cache_type or type(store) is not self._reader.memory_type:
            raise Unserved(decline.ROUTING_CACHE)
        if strategy == "least-busy":
            return self._least_busy(group, pool, store, group_name)
        if strategy == "cost-based-routing":
            return self._cheapest(group, pool, store, group_name, messages, input)
        if strategy == "latency-based-routing":
            return self._fastest(group, pool, store, selector, group_name, messages, input, request)
        if strategy == "usage-based-routing-v2":
            return self._least_used(group, pool, store, messages, input, asynchronous)
        return self._least_used_since(group, pool, store, group_name, messages, input)

    def _least_busy(self, group: _Group, pool: _Pool, store: Any, group_name: str) -> Deployment:
        """Return the first of the deployments with the fewest requests in flight."""
        now = store._clock()
        counts = []
        for place in pool.places:
            key = f"{group_name}_request_count:{group.ids[place]}"
            value = _kept(store.cache_dict, store.ttl_dict, key, now)
            if value is not None and type(value) is not int:
                raise Unserved(decline.CACHED_VALUE)
            counts.append(0.0 if value is None else _number(value))
        return pool.deployments[counts.index(min(counts))]

    def _cheapest(
        self, group: _Group, pool: _Pool, store: Any, group_name: str, messages: Any, input: Any
    ) -> Deployment:
        """Return the cheapest deployment within its limits; of equals the one first in the group's cost map."""
        usage = _mapping(_kept(store.cache_dict, store.ttl_dict, f"cost_map:{group_name}", store._clock()))
        limits = group.limits(self._reader, False)
        minute = self._reader.minute("lowest_cost")
        if group.prices is None or group.prices.changed(self._litellm["model_cost"]):
            group.prices = _Prices(self._reader, self._litellm["model_cost"], group.deployments)
        usage = usage or None
        rank = pool.places
        if usage is not None:
            self._introduce(group, pool, usage, minute, False)
            named = [found for found in map(group.places.get, list(usage)) if found is not None]
            rank = [place for place in named if pool.member[place]]
        tokens = None
        for place in sorted(rank, key=group.prices.costs.__getitem__):
            limit = limits[place]
            if limit is None:
                return group.deployments[place]
            if tokens is None:
                tokens = self._reader.tokens("lowest_cost", messages, input)
            if _within(limit, None if usage is None else _mapping(usage.get(group.ids[place])), minute, tokens):
                return group.deployments[place]
        raise Unserved(decline.NONE_WITHIN_LIMITS)

    def _introduce(self, group: _Group, pool: _Pool, usage: dict[str, Any], minute: str, with_latency: bool) -> None:
        """Enter into ``usage`` the available deployments it does not name yet, as stock does."""
        for place in pool.places:
            if group.ids[place] not in usage:
                counts = {minute: {"tpm": 0, "rpm": 0}}
                usage[group.ids[place]] = {"latency": [0], **counts} if with_latency else counts

    def _fastest(
        self,
        group: _Group,
        pool: _Pool,
        store: Any,
        selector: Any,
        group_name: str,
        messages: Any,
        input: Any,
        request: dict[str, Any] | None,
    ) -> Deployment:
        """Return one of the deployments whose mean latency is within the buffer of the lowest, at random."""
        usage = _mapping(_kept(store.cache_dict, store.ttl_dict, f"{group_name}_map", store._clock())) or {}
        limits = group.limits(self._reader, False)
        arguments = selector.routing_args
        buffer = _number(arguments.lowest_latency_buffer)
        field = "litellm_metadata" if request is not None and "litellm_metadata" in request else "metadata"
        reported = request is not None and field in request
        if request is not None and reported and type(request[field]) is not dict:
            raise Unserved(decline.METADATA_TYPE)
        streaming = request is not None and request.get("stream") is True
        minute = self._reader.minute("lowest_latency")
        self._introduce(group, pool, usage, minute, True)
        tokens: Any = None
        entries: list[tuple[int, float, bool]] = []
        for model_id, usages in list(usage.items()):
            place = group.places.get(model_id, -1)
            if place < 0 or not pool.member[place]:
                entries.append((-1, inf, False))
                continue
            latency = _latency(usages, streaming, arguments.ttft_percentile)
            limit = limits[place]
            if limit is not None and tokens is None:
                tokens = self._reader.tokens("lowest_latency", messages, input)
            fits = limit is None or _within(limit, usages, minute, tokens)
            entries.append((place, latency, fits))
        lowest = min((latency for _, latency, fits in entries if fits), default=None)
        if lowest is None:
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        drawn = [entries[index] for index in shuffled(self._random, len(entries))]
        fitting = [(place, latency) for place, latency, fits in drawn if fits and latency <= lowest + buffer * lowest]
        fitting.sort(key=lambda entry: entry[1])
        if request is not None and reported:
            bases = self._reader.api_bases(group.deployments)
            request[field]["_latency_per_deployment"] = {
                bases[place]: latency for place, latency, _ in drawn if place >= 0 and bases[place] is not None
            }
        return group.deployments[self._random.choice(fitting)[0]]

    def _least_used(
        self, group: _Group, pool: _Pool, store: Any, messages: Any, input: Any, asynchronous: bool
    ) -> Deployment:
        """Return one of the deployments with the fewest tokens this minute and room for one more call, at random.

        Stock's coroutine reads the counters of all it considered, its synchronous sibling those of the pool.
        """
        entries, expiries, now = store.cache_dict, store.ttl_dict, store._clock()
        limits = group.limits(self._reader, True)
        minute = self._reader.minute_utc()
        if group.colons:
            raise Unserved(decline.ID_WITH_COLON)
        tokens_used: dict[int, Any] = {}
        requests: dict[int, Any] = {}
        for key in list(entries):
            code = _usage_key(group, key, minute)
            if code >= 0 and (pool.considered if asynchronous else pool.member)[code >> 1]:
                value = _kept(entries, expiries, key, now)
                if value is not None and pool.member[code >> 1]:
                    _number(value)
                    (requests if code & 1 else tokens_used)[code >> 1] = value
        tokens = None
        least = inf
        fitting: list[Deployment] = []
        for place in pool.places:
            spent = tokens_used.get(place, 0)
            limit = limits[place]
            if limit is not None:
                if tokens is None:
                    tokens = self._reader.tokens("lowest_tpm_rpm_v2", messages, input)
                called = requests.get(place)
                if spent + tokens > limit[0] or (called is not None and called + 1 >= limit[1]):
                    continue
            if spent < least:
                least = spent
                fitting = []
            if spent == least:
                fitting.append(group.deployments[place])
        if not fitting:
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        return self._random.choice(fitting)

    def _least_used_since(
        self, group: _Group, pool: _Pool, store: Any, group_name: str, messages: Any, input: Any
    ) -> Deployment:
        """Return the first deployment, in the order of the group's map, with the fewest tokens this minute."""
        entries, expiries, now = store.cache_dict, store.ttl_dict, store._clock()
        limits = group.limits(self._reader, True)
        minute = self._reader.hour_minute()
        usage = _mapping(_kept(entries, expiries, f"{group_name}:tpm:{minute}", now))
        calls = _mapping(_kept(entries, expiries, f"{group_name}:rpm:{minute}", now))
        if usage is None:
            usage = {}
        for place in pool.places:
            usage.setdefault(group.ids[place], 0)
        tokens = None
        least = inf
        chosen = None
        for model_id, value in list(usage.items()):
            found = group.places.get(model_id)
            if found is None or not pool.member[found]:
                continue
            spent = _number(value)
            limit = limits[found]
            if limit is not None:
                if tokens is None:
                    tokens = self._reader.tokens("lowest_tpm_rpm", messages, input)
                if value + tokens > limit[0] or (
                    calls is not None and model_id in calls and _number(calls[model_id]) + 1 >= limit[1]
                ):
                    continue
            if spent < least:
                least = spent
                chosen = found
        if chosen is None:
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        return group.deployments[chosen]
