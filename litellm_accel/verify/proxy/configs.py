"""The configurations, after LiteLLM's own examples (``litellm/proxy/example_config_yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litellm_accel.verify.proxy import modules
from litellm_accel.verify.proxy.script import KEY, Ask, Config
from litellm_accel.verify.scenario import At

_OPENAI = 'plain{"profile": "openai"}'
#: Prices of which sums are the same in whatever order they are added up.
_PRICES: dict[str, Any] = {"input_cost_per_token": 2.0**-20, "output_cost_per_token": 2.0**-19}


def _model(name: str, answer: str = _OPENAI, model: str = "openai/gpt-4o-mini", **more: Any) -> dict[str, Any]:
    """Return an entry of a list of models; ``info`` among ``more`` joins its ``model_info``."""
    info = more.pop("info", {})
    params = {"model": model, "api_base": At(answer), "api_key": "sk-up", "max_retries": 0, **_PRICES, **more}
    return {"model_name": name, "litellm_params": params, "model_info": {"id": f"id-of-{name}", **info}}


#: What scripts ask for is in every configuration.
MODELS = (
    _model("gpt"),
    _model("streaming", "plain"),
    _model("large", "large"),
    _model("tools", "tools"),
    _model("failing", "error-400"),
    _model("unauthorized", "error-401"),
    _model("missing", "error-404"),
    _model("limited", "error-429"),
    _model("broken", "error-500"),
    _model("garbled", "broken-json"),
    _model("dropping", "drop-request"),
    _model("cut", "cut"),
    _model("slow", "delay-0.5"),
    _model("pausing", 'plain{"pause": 0.05}'),
    _model("bridged", model="mistral/some"),
    _model("embedding", "plain", model="openai/text-embedding-3-small"),
)
_ROUTER = {"num_retries": 0, "disable_cooldowns": True}
_GENERAL = {"master_key": KEY}
_TOLD = {"told": modules.TOLD}


def _file(models: tuple[Mapping[str, Any], ...] = (), **sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file with all models, and sections joined to the usual ones (None: without that section)."""
    router = {**_ROUTER, **sections.pop("router_settings", {})}
    general = {**_GENERAL, **sections.pop("general_settings", {})}
    kept = {name: value for name, value in general.items() if value is not None}
    return {"model_list": [*models, *MODELS], "router_settings": router, "general_settings": kept, **sections}


def _admin(path: str, body: Mapping[str, Any]) -> Ask:
    return Ask(body, path)


#: Virtual keys, whose order is that of the database.
USER, TEAM, RICH, POOR, BLOCKED, EXPIRED, SCOPED, LIMITED, TAGGED = (
    f"sk-{name}-key-of-verify"
    for name in ("user", "team", "rich", "poor", "blocked", "expired", "scoped", "limited", "tagged")
)


def _new_key(key: str, **more: Any) -> Ask:
    return _admin("/key/generate", {"key": key, **more})


_KEYS = (
    _admin("/team/new", {"team_alias": "a team", "team_id": "the-team", "max_budget": 10}),
    _admin("/team/new", {"team_alias": "b", "team_id": "b-team", "models": ["gpt"], "metadata": {"tags": ["b"]}}),
    _admin("/user/new", {"user_id": "the-user", "auto_create_key": False, "max_budget": 100}),
    _admin("/budget/new", {"budget_id": "a-budget", "max_budget": 0.5}),
    _admin("/customer/new", {"user_id": "an-end-user", "max_budget": 20}),
    _admin("/customer/new", {"user_id": "blocked-end-user", "blocked": True}),
    _new_key(USER, user_id="the-user"),
    _new_key(TEAM, team_id="the-team"),
    _new_key(RICH, max_budget=5, metadata={"kept": {"a": [1, 2]}}, key_alias="rich"),
    _new_key(POOR, max_budget=0.0000001),
    _new_key(BLOCKED, blocked=True),
    _new_key(EXPIRED, duration="-1s"),
    _new_key(SCOPED, models=["gpt"], team_id="b-team"),
    _new_key(LIMITED, rpm_limit=4, tpm_limit=100000, max_parallel_requests=3),
    _new_key(TAGGED, metadata={"tags": ["one", "two"]}, user_id="the-user", aliases={"mine": "gpt"}),
)
_FAST_WRITES = {"proxy_batch_write_at": 1}
_REDIS = {"host": "os.environ/REDIS_HOST", "port": "os.environ/REDIS_PORT"}
_TWO = (
    _model("two", info={"id": "first"}, rpm=100000, tpm=100000000),
    _model("two", info={"id": "second"}, api_key="sk-second", rpm=100000, tpm=100000000),
)


def _guardrail(mode: str) -> Mapping[str, Any]:
    params = {"guardrail": "guard.Guard", "mode": mode, "default_on": True}
    return {"guardrail_name": f"guard-{mode}", "litellm_params": params}


CONFIGS = (
    Config("plain", _file()),
    Config("no-key", _file(general_settings={"master_key": None})),
    Config("hooks", _file(litellm_settings={"callbacks": "hooks.hooks"}), {"hooks": modules.HOOKS}),
    Config("callbacks", _file(litellm_settings={"callbacks": "told.told"}), _TOLD),
    Config(
        "guardrails",
        {
            **_file(litellm_settings={"callbacks": "told.told"}),
            "guardrails": [_guardrail("pre_call"), _guardrail("during_call"), _guardrail("post_call")],
        },
        {**_TOLD, "guard": modules.GUARDRAIL},
    ),
    Config(
        "custom-auth",
        _file(general_settings={"custom_auth": "auth.user_api_key_auth"}),
        {"auth": modules.AUTHENTICATION},
        by_minutes=True,
    ),
    Config(
        "load-balancer",
        _file(_TWO, litellm_settings={"drop_params": True, "callbacks": "told.told"}),
        _TOLD,
    ),
    Config(
        "usage-based",
        _file(
            _TWO,
            router_settings={"routing_strategy": "usage-based-routing-v2"},
            litellm_settings={"callbacks": "told.told"},
        ),
        _TOLD,
        by_minutes=True,
    ),
    Config(
        "fallbacks",
        _file(
            router_settings={
                "fallbacks": [{"broken": ["gpt"]}, {"limited": ["failing", "gpt"]}],
                "context_window_fallbacks": [{"failing": ["gpt"]}],
                "num_retries": 1,
                "retry_after": 0,
            },
            litellm_settings={"callbacks": "told.told", "default_fallbacks": ["gpt"]},
        ),
        _TOLD,
    ),
    Config("aliases", _file(router_settings={"model_group_alias": {"gpt-4": "gpt", "hidden": {"model": "gpt"}}})),
    Config("wildcard", _file((_model("openai/*", model="openai/*"), _model("*", model="openai/*")))),
    Config(
        "azure",
        _file((_model("an-azure", 'plain{"profile": "azure"}', "azure/gpt-4o", api_version="2024-10-21"),)),
    ),
    Config(
        "handler",
        {
            **_file((_model("own", model="own-provider/any"),)),
            "litellm_settings": {"custom_provider_map": [{"provider": "own-provider", "custom_handler": "own.own"}]},
        },
        {"own": modules.PROVIDER},
    ),
    Config(
        "settings",
        _file(
            litellm_settings={
                "drop_params": True,
                "request_timeout": 30,
                "num_retries": 0,
                "turn_off_message_logging": True,
                "include_cost_in_streaming_usage": True,
                "callbacks": "told.told",
            },
            general_settings={"max_request_size_mb": 1, "infer_model_from_keys": True},
        ),
        _TOLD,
    ),
    Config("json-logs", _file(litellm_settings={"json_logs": True, "callbacks": "told.told"}), _TOLD),
    Config(
        "user-required",
        _file(general_settings={"enforce_user_param": True, "completion_model": "gpt", "max_parallel_requests": 50}),
    ),
    Config(
        "tags",
        _file(
            (_model("two", tags=["a"], info={"id": "a"}), _model("two", tags=["default"], info={"id": "b"})),
            router_settings={"enable_tag_filtering": True},
            litellm_settings={"callbacks": "told.told"},
        ),
        _TOLD,
    ),
    Config(
        "pass-through",
        _file(
            general_settings={
                "pass_through_endpoints": [{"path": "/own", "target": At("plain"), "include_subpath": True}]
            }
        ),
    ),
    Config(
        "cache",
        _file(litellm_settings={"cache": True, "cache_params": {"type": "local"}, "callbacks": "told.told"}),
        _TOLD,
    ),
    Config(
        "redis-cache",
        _file(litellm_settings={"cache": True, "cache_params": {"type": "redis", "ttl": 600, **_REDIS}}),
        needs=("redis",),
    ),
    Config(
        "redis-router",
        _file(
            _TWO,
            router_settings={"redis_host": _REDIS["host"], "redis_port": _REDIS["port"]},
            litellm_settings={"callbacks": "told.told"},
        ),
        _TOLD,
        needs=("redis",),
        by_minutes=True,
    ),
    Config(
        "prometheus",
        _file(litellm_settings={"callbacks": ["prometheus"], "require_auth_for_metrics_endpoint": False}),
        needs=("prometheus",),
    ),
    Config("gunicorn", _file(), needs=("gunicorn",), options=("--run_gunicorn", "--num_workers", "1")),
    Config(
        "database",
        _file(general_settings={"database_url": "os.environ/DATABASE_URL", **_FAST_WRITES}),
        needs=("database",),
        begins=_KEYS,
        by_minutes=True,
    ),
    Config(
        "database-callbacks",
        _file(
            litellm_settings={"callbacks": "told.told", "max_budget": 1000, "budget_duration": "30d"},
            general_settings={
                "database_url": "os.environ/DATABASE_URL",
                "store_prompts_in_spend_logs": True,
                "allow_requests_on_db_unavailable": True,
                **_FAST_WRITES,
            },
        ),
        _TOLD,
        needs=("database",),
        begins=_KEYS,
        by_minutes=True,
    ),
    Config(
        "database-no-logs",
        _file(
            general_settings={
                "database_url": "os.environ/DATABASE_URL",
                "disable_spend_logs": True,
                "reject_clientside_metadata_tags": True,
                **_FAST_WRITES,
            }
        ),
        needs=("database",),
        begins=_KEYS,
        by_minutes=True,
    ),
    Config(
        "database-redis",
        _file(
            litellm_settings={"cache": True, "cache_params": {"type": "redis", "ttl": 600, **_REDIS}},
            general_settings={
                "database_url": "os.environ/DATABASE_URL",
                "use_redis_transaction_buffer": True,
                **_FAST_WRITES,
            },
        ),
        needs=("database", "redis"),
        begins=_KEYS,
        by_minutes=True,
    ),
)
BY_NAME = {config.name: config for config in CONFIGS}
