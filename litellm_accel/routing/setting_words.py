"""The words in which LiteLLM's selection of a deployment speaks, and those that component ``routing`` does not know.

A later release may begin to read a setting of a deployment. It then names it in the code that selects: as a constant,
or through the name of one. A group with a deployment that has a setting of an unknown name is left to stock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

_ROOMS = ("litellm.router", "litellm.router_strategy", "litellm.router_utils")

# Whatever the selection of LiteLLM 1.106.2 names: settings of deployments, arguments, keys of metadata and caches.
KNOWN = frozenset(
    re.findall(
        r"\w+",
        """
        BaselineRouteStamp ComplexityRouter ContextWindowExceededError LiteLLMCompletionResponsesConfig
        RedisPipelineIncrementOperation ResponseInputParam _alias_marker_forwarded_params _arealtime
        _aresponses_websocket _autorouter_baseline_route _client_output_ceiling _consumed_request_tags
        _context_compaction_state _encrypted_content_affinity_pinned _excluded_deployment_ids
        _latency_per_deployment _litellm_router_usage_counted_tokens _map _retry_skipped_deployment_ids
        _router_weights _routing_plugin_candidate_models _routing_request_tags _session_deployment_affinity_ttl
        _target_order access_groups adaptive adaptive_router all_deployments allow_escalation allow_fail_open
        allowed_model_region anthropic_system_to_openai_message api_base api_key api_version aretrieve_batch
        attempted_retries authorize_member_auto_router_inference azure base_model blocked blocking_window
        call_type candidate_models capture_baseline_parameters classifier_crux compaction completion_start_time
        complexity complexity_router content context_management conversation cooldown_deployments cooldown_list
        cooldown_time current_minute current_rpm current_tpm custom_llm_provider default
        default_redis_batch_cache_expiry default_sync_interval defaultdict deployment deployment_id
        deployment_name deployments dual_cache duration enable_pre_call_checks enable_tag_filtering
        encrypted_content end_time escalation_keyword exception exception_received exception_status exclude_none
        excluded_deployment_ids fallback fallback_depth header_strings headers health_check_probe
        healthy_deployments hidden_params id in_memory_cache include_team_models increment_list increment_value
        inf inherited_tags initial input input_cost_per_token input_token_count input_tokens instructions
        is_healthy item_reference itpm key keys latency litellm_deployment_litellm_model litellm_logging_obj
        litellm_metadata litellm_model_name litellm_params litellm_router_instance llm_provider llm_router
        llm_router_instance local_only mask_char mask_short_values match_any matched_deployment matched_keyword
        matched_pattern matched_value matched_via max_completion_tokens max_input_tokens max_output_tokens
        max_tokens message messages messages_for_routing metadata metadata_variable_name method model
        model_alias model_group model_hop_compression_armed model_id model_ids model_info model_name models now
        num_retries order original_exception otpm output_config output_cost_per_token parent_model
        parent_otel_span passed_params policy policy_for_model pre_routing_hook_response
        pre_routing_selected_model prefer_async_handlers previous_response_id priority proxy_admin
        proxy_server_request quality quality_router raw_messages reasoning reasoning_effort received_model_name
        register_callbacks registered_model_name request request_kwargs request_tags request_team_id
        resolve_model_alias resolve_structured_messages response response_format responses responses_api_request
        responses_call retrieve_batch retry router router_config_fingerprint router_config_id
        router_config_updated_at router_cooldowns router_model_name router_type router_usage routing_decision
        routing_plugin_signals routing_strategy routing_strategy_args rpm rpm_dict rpm_increment rpm_keys
        rpm_limit rpm_values savings_baseline_deployment_id savings_baseline_model selected_strategy selector
        semantic service should_batch_redis_writes should_redact_message_logging signals skip_inline_token_count
        specific_deployment standard_callback_dynamic_params standard_logging_object start_time status_code
        strategy strategy_tags stream structured_messages supports_web_search system tag_regex tag_routing tags
        target_order team_id team_models team_public_model_name text thinking tier_litellm_params
        time_to_first_token_seconds timestamp tools total_tokens tpm tpm_keys tpm_limit tpm_rpm_limits
        tpm_values traceback_exception ttl type unknown update url usage user_agent user_api_key_auth
        user_api_key_hash user_api_key_team_id user_role value visible_prefix visible_suffix web_search
        web_search_preview weight weights
        """,
    )
)


def unknown_settings(owners: Iterable[tuple[Any, Sequence[str]]], router_type: type) -> frozenset[str]:
    """Return the words that selection speaks and that are not known.

    ``owners`` are modules and classes with the names of the selecting functions in them. Read are these, and the
    routing functions and methods of ``router_type`` that they mention.
    """
    found = {function for owner, names in owners for name in names for function in _functions(vars(owner).get(name))}
    found |= {mentioned for function in found for mentioned in _mentioned(function, router_type)}
    return frozenset(word for function in found for word in _words(function)) - KNOWN


def _functions(value: Any) -> Iterator[FunctionType]:
    """Yield LiteLLM's own routing function behind ``value``, if it is one."""
    value = getattr(value, "__func__", value)
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    if isinstance(value, FunctionType) and (value.__module__ or "").startswith(_ROOMS):
        yield value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _mentioned(function: FunctionType, router_type: type) -> Iterator[FunctionType]:
    methods = vars(router_type) if function.__qualname__.startswith(f"{router_type.__name__}.") else {}
    for code in _codes(function.__code__):
        for name in code.co_names:
            yield from _functions(function.__globals__.get(name, methods.get(name)))


def _words(function: FunctionType) -> Iterator[str]:
    for code in _codes(function.__code__):
        for value in (*code.co_consts, *map(function.__globals__.get, code.co_names)):
            for word in value if isinstance(value, (tuple, list, set, frozenset)) else (value,):
                if isinstance(word, str) and word.isidentifier():
                    yield word
