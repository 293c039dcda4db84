"""When the fast path may serve: LiteLLM's settings, its callbacks, and whether anybody has patched what would be
bypassed.

Settings are admitted by allow-list. Every setting that LiteLLM's package defines with a literal must still have that
value, unless it is known to shape the request alone, in which case the call that the fast path learned from has shown
its effect. Plans hold for one *epoch*, in which all settings and the environment have certain values: when these values
come back, so does the epoch. Any other change, like a function that was patched and restored, ends all epochs.
"""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import logging
import os
import re
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.callbacks import EARLY, FAILURE, SUCCESS, CallbackPolicy
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.notify.log_records import LoggerLevels
from litellm_accel.fastpath.response_cache import ResponseCaches
from litellm_accel.hot import watch
from litellm_accel.import_watch import is_being_imported
from litellm_accel.stock import syntax
from litellm_accel.stock.guard import is_stock
from litellm_accel.stock.late_loads import is_late_load
from litellm_accel.stock.surface import BYPASSED, CLASSES, HANDLERS, MODULES, OBJECTS, UNTRACED
from litellm_accel.stock.trace import Function, Trace

# Settings whose effect on a call is the same every time and shown by the call that was learned from, or that matter
# only once a call has failed, which stock then handles. What LiteLLM's own success handlers read when they tell
# callbacks is as good as shown: they do it for served calls as well. Not among them is what keeps count of calls
# (`max_budget`), stores or compares them (`cache`, `post_call_rules`, `enable_json_schema_validation`), looks at each
# call's messages (`openai_system_messages_first`, `log_raw_request_response`, `user_url_validation`), or asks others
# for credentials that may expire (`proxy_auth`, `secret_manager_client`, `enable_azure_ad_token_refresh`).
SHOWN_BY_LEARNING = frozenset(
    [
        "_async_failure_callback",
        "_custom_providers",
        "add_function_to_prompt",
        "ai21_key",
        "aiohttp_trust_env",
        "aleph_alpha_key",
        "allowed_fails",
        "amazon_nova_api_key",
        "anthropic_key",
        "api_base",
        "api_key",
        "api_version",
        "AZURE_DEFAULT_API_VERSION",
        "azure_key",
        "baseten_key",
        "bytez_key",
        "clarifai_key",
        "cloudflare_api_key",
        "cohere_key",
        "cometapi_key",
        "config_path",
        "content_policy_fallbacks",
        "context_window_fallbacks",
        "cost_discount_config",
        "cost_margin_config",
        "custom_provider_map",
        "databricks_key",
        "datarobot_key",
        "default_fallbacks",
        "disable_add_user_agent_to_request_tags",
        "disable_aiohttp_transport",
        "disable_aiohttp_trust_env",
        "disable_hf_tokenizer_download",
        "disable_stop_sequence_limit",
        "disable_streaming_logging",
        "disable_token_counter",
        "email",
        "error_logs",
        "expose_router_debug_in_errors",
        "failure_callback",
        "force_ipv4",
        "gdc_key",
        "gigachat_key",
        "global_disable_no_log_param",
        "gradient_ai_api_key",
        "groq_key",
        "headers",
        "heroku_key",
        "huggingface_key",
        "inception_key",
        "infinity_key",
        "initialized_langfuse_clients",
        "lemonade_key",
        "llama_api_key",
        "log_client_error_tracebacks",
        "maritalk_key",
        "max_fallbacks",
        "nebius_key",
        "nlp_cloud_key",
        "novita_api_key",
        "num_retries",
        "ollama_key",
        "openai_key",
        "openai_like_key",
        "openrouter_key",
        "organization",
        "ovhcloud_key",
        "predibase_key",
        "predibase_tenant_id",
        "project",
        "redact_messages_in_exceptions",
        "replicate_key",
        "retry",
        "return_response_headers",
        "sap_service_key",
        "snowflake_key",
        "ssl_certificate",
        "ssl_ecdh_curve",
        "ssl_security_level",
        "ssl_verify",
        "standard_logging_payload_excluded_fields",
        "suppress_debug_info",
        "togetherai_api_key",
        "token",
        "turn_off_message_logging",
        "use_aiohttp_transport",
        "vercel_ai_gateway_key",
        "vertex_location",
        "vertex_project",
        "wandb_key",
        "xai_key",
    ]
)
# Settings that nothing reads in a call that the fast path serves: a router does when it is made, a proxy around its
# calls or when it manages users, keys and models, integrations and guardrails do for themselves, other providers and
# other kinds of calls for theirs. They do not tell epochs apart.
READ_ELSEWHERE = frozenset(
    [
        "_async_client_cleanup_registered",
        "adapters",
        "add_user_information_to_llm_headers",
        "agent_search_embedding_model",
        "anthropic_sse_ping_interval_seconds",
        "apply_search_free_tier",
        "argilla_batch_size",
        "argilla_transformation_object",
        "audit_log_callbacks",
        "aws_sqs_callback_params",
        "banned_keywords_list",
        "bedrock_neutralize_orphaned_tool_blocks",
        "bedrock_request_metadata_fields",
        "block_requests_for_models_without_pricing",
        "blocked_user_list",
        "budget_duration",
        "budget_exceeded_throttle_percentage",
        "budget_rollover",
        "check_provider_endpoint",
        "COHERE_DEFAULT_EMBEDDING_INPUT_TYPE",
        "custom_prometheus_metadata_labels",
        "custom_prometheus_tags",
        "datadog_llm_observability_params",
        "datadog_params",
        "datadog_use_v1",
        "default_internal_user_params",
        "default_key_generate_params",
        "default_key_max_budget_alert_emails",
        "default_max_internal_user_budget",
        "default_team_params",
        "default_team_settings",
        "disable_add_prefix_to_prompt",
        "disable_copilot_system_to_assistant",
        "disable_vertex_batch_output_transformation",
        "dynamodb_table_name",
        "enable_gemini_default_thinking_level_low",
        "enable_key_alias_format_validation",
        "enable_loadbalancing_on_batch_endpoints",
        "enable_model_config_credential_overrides",
        "fallbacks",
        "filter_invalid_headers",
        "force_redis_hash_tag_grouping",
        "forward_traceparent_to_llm_provider",
        "gcs_pub_sub_use_v1",
        "gdc_api_base",
        "generic_api_use_v1",
        "generic_logger_headers",
        "google_moderation_confidence_threshold",
        "guardrail_name_config_map",
        "include_cost_in_streaming_usage",
        "internal_user_budget_duration",
        "key_alias_pattern",
        "key_generation_settings",
        "langfuse_default_tags",
        "langfuse_enable_update_trace_keys",
        "langsmith_batch_size",
        "llamaguard_model_name",
        "llamaguard_unsafe_content_categories",
        "llm_guard_mode",
        "log_auth_failure_key_identity",
        "logged_real_time_event_types",
        "max_end_user_budget",
        "max_end_user_budget_id",
        "max_internal_user_budget",
        "max_ui_session_budget",
        "max_user_budget",
        "mcp_tool_search",
        "model_group_settings",
        "newrelic_params",
        "openai_moderations_model_name",
        "otel_tenant_destination_mode",
        "output_parse_pii",
        "overwrite_user_with_key_hash",
        "pointfive_params",
        "presidio_ad_hoc_recognizers",
        "priority_reservation",
        "prometheus_deployment_and_latency_caller_identity",
        "prometheus_emit_input_sequence_length_label",
        "prometheus_emit_rate_limit_labels",
        "prometheus_emit_stream_label",
        "prometheus_end_user_metrics_cleanup_interval_seconds",
        "prometheus_end_user_metrics_max_series_per_metric",
        "prometheus_end_user_metrics_ttl_seconds",
        "prometheus_exclude_labels",
        "prometheus_exclude_metrics",
        "prometheus_initialize_budget_metrics",
        "prometheus_latency_buckets",
        "prometheus_metrics_cleanup_interval_seconds",
        "prometheus_metrics_config",
        "prometheus_metrics_max_series_per_metric",
        "prometheus_metrics_ttl_seconds",
        "prometheus_user_budget_label_include_email_alias",
        "prompt_name_config_map",
        "provider_url_destination_allowed_hosts",
        "public_agent_groups",
        "public_mcp_hub_strict_whitelist",
        "public_mcp_servers",
        "public_model_groups",
        "public_model_groups_links",
        "public_skills_index",
        "require_auth_for_metrics_endpoint",
        "require_managed_files",
        "s3_audit_callback_params",
        "s3_callback_params",
        "skill_search_embedding_model",
        "skip_system_message_in_guardrail",
        "skip_tool_message_in_guardrail",
        "sse_keepalive_ping_interval_seconds",
        "store_audit_logs",
        "strip_anthropic_total_tokens",
        "upperbound_key_generate_params",
        "validate_end_user_id_in_db",
        "vector_store_index_registry",
        "vector_store_search_failure_mode",
        "vertex_ai_safety_settings",
        "WATSONX_DEFAULT_API_VERSION",
        "zerobus_params",
    ]
)
# Callback lists; what may be in them is for ``callbacks`` to say.
CALLBACK_LISTS = (*SUCCESS, *EARLY, "service_callback")

# What is watched besides modules, classes and objects: dictionaries, where they are held, and how others are called.
_ENVIRON, _PRICES, _MANAGER, _MADE = "variables of the environment", "prices", "manager of loggers", "integrations made"
_HELD = {_ENVIRON: ("os", "environ"), _PRICES: ("litellm", "model_cost")}
_LOGGER, _MEMORY, _WITHIN = "logger ", "levels of loggers", "in "
# Lists of callbacks: what is in them does not tell epochs apart.
_TOLD = frozenset((*CALLBACK_LISTS, *FAILURE, _MADE))
# So many epochs are remembered, those that were left longest ago are forgotten; and so many values that differ from
# those at first.
_MAX_EPOCHS = 16
_MAX_APART = 256
# Another thread that looks at the settings is waited for so long.
_PATIENCE_SECONDS = 0.1
_MAX_FIRST = 4096
_PLAIN = (type(None), bool, int, str, bytes)
_MAX_LEAVES = 200


_STATEMENT = re.compile(r"^(?=[@\w])", re.MULTILINE)
# Of a literal; lists and dictionaries that go on in the next line are not empty.
_ASSIGNMENT = re.compile(r"\w+\s*(?::[^=]*)?=\s*(?:None|True|False|['\"(\d-]|[\[{].)")


def _assignments(source: str) -> list[ast.stmt]:
    """Return the assignments of literals at the top level of ``source``; parsing all of LiteLLM's takes 8 ms more."""
    try:
        return syntax.module("".join(filter(_ASSIGNMENT.match, _STATEMENT.split(source)))).body
    except SyntaxError:  # statements that cannot be told apart like this
        return syntax.module(source).body


@functools.cache
def defaults(package: ModuleType) -> dict[str, Any]:
    """Return the settings that ``package``'s source defines with plain literals, and their values."""
    source = Path(str(package.__file__)).read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for node in _assignments(source):
        if isinstance(node, ast.AnnAssign):
            targets: list[Any] = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        else:
            continue
        if node.value is None or not isinstance(targets[0], ast.Name):
            continue
        name = targets[0].id
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        if (value is None or isinstance(value, bool | int | float | str) or not value) and not name.endswith("_models"):
            found[name] = value
    return found


# What Python notes in a module when it warns of something there, and in a class when it copies one of its objects.
_PYTHONS_OWN = frozenset(("__slotnames__", "__warningregistry__"))


def _environ() -> dict[Any, Any]:
    held: dict[Any, Any] = getattr(os.environ, "_data", os.environ)  # type: ignore[arg-type]
    return held


class _Same:
    """An object that is nothing but itself."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return type(other) is _Same and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)


def token(value: Any) -> Any:
    """Return what equals the token of another value if both are the same to whoever reads them.

    That is what a plain value, or a container of such, says; any other object is only the same as itself.
    """
    made = _plain_token(value, [_MAX_LEAVES])
    return _Same(value) if made is None else made


def _plain_token(value: Any, left: list[int]) -> Any:
    kind = type(value)
    left[0] -= 1
    if left[0] < 0:
        return None
    if kind in _PLAIN:
        return kind, value
    if kind is float:
        return kind, repr(value)
    if kind is dict:
        items = [
            token for pair in value.items() for token in (_plain_token(pair[0], left), _plain_token(pair[1], left))
        ]
    elif kind in (list, tuple):
        items = [_plain_token(item, left) for item in value]
    else:
        return None
    return None if None in items else (kind, *items)


def _shown(value: Any) -> str:
    """Return how a setting's value is told: no secrets, and nothing that has many values."""
    return f"={value!r}" if value is None or type(value) is bool else f" of type {type(value).__name__}"


class Environment:
    """Everything outside a call's own arguments that decides whether and how the fast path serves it.

    ``epoch`` is the number of the present settings, ``changes`` counts how often they have changed, ``gone`` how often
    epochs were forgotten. While ``reason`` is not None, the number is that of the last settings that were served.
    """

    def __init__(self) -> None:
        self.litellm = importlib.import_module("litellm")
        self._defaults = defaults(self.litellm)
        self.epoch = 0
        self.changes = 0
        self.listening = False
        self.listeners = CallbackPolicy()
        self.levels = LoggerLevels()
        self._caches = ResponseCaches()
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._lock._at_fork_reinit)  # type: ignore[attr-defined]
        self._looking: int | None = None  # the thread that looks at what has changed
        self._numbers = itertools.count(1)
        self._epochs: OrderedDict[Any, int] = OrderedDict()
        self._ends = 0  # of all epochs
        self.gone = 0
        self._was: Any = None
        self._build()
        self._epochs[self._fingerprint()] = self.epoch
        self._was = self._fingerprint(), self.reason

    def _build(self) -> None:
        self._is_broken = True  # if what follows fails
        self.reason: Why | None = decline.SETTINGS_UNREADABLE
        self.watch = watch.Watch()
        self._owners: dict[str, Any] = {}
        self._patched: dict[tuple[str, Any], Why] = {}
        loggers = [f"logger {logger.name}" for logger in self.levels.loggers()]
        self._absent = dict.fromkeys((*MODULES, *BYPASSED, *CLASSES, *UNTRACED, *HANDLERS, *OBJECTS, *loggers))
        self._within: set[str] = set()
        # What is not listed, but watched calls ran through: to be watched, and with what was there before it changed.
        self._known: set[tuple[Function, str]] = set()
        self._ran: dict[str, None] = {}
        self._traced: dict[str, dict[Any, Any]] = {}
        self._meet()
        for held in _HELD:
            self._watch_held(held)
        self.levels.read()  # which fills their memory
        self.watch.add(_MEMORY, self.levels.memory)
        self.watch.add(_MANAGER, logging.root.manager)
        self.watch.add("methods of loggers", logging.Logger)
        self.watch.add(_MADE, self.listeners.made)
        self._refused: dict[str, Why] = {}
        for name in (*self._defaults, "set_verbose"):
            self._watch_setting(name)
            self._judge_setting(name)
        # Values of settings and of the environment at first, and those that are others now.
        self._first: dict[tuple[str, Any], Any] = {}
        self._apart: dict[tuple[str, Any], Any] = {}
        self._begin_anew()
        self._judge_callbacks()
        self.reason = self._judge()
        self._is_broken = False

    def _meet(self) -> None:
        """Watch what has been imported since this was last called.

        What is not imported yet has had no part in any call that the fast path has learned from, and nobody can have
        patched it. To import it for the application would cost more than all else here.
        """
        met = [target for target in self._absent if self._owner(target) is not None]
        for target in met:
            del self._absent[target]
            self._watch_owner(target)
        ran, self._ran = self._ran, {}
        watched = set(map(id, self._owners.values()))  # some have other names as well
        for target in ran:
            owner = self._owner(target)
            if owner is None:  # another thread imports it right now
                self._absent[target] = None
            elif target not in self._owners and id(owner) not in watched:
                self._traced[target] = {}
                self._watch_owner(target)
                met.append(target)
        for target in met:  # others may be put into the places of these classes and objects
            module = target.partition(":")[0]
            if module not in self._owners and module not in self._within and not module.startswith(_LOGGER):
                self._within.add(module)
                self.watch.add(f"{_WITHIN}{module}", sys.modules[module])

    def ran(self, trace: Trace) -> None:
        """Watch whatever a call that is learned from has run through; what is there now is what it ran with."""
        self._ran.update(dict.fromkeys(trace.owners(self._known) - self._owners.keys()))

    def met(self) -> Why | None:
        """Return why the fast path may not serve now, or None, also in view of what stock has imported in a call."""
        is_new = self._ran or any(self._owner(target) is not None for target in list(self._absent))
        return self.refresh() if is_new else self.decline_reason()

    def decline_reason(self) -> Why | None:
        """Return why the fast path may not serve now, or None."""
        if self.watch.changed() or self._looking is not None or self.listeners.moved() or self._is_broken:
            return self.refresh()
        return self.reason

    def state(self) -> tuple[int, int] | None:
        """Return what stays equal while functions, settings and callbacks do; None before a change is looked at."""
        if self.watch.changed() or self._looking is not None or self.listeners.moved() or self._is_broken:
            return None
        return self.changes, self.listeners.judgements

    def refresh(self) -> Why | None:
        """Look at what has changed; return why the fast path may not serve now, or None."""
        if self._looking == threading.get_ident() or not self._lock.acquire(timeout=_PATIENCE_SECONDS):
            return decline.SETTINGS_CHANGING
        try:
            self._looking = threading.get_ident()
            if self._is_broken:
                self._build()
            else:
                self._is_broken = True
                self._refresh()
                self._is_broken = False
            now = self._fingerprint(), self.reason
            if now != self._was:
                self._was = now
                self.changes += 1
            if self.reason is None:
                self._enter(now[0])
            return self.reason
        except BaseException:
            self._is_broken, self.reason = True, decline.SETTINGS_UNREADABLE
            raise
        finally:
            self._looking = None
            self._lock.release()

    def is_kept(self, epoch: int) -> bool:
        """Return whether the settings of ``epoch`` may come back."""
        return epoch in self._epochs.values()

    def _refresh(self) -> None:
        is_told = self.listeners.moved()
        self._meet()
        self.levels.read()  # which fills their memory; what somebody sets meanwhile is noticed
        for name, key, before in self.watch.take():
            if name in (_MEMORY, _MANAGER):
                continue
            elif name in _TOLD:
                is_told = True
            elif name in self._defaults:
                self._set(name, before)
            elif name == "litellm" and self._is_setting(key, before):
                is_told = is_told or key in _TOLD
                self._set(key, before)
                if type(before) in (list, dict):
                    self.watch.drop(key)
                self._watch_setting(key)
                self._look(name, key)
            elif name == _ENVIRON:
                value = _environ().get(key, watch.MISSING)
                if before is not watch.MISSING or not self._is_own_place(value):
                    self._note((name, key), value, before)
            elif name.startswith(_WITHIN):
                if f"{name.removeprefix(_WITHIN)}:{key}" in self._owners:
                    self._end_all(name.removeprefix(_WITHIN), key)
            elif not (self._is_state(name, key, before) or self._is_loaded(name, key, before)):
                if name in self._traced:
                    self._traced[name].setdefault(key, before)
                self._end_all(name, key)
        if is_told:
            self._judge_callbacks()
        self.reason = self._judge()
        if len(self._apart) > _MAX_APART or len(self._first) > _MAX_FIRST:
            self._begin_anew()

    def _is_setting(self, key: Any, before: Any) -> bool:
        """Return whether a name of LiteLLM's package is one of its settings, which may come back to what they were."""
        if key in self._defaults:
            return True
        now = vars(self.litellm).get(key, watch.MISSING)
        return type(token(now)) is not _Same and type(token(before)) is not _Same

    def _is_state(self, name: str, key: Any, before: Any) -> bool:
        """Return whether all that has changed is what an object holds for itself, like a count or a level."""
        if key in _PYTHONS_OWN:
            return True
        is_object = name in self._traced and not isinstance(self._owners[name], type | ModuleType)
        if not is_object and name not in OBJECTS and not name.startswith(_LOGGER):
            return False
        return not callable(vars(self._owners[name]).get(key)) and not callable(before)

    def _is_own_place(self, value: Any) -> bool:
        """Return whether a variable of the environment names what LiteLLM has brought, as it notes in a late import."""
        return isinstance(value, (str, bytes)) and os.fsdecode(value).startswith(tuple(self.litellm.__path__))

    def _is_loaded(self, name: str, key: Any, before: Any) -> bool:
        """Return whether a module or a model has only loaded ``key``, which it had put off."""
        owner = self._owners.get(name)
        return isinstance(owner, ModuleType | type) and is_late_load(owner, key, before, watch.MISSING)

    def _set(self, setting: str, before: Any) -> None:
        self._judge_setting(setting)
        if setting not in READ_ELSEWHERE and setting not in _TOLD:
            self._note(("litellm", setting), getattr(self.litellm, setting, watch.MISSING), before)

    def _note(self, place: tuple[str, Any], now: Any, before: Any) -> None:
        value = token(now)
        if value == self._first.setdefault(place, token(before)):
            self._apart.pop(place, None)
        else:
            self._apart[place] = value

    def _end_all(self, name: str, key: Any) -> None:
        """End all epochs: what has changed under ``key`` in ``name`` may have left more behind than can be seen."""
        self._ends += 1
        self.gone += 1
        self._epochs.clear()
        target = f"{name}:{key}"
        if target in self._owners:
            self.watch.drop(target)
            self._watch_owner(target)
        for held, place in _HELD.items():
            if place == (name, key):
                self.watch.drop(held)
                self._watch_held(held)
        self._look(name, key)

    def _begin_anew(self) -> None:
        """Take the present values as those at first: where many have changed, it takes long to compare them."""
        self._ends += 1
        self.gone += 1
        self._epochs.clear()
        self._first = {("litellm", name): token(getattr(self.litellm, name, watch.MISSING)) for name in self._defaults}
        self._apart = {}

    def _enter(self, fingerprint: Any) -> None:
        epoch = self._epochs.get(fingerprint)
        if epoch is None:
            epoch = self._epochs[fingerprint] = next(self._numbers)
            if len(self._epochs) > _MAX_EPOCHS:
                self._epochs.popitem(last=False)
                self.gone += 1
        else:
            self._epochs.move_to_end(fingerprint)
        self.epoch = epoch

    def _fingerprint(self) -> Any:
        """Return what tells one epoch's settings from another's."""
        return self._ends, self.listening, frozenset(self._apart.items())

    def _judge(self) -> Why | None:
        found = (self._refused, self._patched)
        settings, patched = (next(iter(reasons.values()), None) for reasons in found)
        return settings or self._callbacks or patched or self._loggers()

    def _judge_setting(self, name: str) -> None:
        """Note whether a setting that calls read has a value that stock must honour."""
        self._refused.pop(name, None)
        if name == "set_verbose":
            if self.litellm.set_verbose:
                self._refused[name] = decline.SETTING.of("set_verbose", "")
            return
        if name not in self._defaults or name in SHOWN_BY_LEARNING or name in READ_ELSEWHERE or name in _TOLD:
            return
        default = self._defaults[name]
        value = getattr(self.litellm, name, default)
        if name == "cache" and self._caches.knows(value):
            return
        if isinstance(value, ModuleType):
            return  # a submodule has taken the name
        if value != default or type(value) is not type(default):
            self._refused[name] = decline.SETTING.of(name, _shown(value))

    def _judge_callbacks(self) -> None:
        self._callbacks, self.listening = self.listeners.judge()

    def _watch_setting(self, name: str) -> None:
        held = getattr(self.litellm, name, None)
        if type(held) in (list, dict):  # some are None until somebody sets them, like `headers`
            self.watch.add(name, held)

    def _watch_held(self, name: str) -> None:
        self.watch.add(name, _environ() if name == _ENVIRON else self.litellm.model_cost)

    def _watch_owner(self, target: str) -> None:
        """Watch a module, class or object by which calls go, and note what of it is not its package's own."""
        for place in [place for place in self._patched if place[0] == target]:
            del self._patched[place]
        owner = self._owners[target] = self._owner(target)
        if owner is None:
            return
        if not hasattr(owner, "__dict__"):
            self._patched[target, None] = decline.PATCHED.of(target.rpartition(":")[2])
            return
        self.watch.add(target, owner)
        if target not in self._traced:
            for key, held in vars(owner).copy().items():  # thousands when the fast path is switched on
                if not is_stock(held):
                    self._patched[target, key] = decline.PATCHED.of(f"{target.rpartition(':')[2]}.{key}")
        if not is_stock(owner):
            self._patched[target, None] = decline.PATCHED.of(target.rpartition(":")[2])

    def _loggers(self) -> Why | None:
        return self.levels.read()

    def _look(self, target: str, key: Any) -> None:
        """Note whether what the module or class ``target`` holds under ``key`` is its package's own."""
        self._patched.pop((target, key), None)
        owner = self._owners.get(target)
        if owner is None:
            return
        held = vars(owner).get(key)
        if not is_stock(held) and self._traced.get(target, {}).get(key, watch.MISSING) is not held:
            self._patched[target, key] = decline.PATCHED.of(f"{target.rpartition(':')[2]}.{key}")

    def _owner(self, target: str) -> Any:
        if target.startswith(_LOGGER):
            return logging.getLogger(target.removeprefix(_LOGGER))
        module, _, name = target.partition(":")
        found: Any = sys.modules.get(module)
        if found is None or is_being_imported(module):
            return None
        for part in name.split(".") if name else ():
            found = getattr(found, part, None)
        return found
