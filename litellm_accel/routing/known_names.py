"""What both halves of the kernel ``routing`` know by name, and how much and how long they keep."""

from __future__ import annotations

from typing import Final

from litellm_accel.fastpath import decline

# --- requests

# Keys of a request that change the choice in ways only stock knows.
UNSERVED_KEYS: Final = frozenset(("_encrypted_content_affinity_pinned", "litellm_params"))
# Those that do so unless they are None.
UNSERVED_UNLESS_NONE: Final = ("routing_strategy", "_router_weights")
# Keys by which retries and fallbacks leave out deployments; a choice takes them out of the request.
STEERING_KEYS: Final = ("_target_order", "_excluded_deployment_ids", "_retry_skipped_deployment_ids")
# Metadata that stock's pre-routing hook takes out of a request, or reads back into it.
UNSERVED_METADATA: Final = (
    "routing_decision",
    "_autorouter_baseline_route",
    "_session_deployment_affinity_ttl",
    "_consumed_request_tags",
    "_client_output_ceiling",
)

# --- routers

# A router's containers that are empty, or not there, where its choice is a plain one, and the reason where one is not.
EMPTY_CONTAINERS: Final = (
    ("routing_plugins", decline.ROUTING_PLUGINS),
    ("auto_routers", decline.ROUTING_PRE_STRATEGIES),
    ("complexity_routers", decline.ROUTING_PRE_STRATEGIES),
    ("adaptive_routers", decline.ROUTING_PRE_STRATEGIES),
    ("quality_routers", decline.ROUTING_PRE_STRATEGIES),
    ("routing_groups", decline.ROUTING_GROUPS),
    ("_routing_groups", decline.ROUTING_GROUPS),  # as earlier releases call them
    ("_model_to_group", decline.ROUTING_GROUPS),
)

# Methods that list a model group's deployments, whatever the release calls them.
LISTING_METHODS: Final = frozenset(("get_all_deployments", "_get_all_deployments", "should_include_deployment"))

# --- how long a choice in a thread waits for lists that are being changed: so often, so many seconds each time

PATIENCE: Final = 20
PAUSE: Final = 0.001
