"""What may be set, and how it is checked. Imported only where something is set: pydantic takes its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from litellm_accel import components

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Mode = Literal["on", "off", "rollout", "canary", "shadow"]
Metric = Literal["fault_rate", "error_rate", "decline_rate", "p50_us", "p95_us", "p99_us"]
# Components that compute without side effects, and those that do not.
_IN_SHADOW = ("tokens", "cost", "routing")
_NEVER_IN_SHADOW = ("rate_limit", "connection_pool", "chat", "streaming", "embeddings")
# Components of which no part can be told apart.
_WHOLE = ("connection_pool",)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class ComponentSettings(_Strict):
    """How much of the calls of one component is served."""

    mode: Mode = "on"
    """`on`: all it understands; `off`: none; `rollout`: a share of `percent`; `canary`: a share that grows by `steps`
    while nothing is worse than stock; `shadow`: none, but `percent` of them are computed beside stock and compared."""
    percent: Percent | None = None
    """Share of the calls: `rollout` (required), `shadow` (default 100), `canary` (where it starts; default the first of
    `steps`)."""
    key: str | None = Field(default=None, pattern=r"^(litellm_call_id|user|(litellm_)?metadata(\.[^.]+)+)$")
    """What decides on which side a call falls: `litellm_call_id` (the default), `user`, or a path like
    `metadata.user_id`. Calls without it fall on both sides in turn."""
    steps: list[Percent] = Field(default=[5, 25, 50, 100], min_length=1, max_length=100)
    """`canary`: the shares, growing."""
    step_seconds: Seconds = 600
    """`canary`: how long each share is watched."""
    min_calls: Count = 200
    """`canary`: how many calls must be served before a share is judged or widened."""
    max_error_rate: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.01
    """`canary`: accelerated calls may fail this often more than stock's."""
    reveal: bool = False
    """`shadow`: differences are kept with the text of messages."""


class BreakerSettings(_Strict):
    """When a component turns itself off, and for how long."""

    faults: Count = 10
    """So many internal faults …"""
    window_seconds: Seconds = 60
    """… within so many seconds open the breaker."""
    cooldown_seconds: Seconds = 300
    """After so many seconds one call is tried."""


class AlertSettings(_Strict):
    """A bound that a figure must not exceed."""

    metric: Metric
    """Over the last 10 seconds: internal faults, errors that callers met, and declined calls, each as a share of all
    calls; or a percentile of the time that accelerated calls took, in microseconds."""
    component: str = "*"
    """A component's name, or `*` for each of them."""
    above: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The bound."""
    webhook: Annotated[str, Field(pattern=r"^https?://", max_length=2000)] | None = None
    """Where the alert is posted to as JSON, besides the log."""
    call: SkipJsonSchema[Callable[[dict[str, Any]], object] | None] = Field(default=None, exclude=True, repr=False)


class Settings(_Strict):
    """Settings of litellm-accel, as a JSON or TOML file or `[tool.litellm-accel]` in `pyproject.toml` has them."""

    enabled: bool = True
    """Whether anything is accelerated."""
    components: dict[str, ComponentSettings] = {}
    """By the component's name. Those that are not named are on."""
    breaker: BreakerSettings = BreakerSettings()
    statistics: bool = False
    """Whether the time of each call is taken. Modes, alerts and whoever asks a running process need it and have it."""
    stats: str | None = Field(default=None, max_length=4000)
    """Where a running process can be asked: `unix:/path/%p.sock`, or a directory; `%p` is the process id."""
    prometheus: bool = False
    """Whether the figures are kept in prometheus_client's registry, which LiteLLM's proxy exposes at `/metrics`."""
    opentelemetry: bool = False
    """Whether the figures are given to OpenTelemetry's metrics API."""
    alerts: list[AlertSettings] = Field(default=[], max_length=100)
    watch: bool = False
    """Whether a changed file is taken over while the program runs."""

    @property
    def measures(self) -> bool:
        """Whether somebody wants to know how long calls take."""
        return bool(self.statistics or self.stats or self.prometheus or self.opentelemetry or self.alerts)

    def of(self, name: str) -> ComponentSettings:
        """Return the settings of component ``name``."""
        if not self.enabled:
            return _OFF
        return self.components.get(name, _ON)


_ON, _OFF = ComponentSettings(), ComponentSettings(mode="off")
_SHORT = 60


class Problem(ValueError):
    """One value that is not understood: at which ``place`` it stands, what it is, and what is allowed there."""

    def __init__(self, place: str, key: str, value: Any, allowed: str) -> None:
        shown = f"{key} = {short(value)}" if key else short(value)
        super().__init__(f"{place}: {shown} is not understood; allowed: {allowed}")


def checked(values: Any, place: str) -> Settings:
    """Return ``values``, which stand at ``place``, as settings. Raises ``Problem`` for the first that is wrong."""
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(step) for step in found["loc"])
        raise Problem(place, key, found["input"], _allowed(found)) from None
    known = ", ".join(components.NAMES)
    for name, component in settings.components.items():
        key = f"components.{name}"
        if name not in components.NAMES:
            raise Problem(place, key, component.mode, known)
        if component.mode == "shadow" and name in _NEVER_IN_SHADOW:
            raise Problem(place, f"{key}.mode", component.mode, f"shadow for {', '.join(_IN_SHADOW)}")
        if component.mode in ("rollout", "canary") and name in _WHOLE:
            raise Problem(place, f"{key}.mode", component.mode, "on, off")
        if component.mode == "rollout" and component.percent is None:
            raise Problem(place, f"{key}.percent", None, "a number from 0 to 100")
        if component.steps != sorted(set(component.steps)):
            raise Problem(place, f"{key}.steps", component.steps, "numbers that grow")
    for number, alert in enumerate(settings.alerts):
        if alert.component not in ("*", *components.NAMES):
            raise Problem(place, f"alerts.{number}.component", alert.component, f"*, {known}")
    return settings


def short(value: Any) -> str:
    """Return ``value`` as a log line can hold it."""
    try:
        text = repr(value)
    except Exception:  # a number of thousands of digits has no decimal form
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _allowed(found: Any) -> str:
    """Return what is allowed where pydantic has ``found`` something else."""
    kind, path = found["type"], found["loc"]
    if kind == "extra_forbidden":
        return ", ".join((_KINDS[path[0]] if path[:-1] else Settings).model_fields)
    if kind == "missing":
        return f"a value for {path[-1]}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "a table"
    if kind == "string_pattern_mismatch":
        return _PATTERNS[path[-1]]
    text: str = found["msg"]
    return text.removeprefix("Input should be ").removeprefix("a valid ")


_KINDS: dict[Any, type[BaseModel]] = {
    "components": ComponentSettings,
    "breaker": BreakerSettings,
    "alerts": AlertSettings,
}
_PATTERNS = {"key": "litellm_call_id, user, or a path like metadata.user_id", "webhook": "an http or https address"}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a settings file."""
    schema = Settings.model_json_schema()
    schema["properties"]["components"]["propertyNames"] = {"enum": list(components.NAMES)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
