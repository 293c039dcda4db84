"""The dashboard, the alert rules and the settings that the documentation ships, against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from litellm_accel import cli, settings
from litellm_accel.operation.exports import PREFIX, metrics
from litellm_accel.operation.schema import ComponentSettings, Settings, checked

DOCS = Path(cli.__file__).parents[1] / "docs"
KNOWN = {f"{PREFIX}{metric.name}{'_total' * (metric.kind == 'counter')}": metric.labels for metric in metrics({})}

pytestmark = pytest.mark.skipif(settings.pure(), reason="pages do not depend on the backend")


def requires_known(query: str) -> None:
    """Fail unless each metric and label of a query is one of ours."""
    names = re.findall(r"litellm_accel_\w+", query)
    assert names and set(names) <= set(KNOWN), query
    for name, matchers in re.findall(r"(litellm_accel_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)(?:=~|!=|=)", matchers)) <= {*KNOWN[name], "le"}, query
    for labels in re.findall(r"by \(([^)]*)\)", query):
        assert all(set(labels.split(", ")) <= set(KNOWN[name]) for name in names), query
    assert query.count("(") == query.count(")") and query.count("{") == query.count("}")


def test_the_dashboard_is_one_and_shows_figures_that_are_there() -> None:
    dashboard: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text())
    kinds = {
        "title": str,
        "uid": str,
        "schemaVersion": int,
        "panels": list,
        "templating": dict,
        "time": dict,
        "annotations": dict,
    }
    assert all(type(dashboard[key]) is kind for key, kind in kinds.items())
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    places, identities = set(), set()
    for panel in dashboard["panels"]:
        assert panel["type"] in ("timeseries", "stat", "table") and panel["title"]
        place = panel["gridPos"]
        assert set(place) == {"h", "w", "x", "y"} and place["x"] + place["w"] <= 24
        places.add((place["x"], place["y"]))
        identities.add(panel["id"])
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            requires_known(target["expr"])
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
            assert target["refId"] and target["legendFormat"]
    assert len(places) == len(identities) == len(dashboard["panels"])
    shown = json.dumps(dashboard)
    assert all(name in shown for name in KNOWN if name != "litellm_accel_call_seconds_total")


def test_the_alert_rules_are_some_and_use_figures_that_are_there() -> None:
    yaml = pytest.importorskip("yaml")
    (group,) = yaml.safe_load((DOCS / "prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\w+", rule["alert"]) and rule["labels"]["severity"] and rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        requires_known(rule["expr"])


def test_what_the_page_shows_as_settings_is_understood() -> None:
    page = (DOCS / "operations.md").read_text("utf-8")
    examples = re.findall(r"```json\n(.*?)```", page, re.S)
    assert examples
    for example in examples:
        checked(json.loads(example), "docs")
    for name in {*Settings.model_fields, *ComponentSettings.model_fields} - {"components", "breaker"}:
        assert f"`{name}`" in page or f".{name}`" in page, name


def test_the_page_names_every_figure() -> None:
    page = (DOCS / "operations.md").read_text("utf-8")
    assert [name for name in KNOWN if f"`{name}`" not in page] == []
