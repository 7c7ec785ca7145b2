"""The dashboard of Grafana is the output of its script, and uses metrics that exist."""

from __future__ import annotations

import json
import re
import runpy
from typing import TYPE_CHECKING

import yaml

from bridge.telemetry.instruments import COUNTERS, GAUGES, HISTOGRAMS
from tests.bridge_process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "deploy" / "grafana"
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
COMPOSE = ROOT / "deploy" / "compose.yaml"


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Yield the title of the panel and the expression of each query."""
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def rules() -> list[dict[str, str]]:
    """Return all recording rules and alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def series_names() -> set[str]:
    """Return the names of all series of the bridge, and those of the recording rules."""
    histograms = {family[0].name for family in HISTOGRAMS}
    return {
        *GAUGES,
        *(f"{name}_total" for name in COUNTERS),
        *(f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")),
        *(rule["record"] for rule in rules() if "record" in rule),
    }


def test_the_json_is_the_output_of_the_script() -> None:
    script = runpy.run_path(str(FOLDER / "dashboard.py"))
    assert (FOLDER / "dashboard.json").read_text() == script["as_json"]()


def test_every_metric_exists() -> None:
    queries = [*(query for _, query in dashboard_queries()), *(rule["expr"] for rule in rules())]
    named = {
        name
        for query in queries
        for name in re.findall(r"\b(?:job_route:|bridge_|gen_ai_)[\w:]+(?=[{\[\s)]|$)", query)
        if name != "gen_ai_token_type"  # a label
    }
    assert named - series_names() == set()
    assert len(named) > 15


def test_every_panel_but_those_of_processes_selects_the_route() -> None:
    without = {title for title, query in dashboard_queries() if 'route=~"$route"' not in query}
    assert without == {
        "Reloads within the interval",
        "Session store failures and dropped log lines",
    }


def test_the_containers_mount_files_that_exist() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert services.keys() == {"bridge", "prometheus", "grafana"}
    for service in services.values():
        for volume in service["volumes"]:
            if volume.startswith("."):
                assert (COMPOSE.parent / volume.split(":")[0]).exists(), volume
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        image = service.get("image", "the bridge's:v1.1.1")
        assert re.search(r":v?\d+\.\d+\.\d+$", image), f"{image} has no exact version"
    build = services["bridge"]["build"]
    assert (COMPOSE.parent / build["context"] / build["dockerfile"]).exists()


def test_grafana_reads_from_the_prometheus_of_the_same_file() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/bridge.yaml").read_text())["providers"]
    grafana = yaml.safe_load(COMPOSE.read_text())["services"]["grafana"]
    assert source["url"] == "http://prometheus:9090"
    assert any(f":{provider['options']['path']}/" in volume for volume in grafana["volumes"])
