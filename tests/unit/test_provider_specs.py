"""What is known of each provider: one entry a provider, and lists that are made of it alone."""

from __future__ import annotations

import importlib

import pytest

from litellm_accel.stock import providers, seams, surface
from litellm_accel.stock.providers import PROVIDERS, ProviderSpec, spec_of
from litellm_accel.verify.scenarios.providers import MODELS


def test_a_provider_has_one_entry() -> None:
    names = [spec.name for spec in PROVIDERS]
    assert names == sorted(set(names))


def test_a_provider_whose_rules_were_read_is_played() -> None:
    assert {spec.name for spec in PROVIDERS if spec.way is not None} <= MODELS.keys()


def test_what_is_gone_around_for_a_provider_is_watched() -> None:
    for spec in PROVIDERS:
        for target in filter(None, (spec.config, *spec.bypassed)):
            assert target in (surface.CLASSES if ":" in target else surface.MODULES)


def test_an_answer_is_converted_by_the_class_of_its_provider() -> None:
    assert "litellm.llms.groq.chat.transformation:GroqChatConfig.transform_response" in providers.CONVERSIONS.values()
    assert all(spec.config is not None for spec in PROVIDERS if spec.converts)


def test_a_provider_without_an_entry_has_a_plain_one() -> None:
    assert spec_of("nobody") == ProviderSpec("nobody")
    assert spec_of("xai").sums_tokens


@pytest.mark.parametrize(
    "spec", [spec for spec in PROVIDERS if spec.way == "http" and spec.config], ids=lambda s: s.name
)
def test_who_asks_with_the_provider_s_name_looks_up_no_other_s(spec: ProviderSpec) -> None:
    """Or each call of a model that is not in LiteLLM's list would be left to LiteLLM, which prints nothing."""
    module, _, name = str(spec.config).partition(":")
    config = getattr(importlib.import_module(module), name)
    assert not seams.looks_models_up(config()) or spec.name == "openrouter"


class _AsksForAnybodys:
    def get_supported_openai_params(self, model: str) -> bool:
        return bool(seams.supports_reasoning(model=model, of=1) or seams.supports_reasoning(model=model))  # type: ignore[attr-defined]


def test_who_asks_by_the_model_s_name_alone_looks_up_all() -> None:
    assert seams.looks_models_up(_AsksForAnybodys())
    assert not seams.looks_models_up(object())
