"""What the fast path's kernels know by name: arguments of a call, roles and kinds of messages, members of an answer.

Whatever is not listed is left to stock, or is for others to judge.
"""

from __future__ import annotations

import re
from typing import Any, Final

# --- arguments

# Arguments the fast path understands. Their effect on the request and on the result is the same every time and shown by
# the call that was learned from; they do nothing else once a call succeeds.
ARGUMENTS: Final = frozenset(
    [
        "fallback_depth",
        "max_fallbacks",
        "model",
        "messages",
        "timeout",
        "request_timeout",
        "stream_timeout",
        "temperature",
        "top_p",
        "n",
        "stream",
        "stream_options",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "user",
        "response_format",
        "seed",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "logprobs",
        "top_logprobs",
        "reasoning_effort",
        "verbosity",
        "safety_identifier",
        "service_tier",
        "store",
        "prompt_cache_key",
        "functions",
        "function_call",
        "modalities",
        "prediction",
        "audio",
        "base_url",
        "api_base",
        "api_version",
        "api_key",
        "extra_headers",
        "extra_body",
        "headers",
        "organization",
        "custom_llm_provider",
        "max_retries",
        "num_retries",
        "drop_params",
        "additional_drop_params",
        "allowed_openai_params",
        "thinking",
        "prompt_cache_retention",
        # The provider's, of names that LiteLLM uses for something else, too.
        "extra_query",
        "models",
        "plugins",
        "provider",
        "reasoning",
        "route",
        "session_id",
        "top_k",
        "trace_id",
        "usage",
        # LiteLLM's own: read only before a request is made, where there is a cache, or once a call has failed.
        "_skip_mcp_handler",
        "cache",
        "context_window_fallback_dict",
        "retry_strategy",
        # A proxy's: usage was asked for on its own account, and is not its client's.
        "_litellm_stream_usage_injected",
        "_litellm_strip_stream_usage",
        # A router's: which deployment it has chosen, and by what.
        "model_info",
        "order",
        "rpm",
        "tpm",
        "weight",
    ]
)
# In which a router notes what becomes of one call: of its context, and which fallbacks were tried.
ROUTER_NOTES: Final = frozenset(("_context_compaction_state", "attempted_targets"))
# Those whose values LiteLLM puts into the request as they are and that do nothing else: two watched calls must show it.
# Texts and whole numbers, of which it treats none otherwise than others;
VARIABLE_PLAIN: Final = frozenset(
    ("max_completion_tokens", "max_tokens", "prompt_cache_key", "safety_identifier", "seed", "user")
)
# the provider's own, whose names LiteLLM uses for something else, too;
VARIABLE_PROVIDERS: Final = frozenset(("session_id", "top_k", "trace_id"))
# numbers, of which it treats some otherwise that lie beyond one of the limits, or upon it;
VARIABLE_NUMBERS: Final = frozenset(("frequency_penalty", "n", "presence_penalty", "temperature", "top_p"))
NUMBER_LIMITS: Final = (-2.0, 0.0, 0.3, 1.0, 1.99, 2.0)
# more than that, see the kernel ``variables``;
VARIABLE_STRUCTURES: Final = frozenset(("logit_bias", "response_format", "stop", "tool_choice", "tools"))
# and headers and time limits, which do not go into the request's body.
VARIABLE_HEADERS: Final = frozenset(("extra_headers", "headers"))
VARIABLE_TIMES: Final = frozenset(("request_timeout", "stream_timeout", "timeout"))
VARIABLE_ARGUMENTS: Final = (
    VARIABLE_PLAIN | VARIABLE_PROVIDERS | VARIABLE_NUMBERS | VARIABLE_STRUCTURES | VARIABLE_HEADERS | VARIABLE_TIMES
)
# Holds arguments of the provider's own by name, besides those that are passed by themselves.
EXTRA_BODY: Final = "extra_body"
# What goes over the wire as it is: no HTTP client strips or refuses such a value, or encodes it in another way.
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# Request headers the provider SDK and its HTTP client write; users may add what they like, instrumentation may not.
SENT_HEADERS: Final = frozenset(
    [
        "host",
        "accept",
        "accept-encoding",
        "api-key",
        "connection",
        "authorization",
        "content-type",
        "content-length",
        "user-agent",
        "x-stainless-lang",
        "x-stainless-package-version",
        "x-stainless-os",
        "x-stainless-arch",
        "x-stainless-runtime",
        "x-stainless-runtime-version",
        "x-stainless-async",
        "x-stainless-raw-response",
        "x-stainless-retry-count",
        "x-stainless-read-timeout",
        "http-referer",
        "openai-organization",
        "openai-project",
        "x-novita-source",
        "x-pplx-integration",
        "x-title",
        "cookie",
    ]
)
# LiteLLM cuts a list of more stop sequences.
MAX_STOPS: Final = 4
# What the schema of a function's arguments may say, and of one of them: all that no provider's rules look at.
FUNCTION_WORDS: Final = frozenset(("additionalProperties", "description", "properties", "required", "title", "type"))
SCHEMA_WORDS: Final = FUNCTION_WORDS | frozenset(
    (
        "anyOf",
        "default",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "multipleOf",
        "nullable",
        "uniqueItems",
    )
)
# More that it may say, where a trial has shown that LiteLLM sends it as it is: some providers' rules look at it. At the
# top of a function's arguments some rules look at ``const`` and its like with every value.
TRIED_FUNCTION_WORDS: Final = frozenset(("$comment", "$defs", "default", "definitions", "examples"))
TRIED_WORDS: Final = TRIED_FUNCTION_WORDS | frozenset(
    (
        "$ref",
        "allOf",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "deprecated",
        "discriminator",
        "maxProperties",
        "minProperties",
        "not",
        "oneOf",
        "pattern",
        "prefixItems",
        "propertyNames",
        "readOnly",
        "writeOnly",
    )
)
# Which of these words hold schemas by name, in a list, or one.
SCHEMA_MAPS: Final = frozenset(("$defs", "definitions", "properties"))
SCHEMA_LISTS: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
SCHEMA_PARTS: Final = frozenset(("contains", "items", "not", "propertyNames"))
# What marks the kind of a schema with such words; older ones' definitions, which more rules look at, by themselves.
TRIED: Final = "tried"
DEFINITIONS: Final = "definitions"
# Regular expressions that Python may warn of, or reads in another way from release to release.
ODD_PATTERN: Final = re.compile(r"\[\[|\[\^\[|--|&&|~~|\|\||\(\?[a-zA-Z-]")
# What some providers' rules take out of dictionaries wherever they meet it.
REMOVED_MEMBERS: Final = frozenset(("$id", "$schema", "additionalProperties", "cache_control", "strict"))
# Arguments that LiteLLM or a proxy writes to during a call, in the order in which the fast path looks at them, and
# those of which callbacks alone are told. They change with each call, so that only key names and value types enter a
# plan's key.
MUTATED_ARGUMENTS: Final = (
    "metadata",
    "litellm_metadata",
    "proxy_server_request",
    "secret_fields",
    "litellm_call_id",
    "litellm_trace_id",
    "litellm_session_id",
    "id",
    "tags",
    "litellm_logging_obj",
)
# Of which programs tell callbacks what they like, also under names that no other call has.
METADATA: Final = "metadata"
MUTATED_NAMES: Final = frozenset(MUTATED_ARGUMENTS)
# Those of them that are dictionaries, if they are anything.
MUTATED_DICTIONARIES: Final = frozenset(MUTATED_ARGUMENTS[:4])
# Where it is among the metadata, LiteLLM's proxy may run code that a model asks for, and call it again.
CODE_EXECUTION: Final = "_litellm_code_execution_enabled"

# --- messages

ROLES: Final = frozenset(("assistant", "system", "tool", "user"))
# What messages may hold besides texts that are not empty. Providers' rules for messages leave some of it as it is.
MESSAGE_KINDS: Final = {
    "empty": 1,
    "names": 2,
    "parts": 4,
    "other parts": 8,
    "images": 16,
    "calls": 32,
    "results": 64,
    "other": 128,
}

# --- answers

# In the place of a header's name: the price that an answer states, which LiteLLM adds to the headers.
PRICE: Final = ""
# Members whose strings tell what a value is. They are part of a shape; all other strings are leaves.
TELLING_MEMBERS: Final = frozenset(("finish_reason", "object", "role", "service_tier", "type"))
FINISH_REASONS: Final = frozenset(("content_filter", "function_call", "length", "stop", "tool_calls"))
# What content begins with that LiteLLM takes reasoning out of.
REASONING_TAGS: Final = ("<think", "<budget:think")
# Values that LiteLLM acts on: the made-up tool of parallel calls, and by what Ollama's answers are known.
TREATED_VALUES: Final = frozenset(("fp_ollama", "multi_tool_use.parallel"))

# --- prices

# The arguments by which kinds of calls are told apart that are priced alike, in the order of a kind's key.
PRICED_COMPLETION: Final = (
    "model",
    "call_type",
    "custom_llm_provider",
    "region_name",
    "base_model",
    "router_model_id",
    "service_tier",
    "data_residency",
    "vertex_location",
    "optional_params",
    "completion_response",
)
PRICED_TOKENS: Final = (
    "model",
    "custom_llm_provider",
    "region_name",
    "call_type",
    "service_tier",
    "data_residency",
    "vertex_location",
    "request_model",
)

# --- streams

# Members of an event that LiteLLM's stream notes, or reads.
EVENT_MEMBERS: Final = ("id", "created", "model", "object", "system_fingerprint")
# In which a provider hides how long a chunk is.
OBFUSCATION: Final = "obfuscation"
# What attributes of LiteLLM's stream must be for a template to hold: nothing held back, the last chunk is to come, and
# the first is out, or is the next.
STREAM_OPEN: Final[tuple[tuple[str, Any], ...]] = (
    ("received_finish_reason", None),
    ("sent_last_chunk", False),
    ("merge_reasoning_content_in_choices", False),
    ("holding_chunk", ""),
)
# Providers whose events the SDK reads, and whose streams LiteLLM treats otherwise than those of the first.
STREAM_PROVIDERS: Final = ("openai", "azure")
STREAM_MIDDLE: Final = (("sent_first_chunk", True), *STREAM_OPEN)
STREAM_BEGINNING: Final[tuple[tuple[str, Any], ...]] = (
    ("sent_first_chunk", False),
    *STREAM_OPEN,
    ("created", None),
    ("response_id", None),
    ("system_fingerprint", None),
    ("_provider_response_model", None),
    ("intermittent_finish_reason", None),
    ("response_uptil_now", ""),
    ("chunks", []),
)
# Where later releases keep what chunks are made otherwise by.
STREAM_CARRIED: Final = ("_closed", "carried_chunk_choice_fields", "received_finish_choice_fields")
STREAM_IDENTIFIERS: Final = "_ollama_response_ids"
STREAM_UPSTREAM: Final = "_upstream_provider"
