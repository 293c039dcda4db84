"""The settings and how they are checked. Imported only if something is set, since importing pydantic is slow."""

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
# Components that compute without side effects or compare whole calls with stock's, and those that do neither.
_IN_SHADOW = ("tokens", "cost", "routing", "chat", "streaming")
_NEVER_IN_SHADOW = ("rate_limit", "connection_pool")
# Components that can only be on or off.
_WHOLE = ("connection_pool",)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class ComponentSettings(_Strict):
    """Which of a component's calls are served."""

    mode: Mode = "on"
    """`on`: all that it understands; `off`: none; `rollout`: a share of `percent`; `canary`: a share that grows by
    `steps` as long as nothing is worse than stock; `shadow`: none, but `percent` of them are also computed and
    compared."""
    percent: Percent | None = None
    """The share of calls: for `rollout` (required), `shadow` (default 100), and `canary` (the first share; default the
    first of `steps`)."""
    key: str | None = Field(default=None, pattern=r"^(litellm_call_id|user|(litellm_)?metadata(\.[^.]+)+)$")
    """What decides which side a call falls on: `litellm_call_id` (the default), `user`, or a path like
    `metadata.user_id`. Calls without it fall on both sides in turn."""
    steps: list[Percent] = Field(default=[5, 25, 50, 100], min_length=1, max_length=100)
    """`canary`: the growing shares."""
    step_seconds: Seconds = 600
    """`canary`: how long each share lasts."""
    min_calls: Count = 200
    """`canary`: how many calls must be served before a share is judged or widened."""
    max_error_rate: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.01
    """`canary`: a failure rate of accelerated calls that is clearly above this and above stock's ends it."""
    reveal: bool = False
    """`shadow`: whether differences are kept with the text of messages."""


class BreakerSettings(_Strict):
    """When a component turns itself off, and for how long."""

    faults: Count = 10
    """This many internal faults …"""
    window_seconds: Seconds = 60
    """… within this many seconds open the breaker."""
    cooldown_seconds: Seconds = 300
    """After this many seconds one call is tried."""


class AlertSettings(_Strict):
    """A bound that a figure should not exceed."""

    metric: Metric
    """Over the last 10 seconds: internal faults, errors that callers received, or declined calls, each as a proportion
    of all calls; or a percentile of the time that accelerated calls took, in microseconds."""
    component: str = "*"
    """A component's name, or `*` for all of them."""
    above: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The bound."""
    webhook: Annotated[str, Field(pattern=r"^https?://", max_length=2000)] | None = None
    """The address to which the alert is posted as JSON; it is always logged."""
    call: SkipJsonSchema[Callable[[dict[str, Any]], object] | None] = Field(default=None, exclude=True, repr=False)


class Settings(_Strict):
    """Settings of litellm-accel, in a JSON or TOML file or in `[tool.litellm-accel]` of `pyproject.toml`."""

    enabled: bool = True
    """Whether anything is accelerated."""
    components: dict[str, ComponentSettings] = {}
    """Settings by component name. Components that are not named are on."""
    breaker: BreakerSettings = BreakerSettings()
    statistics: bool = False
    """Whether each call is timed. Modes, alerts and the socket of a running process turn this on by themselves."""
    stats: str | None = Field(default=None, max_length=4000)
    """Where a running process answers questions: `unix:/path/%p.sock`, or a directory; `%p` is the process id."""
    prometheus: bool = False
    """Whether the figures are kept in prometheus_client's registry, which LiteLLM's proxy exposes at `/metrics`."""
    opentelemetry: bool = False
    """Whether the figures are given to OpenTelemetry's metrics API."""
    openfeature: bool = False
    """Whether flags of OpenFeature's client `litellm-accel` set the modes."""
    admin_route: bool = False
    """Whether LiteLLM's proxy tells what this process does at `GET /litellm-accel/status`, to its admins alone."""
    alerts: list[AlertSettings] = Field(default=[], max_length=100)
    watch: bool = False
    """Whether changes to the file take effect while the program runs."""

    @property
    def measures(self) -> bool:
        """Whether something needs the times of calls."""
        return bool(self.statistics or self.stats or self.prometheus or self.opentelemetry or self.alerts)

    def of(self, name: str) -> ComponentSettings:
        """Return the settings of component ``name``."""
        if not self.enabled:
            return _OFF
        return self.components.get(name, _ON)


_ON, _OFF = ComponentSettings(), ComponentSettings(mode="off")
_SHORT = 60


class Problem(ValueError):
    """A value that is not understood: the ``place`` where it is, the value, and what is allowed there."""

    def __init__(self, place: str, key: str, value: Any, allowed: str) -> None:
        shown = f"{key} = {short(value)}" if key else short(value)
        super().__init__(f"{place}: {shown} is not understood; allowed: {allowed}")


def checked(values: Any, place: str) -> Settings:
    """Return ``values``, which come from ``place``, as settings. Raises ``Problem`` for the first invalid one."""
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
    """Return ``value`` in a form short enough for a log line."""
    try:
        text = repr(value)
    except Exception:  # Python refuses to write integers of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _allowed(found: Any) -> str:
    """Return what is allowed in the place where pydantic ``found`` something else."""
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
