"""Virtual keys that LiteLLM's authentication does nothing with but to look at them.

LiteLLM keeps what the database holds of a key in its cache of keys. Of a key without owner, budget, limit, and anything
else that is looked up elsewhere, that is all that authentication goes by. It is read here as LiteLLM reads it, at the
same moments: a key that was changed, blocked or deleted, or whose time in the cache is over, is another or none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from litellm_accel.fastpath import decline

_TYPES = "litellm.types.proxy.auth.user_api_key_auth"
_CACHE = "litellm.proxy.common_utils.user_api_key_cache"
_BEARER, _KEY = "Bearer ", "sk-"
_MODELS = "models"
# What says nothing about what a key may do, or is looked at below.
_DESCRIBING = frozenset(
    (
        *("token", "key_name", "key_alias", "key_type", "spend", "total_spend", _MODELS, "expires"),
        *("created_at", "created_by", "updated_at", "updated_by", "settings_updated_at", "last_active"),
        *("last_refreshed_at", "rotation_count"),
    )
)
_TAGS, _TOOLS, _INPUT, _METADATA, _MODEL = "tags", "tools", "input", "metadata", "model"
_USER, _USER_ID = "user", "user_id"
_STORES = "vector_store_ids"
# What a key must have come to: nobody's, for nobody.
_UNOWNED = ("user_id", "team_id", "org_id", "end_user_id", "agent_id", "agent_caller", "matched_model_access_groups")


def left(about: str | None) -> decline.Unserved:
    """Return what leaves the authentication of a request to LiteLLM, because of that."""
    return decline.Unserved(decline.AUTHENTICATION.of(about))


class VirtualKeys:
    """Finds keys in LiteLLM's cache ``held``, while there are no budgets for groups of models."""

    def __init__(self, held: Any) -> None:
        self._held = held
        self._hash: Callable[[str], str] = sys.modules[_TYPES].hash_token
        self._groups: str = sys.modules[_CACHE].model_access_group_registry_cache_key()

    def name(self, authorization: bytes, key: Any) -> str:
        """Return by what a key is called in the cache. Raises ``Unserved`` for anything else in a request's header."""
        if type(key) is str and key.startswith(_BEARER + _KEY) and key.encode() == authorization:
            secret = key[len(_BEARER) :]
            if secret.isascii() and secret.isprintable() and " " not in secret:
                return self._hash(secret)
        raise left("no virtual key")

    def find(self, name: str) -> dict[str, Any] | None:
        """Return what LiteLLM has in its cache of a key, None if it would ask the database for that or for budgets."""
        groups, found = self._held.get_local(self._groups), self._held.get_local(name)
        return found if type(found) is dict and type(groups) in (tuple, list) and not groups else None


def demand_plain(held: Mapping[str, Any]) -> None:
    """Raise ``Unserved`` if a key has anything that LiteLLM would look up elsewhere, or count by."""
    for name, value in held.items():
        is_empty = value is None or value is False or (type(value) in (list, dict) and not value)
        if not is_empty and name not in _DESCRIBING:
            raise left(f"the key's {name}")


def demand_may_ask(held: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
    """Raise ``Unserved`` unless what a request asks for is a matter between it and the key alone.

    That is a model that the key names, for nobody, without tags and stores.
    """
    models: Any = held.get(_MODELS)
    if type(models) is not list or (models and parsed[_MODEL] not in models):
        raise left("a model that the key does not name")
    metadata = parsed.get(_METADATA, {})
    if _TAGS in parsed or _TAGS in metadata:
        raise left("tags")
    if parsed.get(_USER) or metadata.get(_USER_ID):
        raise left("an end user")
    asked, tools = parsed.get(_INPUT), parsed.get(_TOOLS, [])
    has_items = type(asked) is list and any(type(item) is dict for item in asked)
    if has_items or type(tools) is not list or any(type(tool) is not dict or _STORES in tool for tool in tools):
        raise left("tools or stores")


def end_of(expires: Any) -> datetime | None:
    """Return when a key's time is over, None for never. Raises ``ValueError`` or ``TypeError`` if that is unclear."""
    if expires is None:
        return None
    ends = expires if isinstance(expires, datetime) else datetime.fromisoformat(expires)
    return ends if ends.utcoffset() is not None else ends.replace(tzinfo=timezone.utc)


def is_unowned(key: Any) -> bool:
    """Return whether LiteLLM has found nobody whose key it is, or for whom it is used."""
    return all(getattr(key, name) is None for name in _UNOWNED) and key.token is not None
