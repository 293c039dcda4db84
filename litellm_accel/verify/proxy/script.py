"""What is asked of a proxy, and how a proxy is set up: both are data. A run is a script in one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: The master key of every configuration that has one.
KEY = "sk-master-of-verify"
CHAT = "/v1/chat/completions"

Needs = Literal["database", "redis", "prometheus", "gunicorn"]
#: What a script says of component ``proxy``: it must serve some of the requests, or may do as it likes.
Way = Literal["served", "either"]


@dataclass(frozen=True)
class Ask:
    """A request. In the texts of ``body``, ``{n}`` is how often it was sent before."""

    body: Any = None  # sent as JSON unless it is bytes
    path: str = CHAT
    method: str = "POST"
    key: str | None = KEY
    headers: tuple[str, ...] = ()
    times: int = 1
    raw: bytes | None = None  # sent instead of all that, followed by the end of what the client sends
    leaves: Literal["", "asked", "answered"] = ""  # the client goes as soon as the provider was asked, or answers
    status_only: bool = False  # the rest of the answers says what has been written so far
    together: bool = False  # all ``times`` at once; answers are compared in no order


@dataclass(frozen=True)
class Script:
    """Requests, one after the other. ``name`` is ``theme/what``, unique; ``via`` are names of configurations."""

    name: str
    asks: tuple[Ask, ...]
    via: tuple[str, ...] = ("plain",)
    way: Way = "either"
    races: bool = False  # whether the provider is asked is an accident in stock, too
    ends: bool = False  # the proxies are stopped after the requests, and what they leave is compared
    seconds: float = 0.0


@dataclass(frozen=True)
class Config:
    """How a proxy is set up: its file, modules beside it, what it needs, its environment and command.

    In ``file``, ``At`` stands for an address of the provider.
    """

    name: str
    file: Mapping[str, Any]
    modules: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Needs, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # of the command ``litellm``
    begins: tuple[Ask, ...] = ()  # asked of both before the first run: admins' work, compared too
    by_minutes: bool = False  # limits count: a run that takes too long is not judged


@dataclass(frozen=True)
class GatewayRun:
    """A script in one configuration."""

    scenario: Script
    config: Config

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"{self.scenario.name}@{self.config.name}"
