"""What narrows the choice of component ``routing`` to a part of a model group: health, pre-call checks, tags, retries.

Stock walks through every filter on every request. Here a request's demands become a ``FilterKey``, a few values that
can be compared; the deployments that meet it are worked out once, where the filter is intricate by stock's own
function, and remembered by it for as long as the deployments stay as they are.
"""

from __future__ import annotations

import importlib
import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from litellm_accel.fastpath import decline
from litellm_accel.hot import routing as _hot
from litellm_accel.stock import seams
from litellm_accel.stock.providers import MAPPED

Deployment = dict[str, Any]

_NUMBERS = (int, float)
_LONGEST_COUNTED = 32_768  # characters; longer prompts are counted by stock, off the event loop
_REMEMBERED = 256  # demands of requests, a group
_TOKENS_AROUND_MESSAGE = 8  # at most: what a message costs beside its texts, and a reply's primer


class Tags(NamedTuple):
    """What tag routing reads of a request and the router."""

    field: str
    tagged: bool  # whether the request has that metadata at all
    tags: tuple[str, ...]
    inherited: tuple[str, ...] | None
    user_agent: str
    match_any: Any
    prefix: Any


class FilterKey(NamedTuple):
    """What leaves out deployments of a group for one request, beside cooldowns."""

    granted: frozenset[str] | None  # the access groups through which alone the caller may reach the group
    web_search: bool
    sick: frozenset[str]
    over: frozenset[int]  # the places that pre-call checks leave out
    tags: Tags | None
    order: Any
    excluded: frozenset[str]
    skipped: frozenset[str]


PLAIN = FilterKey(None, False, frozenset(), frozenset(), None, None, frozenset(), frozenset())


class Match(NamedTuple):
    """The deployment tag routing matched first, which stock notes in the request's metadata."""

    deployment: Any
    via: str
    value: str


class Tools:
    """The functions of LiteLLM that filters are worked out with."""

    def __init__(self, litellm: dict[str, Any]) -> None:
        tags = importlib.import_module("litellm.router_strategy.tag_based_routing")
        self.litellm = litellm
        self._for_tag = tags.get_deployments_for_tag
        self._asks_for_all = bool(seams.taken_by(self._for_tag, {"request_deployments": ()}))
        self._tags_in = tags._tags_in_metadata
        self._routing_tags: str = importlib.import_module("litellm.constants").ROUTING_REQUEST_TAGS_METADATA_KEY

    def for_tag(self, router: Any, name: Any, left: list[Any], request: Any, field: Any, deployments: Any) -> Any:
        """Return a coroutine that chooses by tags among those that are ``left`` of a request's ``deployments``."""
        if self._asks_for_all:
            return self._for_tag(router, name, left, request, field, request_deployments=deployments)
        return self._for_tag(router, name, left, request, field)

    def tags_in(self, metadata: dict[str, Any]) -> list[str]:
        """Return the tags a request's metadata holds, as tag routing reads them."""
        found: list[str] = self._tags_in(metadata, self._routing_tags if self._routing_tags in metadata else "tags")
        return found


class Health:
    """The deployments of one router that its background health checks found unhealthy."""

    def __init__(self, cache_type: type, memory_type: type, health_type: type) -> None:
        self._kinds = (health_type, cache_type, memory_type)
        self._states: Any = None
        self._threshold = 0.0
        self._seen: Any = None
        self._sick: frozenset[str] = frozenset()
        self._until = 0.0

    def sick(self, router: Any) -> frozenset[str]:
        """Return the ids that are left out for their health. Raises ``Unserved``."""
        if not router.enable_health_check_routing:
            return frozenset()
        if router.allowed_fails_policy is not None and router.background_health_check_model_groups is None:
            return frozenset()
        health = router.health_state_cache
        if (type(health), type(health.cache), type(health.cache.in_memory_cache)) != self._kinds:
            raise decline.Unserved(decline.ROUTER_PART_CLASS)
        if health.cache.redis_cache is not None:
            raise decline.Unserved(decline.ROUTING_REDIS)
        states = health.cache.in_memory_cache.get_cache(health.CACHE_KEY)
        if not states:
            return frozenset()
        if type(states) is not dict:
            raise decline.Unserved(decline.CACHED_VALUE)
        now = time.time()
        threshold = health.staleness_threshold
        if self._states is not states or self._threshold != threshold or now >= self._until or self._seen.changed():
            self._read(states, now, threshold)
        return self._sick

    def _read(self, states: dict[str, Any], now: float, threshold: float) -> None:
        self._seen = _hot.Snapshot([states, *(state for state in states.values() if type(state) is dict)])
        ages = {
            name: now - state.get("timestamp", 0)
            for name, state in states.items()
            if isinstance(state, dict) and not state.get("is_healthy", True)
        }
        self._sick = frozenset(name for name, age in ages.items() if age < threshold)
        # Read again before an age can pass the threshold, however the difference is rounded.
        self._until = now + min((threshold - ages[name] for name in self._sick), default=threshold) * 0.999 - 1e-3
        if any(age >= threshold for age in ages.values()):
            self._until = now  # a clock that is set back makes them count again
        self._states, self._threshold = states, threshold


class Checks:
    """What pre-call checks know of a model group: context windows, limits, regions, supported parameters."""

    def __init__(self, router: Any, name: str, deployments: Sequence[Deployment], litellm: Mapping[str, Any]) -> None:
        self._litellm = litellm
        self._deployments = deployments
        self._params_type = importlib.import_module("litellm.types.router").LiteLLM_Params
        self._supported_params = importlib.import_module("litellm").get_supported_openai_params
        self._utc = importlib.import_module("litellm.router").get_utc_datetime
        table = litellm["model_cost"]
        rows: dict[str, Any] = {}
        self._providers: list[str] = []
        self._windows: list[int | None] = []
        for deployment in deployments:
            window, provider, key = self._resolved(router, name, deployment)
            self._windows.append(window)
            self._providers.append(provider)
            if type(table.get(key)) is dict:
                rows[key] = table[key]
        self._table = table
        self._seen = _hot.Snapshot([table, *rows.values()])
        self._limits = [deployment["litellm_params"].get("rpm") for deployment in deployments]
        self._at_zero = frozenset(
            place for place, limit in enumerate(self._limits) if isinstance(limit, int) and limit <= 0
        )
        self._smallest = min((window for window in self._windows if window is not None), default=None)
        self._regions: list[Any] | None = None
        self._formats: list[bool] | None = None

    def _resolved(self, router: Any, name: str, deployment: Deployment) -> tuple[int | None, str, Any]:
        """Return a deployment's context window, its provider, and the row of the price map both come from."""
        params, info = deployment["litellm_params"], deployment["model_info"]
        base = info.get("base_model")
        base = params.get("base_model") if base is None else base
        if router._discovered_model_info_cache.cache_dict or "*" in params["model"]:
            raise decline.Unserved(decline.CHANGING_LIMITS)
        provider = self._provider(params, params["model"])
        if provider not in MAPPED and not (provider == "azure" and base is not None):
            raise decline.Unserved(decline.CHANGING_LIMITS)
        if base is not None and self._provider(params, base) not in MAPPED | {"azure"}:
            raise decline.Unserved(decline.CHANGING_LIMITS)
        try:
            found = router.get_router_model_info(deployment=deployment, received_model_name=name)
        except Exception as error:  # stock fails the same way, and says so in its log
            raise decline.Unserved(decline.MODEL_UNPRICED) from error
        window = found.get("max_input_tokens") if isinstance(found, dict) else None
        return (window if isinstance(window, int) else None), provider, found.get("key")

    def _provider(self, params: dict[str, Any], model: Any) -> str:
        try:
            return str(
                self._litellm["get_llm_provider"](model=model, litellm_params=self._params_type.model_validate(params))[
                    1
                ]
            )
        except Exception as error:  # stock skips what it cannot resolve, and says so in its log
            raise decline.Unserved(decline.MODEL_OF_UNKNOWN_PROVIDER) from error

    def changed(self) -> bool:
        """Return whether the price map has been written to since."""
        return self._litellm["model_cost"] is not self._table or bool(self._seen.changed())

    def over(
        self,
        router: Any,
        name: str,
        ids: Sequence[str],
        candidates: Sequence[int],
        messages: Any,
        input: Any,
        request: dict[str, Any] | None,
        asynchronous: bool,
    ) -> frozenset[int]:
        """Return the places whose window, limit, region or parameters do not suit the request."""
        if router._discovered_model_info_cache.cache_dict:
            raise decline.Unserved(decline.CHANGING_LIMITS)
        found = self._too_long(router, messages, input, request, asynchronous)
        found = found | self._at_limit(router, name, ids, candidates, found)
        if request is None:
            return found
        region = request.get("allowed_model_region")
        if region is not None:
            if self._regions is None:
                self._regions = [
                    self._params_type.model_validate(deployment["litellm_params"]).region_name
                    for deployment in self._deployments
                ]
            found = found | {place for place, there in enumerate(self._regions) if there != region}
        if request.get("response_format") is not None and self._litellm["drop_params"] is False:
            if self._formats is None:
                self._formats = [
                    self._takes_format(deployment, provider)
                    for deployment, provider in zip(self._deployments, self._providers, strict=True)
                ]
            found = found | {place for place, takes in enumerate(self._formats) if not takes}
        return found

    def _takes_format(self, deployment: Deployment, provider: str) -> bool:
        params = deployment["litellm_params"]
        base = deployment["model_info"].get("base_model")
        base = params.get("base_model") if base is None else base
        model, provider, _, _ = self._litellm["get_llm_provider"](
            model=base or params["model"], litellm_params=self._params_type.model_validate(params)
        )
        supported = self._supported_params(model=model, custom_llm_provider=provider)
        return supported is None or "response_format" in supported

    def _too_long(
        self, router: Any, messages: Any, input: Any, request: dict[str, Any] | None, asynchronous: bool
    ) -> frozenset[int]:
        """Return the places whose context window is smaller than the prompt."""
        if self._smallest is None:
            return frozenset()
        if request is not None and request.get("_context_compaction_state") is not None:
            raise decline.Unserved(decline.CONTEXT_COMPACTION)
        try:
            size, sure = _measure(messages, input, request)
        except (TypeError, ValueError) as error:
            raise decline.Unserved(decline.PROMPT_UNCOUNTABLE) from error
        if sure and size <= self._smallest:
            return frozenset()
        if asynchronous and size > _LONGEST_COUNTED:
            raise decline.Unserved(decline.PROMPT_COUNTED_ELSEWHERE)
        try:
            tokens = router._count_pre_call_check_tokens(messages=messages, input=input, request_kwargs=request)
        except Exception as error:  # stock goes on without a count, and says so in its log
            raise decline.Unserved(decline.PROMPT_UNCOUNTABLE) from error
        return frozenset(place for place, window in enumerate(self._windows) if window is not None and tokens > window)

    def _at_limit(
        self, router: Any, name: str, ids: Sequence[str], candidates: Sequence[int], too_long: frozenset[int]
    ) -> frozenset[int]:
        """Return the places whose requests this minute have reached their limit, as the local caches tell."""
        memory = router.cache.in_memory_cache
        counts = memory.get_cache(f"{name}:rpm:{self._utc():%H-%M}") or {}
        elsewhere = not isinstance(counts, dict) or router.routing_strategy == "usage-based-routing-v2"
        if memory.cache_dict.keys().isdisjoint(ids) and (elsewhere or not counts):
            return frozenset() if elsewhere else self._at_zero
        found = set()
        for place in candidates:
            if place in too_long:
                continue
            local = memory.get_cache(ids[place]) or 0
            if elsewhere:
                continue
            count = counts[ids[place]] = counts.get(ids[place], 0)
            if type(local) not in _NUMBERS or type(count) not in _NUMBERS:
                raise decline.Unserved(decline.CACHED_VALUE)
            limit = self._limits[place]
            if isinstance(limit, int) and limit <= max(local, count):
                found.add(place)
        return frozenset(found)


def _measure(messages: Any, input: Any, request: dict[str, Any] | None) -> tuple[int, bool]:
    """Return about how many characters a prompt has, and whether it surely has no more tokens than that.

    It has not where the prompt is text alone: a token stands for at least one byte of UTF-8. Raises ``Unserved`` for
    images and other parts that stock may have to fetch.
    """
    size, sure = _TOKENS_AROUND_MESSAGE, True
    others: list[Any] = [] if messages is not None else [input]
    for field in ("tools", "system", "instructions"):
        if request is not None and request.get(field):
            others.append(request[field])
    for message in messages or ():
        if type(message) is not dict:
            raise decline.Unserved(decline.PROMPT_COUNTED_ELSEWHERE)
        size += _TOKENS_AROUND_MESSAGE
        for key, value in message.items():
            if type(value) is str:
                size += _bytes(value)
            elif key == "content" and type(value) is list:
                size += sum(map(_part_bytes, value))
            elif value is not None:
                others.append(value)
    if others:
        size, sure = size + sum(len(json.dumps(value)) for value in others), False
    return size, sure


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


def _part_bytes(part: Any) -> int:
    if type(part) is not dict or part.get("type") != "text" or type(part.get("text")) is not str:
        raise decline.Unserved(decline.PROMPT_COUNTED_ELSEWHERE)
    return _bytes(part["text"])


def _access_groups(deployment: Deployment) -> Sequence[str]:
    groups = deployment["model_info"].get("access_groups") or []
    if type(groups) is not list or not all(type(group) is str for group in groups):
        raise decline.Unserved(decline.ACCESS_GROUPS_TYPE)
    return groups


class Remaining:
    """The deployments of a group that meet a narrowing; ``pool`` is what the chooser makes of them.

    ``considered`` are the places whose counters stock reads ahead: all but those left out for web search or health.
    """

    __slots__ = ("considered", "match", "narrowing", "places", "pool")

    def __init__(self, considered: list[int], places: list[int], narrowing: FilterKey, match: Match | None) -> None:
        self.considered = considered
        self.places = places
        self.narrowing = narrowing
        self.match = match
        self.pool: Any = None


class Filters:
    """What narrows the choice in a model group, and which deployments were left by earlier requests' demands.

    ``tagging`` is the group's own switch for tag routing, None where the router's counts.
    """

    def __init__(
        self,
        tools: Tools,
        name: str,
        deployments: Sequence[Deployment],
        ids: Sequence[str],
        blocked: Collection[int],
        orders: Sequence[int | None] | None,
        overridden: bool,
    ) -> None:
        self._tools = tools
        self._name = name
        self._deployments = deployments
        self._ids = ids
        self._blocked = blocked
        self._orders = orders
        self._patterned = any(deployment["litellm_params"].get("tag_regex") for deployment in deployments)
        # The group's own setting overrides the router's; names that are patterns or a team's have none.
        settings = (deployment["model_info"].get("enable_tag_filtering") for deployment in deployments)
        self.tagging = next((setting for setting in settings if setting is not None), None) if overridden else None
        self._access: list[Sequence[str]] | None = None
        self._checks: Checks | None = None
        self._standing: dict[tuple[frozenset[str], FilterKey], tuple[list[int], list[int]]] = {}
        self._left: dict[tuple[frozenset[str], FilterKey], Remaining] = {}

    def left(
        self,
        router: Any,
        health: Health,
        cooling: frozenset[str],
        granted: frozenset[str] | None,
        messages: Any,
        input: Any,
        request: dict[str, Any] | None,
        web_search: bool,
        asynchronous: bool,
    ) -> Remaining | None:
        """Return what is left for a request, None where nothing but ``cooling`` deployments is left out.

        Raises ``Unserved``.
        """
        narrowing = self._demands(request, granted, web_search, health.sick(router))
        if router.enable_pre_call_checks and (messages is not None or input is not None):
            if self._checks is None or self._checks.changed():
                self._checks = Checks(router, self._name, self._deployments, self._tools.litellm)
            _, standing = self._standing_now(router, cooling, narrowing, asynchronous)
            over = self._checks.over(router, self._name, self._ids, standing, messages, input, request, asynchronous)
            narrowing = narrowing._replace(over=over)
        if asynchronous and request is not None and self._is_tagging(router, request):
            narrowing = narrowing._replace(tags=self._tags(router, request))
        if narrowing == PLAIN:
            return None
        key = (cooling, narrowing)
        left = self._left.get(key)
        if left is None:
            if len(self._left) >= _REMEMBERED:
                self._left.clear()
            considered, standing = self._standing_now(router, cooling, narrowing, asynchronous)
            left = self._left[key] = self._work_out(router, considered, standing, narrowing)
        if left.match is not None and request is not None and narrowing.tags is not None:
            _stamp(request, narrowing.tags, left.match)
        return left

    def _is_tagging(self, router: Any, request: dict[str, Any]) -> bool:
        setting = router.enable_tag_filtering if self.tagging is None else self.tagging
        return request.get("enable_tag_filtering") is True or setting is True

    def granted(self, router: Any, caller: Any) -> frozenset[str] | None:
        """Return the access groups through which alone ``caller`` may reach the group, None if it may reach all.

        The rule of ``Router._filter_deployments_by_model_access_groups``. Raises ``Unserved``.
        """
        held = [getattr(caller, field, None) or [] for field in ("models", "team_models")]
        if not all(type(names) is list and all(type(name) is str for name in names) for names in held):
            raise decline.Unserved(decline.CALLER_MODELS_TYPE)
        allowed = frozenset(chain(*held))
        if not allowed or self._name in allowed or "*" in allowed or "all-proxy-models" in allowed:
            return None
        if self._name in router.model_group_alias:  # what the alias stands for counts, too
            raise decline.Unserved(decline.ACCESS_GROUPS_OF_ALIAS)
        if self._access is None:
            self._access = [_access_groups(deployment) for deployment in self._deployments]
        return allowed.intersection(chain(*self._access)) or None

    def _demands(
        self, request: dict[str, Any] | None, granted: frozenset[str] | None, web_search: bool, sick: frozenset[str]
    ) -> FilterKey:
        """Return what the request itself leaves out: tried deployments, all but an order, those without web search."""
        if request is None:
            return PLAIN._replace(sick=sick)
        excluded, skipped = request.get("_excluded_deployment_ids"), request.get("_retry_skipped_deployment_ids")
        order = request.get("_target_order")
        if order is not None and type(order) is not int:
            raise decline.Unserved(decline.REQUEST_STEERS.of("_target_order"))
        if not isinstance(excluded, (list, tuple, set, frozenset, type(None))):
            raise decline.Unserved(decline.REQUEST_STEERS.of("_excluded_deployment_ids"))
        tried = frozenset(item for item in excluded or () if isinstance(item, str))
        refused = frozenset(item for item in skipped if isinstance(item, str)) if isinstance(skipped, tuple) else ()
        return FilterKey(granted, web_search, sick, frozenset(), None, order, tried, frozenset(refused))

    def _tags(self, router: Any, request: dict[str, Any]) -> Tags:
        """Return what tag routing reads of a request. Raises ``Unserved``."""
        field = "litellm_metadata" if "litellm_metadata" in request else "metadata"
        settings = (router.tag_filtering_match_any, router.tag_routing_prefix)
        if field not in request:
            return Tags(field, False, (), None, "", *settings)
        metadata = request[field]
        if type(metadata) is not dict:
            raise decline.Unserved(decline.METADATA_TYPE)
        tags = self._tools.tags_in(metadata)
        inherited = metadata.get("inherited_tags")
        if not isinstance(inherited, (list, tuple)):
            inherited = None
        elif not all(type(tag) is str for tag in inherited):
            raise decline.Unserved(decline.METADATA_TYPE)
        agent = metadata.get("user_agent", "")
        if agent and type(agent) is not str:
            raise decline.Unserved(decline.METADATA_TYPE)
        return Tags(
            field,
            True,
            tuple(tags),
            None if inherited is None else tuple(inherited),
            agent if agent and self._patterned else "",
            *settings,
        )

    def _standing_now(
        self, router: Any, cooling: frozenset[str], narrowing: FilterKey, asynchronous: bool
    ) -> tuple[list[int], list[int]]:
        """Return the places that are left before cooldowns and before pre-call checks, in the group's order."""
        standing = PLAIN._replace(granted=narrowing.granted, web_search=narrowing.web_search, sick=narrowing.sick)
        key = (cooling, standing)
        places = self._standing.get(key)
        if places is None:
            if len(self._standing) >= _REMEMBERED:
                self._standing.clear()
            places = self._standing[key] = self._work_out_standing(router, cooling, narrowing, asynchronous)
        return places

    def _work_out_standing(
        self, router: Any, cooling: Collection[str], narrowing: FilterKey, asynchronous: bool
    ) -> tuple[list[int], list[int]]:
        deployments, ids = self._deployments, self._ids
        places = list(range(len(deployments)))
        if narrowing.granted is not None and self._access is not None:
            places = [place for place in places if narrowing.granted.intersection(self._access[place])]
        if narrowing.web_search:
            places = [place for place in places if deployments[place]["model_info"].get("supports_web_search", True)]
        if narrowing.sick:
            scope = router.background_health_check_model_groups
            well = [
                place
                for place in places
                if ids[place] not in narrowing.sick
                or (scope is not None and deployments[place]["model_name"] not in scope)
            ]
            if not well and not asynchronous:  # stock says so in its log
                raise decline.Unserved(decline.NO_HEALTHY_DEPLOYMENT)
            places = well or places
        return places, [place for place in places if place not in self._blocked and ids[place] not in cooling]

    def _work_out(self, router: Any, considered: list[int], standing: Sequence[int], narrowing: FilterKey) -> Remaining:
        places = [place for place in standing if place not in narrowing.over]
        match = None
        if narrowing.tags is not None and places:
            places, match = self._tagged(router, places, narrowing.tags)
        orders, wanted = self._orders, narrowing.order
        if wanted is None and orders is not None:
            wanted = min((order for place in places if (order := orders[place]) is not None), default=None)
        if wanted is not None:
            places = [place for place in places if orders is not None and orders[place] == wanted]
        places = [place for place in places if self._ids[place] not in narrowing.excluded]
        places = [place for place in places if self._ids[place] not in narrowing.skipped] or places
        return Remaining(considered, places, narrowing, match)

    def _tagged(self, router: Any, places: list[int], tags: Tags) -> tuple[list[int], Match | None]:
        """Ask stock's own tag routing, with a request that holds only what it reads."""
        deployments = self._deployments
        for deployment in deployments:
            for pattern in deployment["litellm_params"].get("tag_regex") or ():
                try:
                    re.compile(pattern)
                except re.error as error:  # stock skips it, and says so in its log
                    raise decline.Unserved(decline.TAG_PATTERN) from error
        metadata: dict[str, Any] = {"tags": list(tags.tags), "user_agent": tags.user_agent}
        if tags.inherited is not None:
            metadata["inherited_tags"] = list(tags.inherited)
        request: dict[str, Any] = {"enable_tag_filtering": True}
        if tags.tagged:
            request[tags.field] = metadata
        left = [deployments[place] for place in places]
        asked = self._tools.for_tag(router, self._name, left, request, tags.field, deployments)
        try:
            asked.send(None)
        except StopIteration as answer:
            chosen = {id(deployment) for deployment in answer.value}
        except ValueError as error:
            raise decline.Unserved(decline.NO_TAGGED_DEPLOYMENT) from error
        else:
            asked.close()
            raise decline.Unserved(decline.TAGS_WAIT)
        found = metadata.get("tag_routing")
        match = found and Match(found["matched_deployment"], found["matched_via"], found["matched_value"])
        return [place for place in places if id(deployments[place]) in chosen], match


def _stamp(request: dict[str, Any], tags: Tags, match: Match) -> None:
    """Note in the request's metadata which deployment its tags matched, unless that is noted already."""
    metadata = request[tags.field]
    if "tag_routing" not in metadata:
        metadata["tag_routing"] = {
            "matched_deployment": match.deployment,
            "matched_via": match.via,
            "matched_value": match.value,
            "request_tags": list(tags.tags),
            "user_agent": metadata.get("user_agent", ""),
        }
