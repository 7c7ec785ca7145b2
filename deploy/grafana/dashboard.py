"""The Grafana dashboard as plain dicts. `python deploy/grafana/dashboard.py` writes dashboard.json.

Grafana's JSON repeats some forty lines for each panel: `PANELS` has the differences.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Panel = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 2, 12, 8  # Grafana's grid has 24 columns

DURATION = "gen_ai_server_request_duration_seconds"
FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds"  # noqa: S105
PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105


def rate(metric: str, by: str) -> str:
    """Return the query of the rate of a counter, summed by some labels."""
    return f'sum by ({by}) (rate({metric}{{route=~"$route"}}[$__rate_interval]))'


def quantiles(histogram: str) -> dict[str, str]:
    """Return the queries of the median and two high percentiles of a histogram, by their legends."""
    buckets = rate(f"{histogram}_bucket", "le, route")
    return {f"{{{{route}}}} p{p}": f"histogram_quantile(0.{p}, {buckets})" for p in (50, 95, 99)}


def gauge(metric: str, by: str) -> str:
    """Return the query of a gauge, summed by some labels."""
    return f'sum by ({by}) ({metric}{{route=~"$route"}})'


# title, unit, queries by their legends
PANELS: list[tuple[str, str, dict[str, str]]] = [
    ("Requests", "reqps", {"{{route}} {{code}}": rate("bridge_requests_total", "route, code")}),
    ("Failed requests", "percentunit", {
        "{{route}}": 'job_route:bridge_failures:ratio_5m{route=~"$route"}',
    }),
    ("Upstream errors by kind", "reqps", {
        "{{route}} {{kind}}": rate("bridge_upstream_errors_total", "route, kind"),
    }),
    ("Client disconnects", "reqps", {"{{route}}": rate("bridge_client_disconnects_total", "route")}),
    ("Time to the end of the response", "s", quantiles(DURATION)),
    ("Time to the first token of a stream", "s", quantiles(FIRST_TOKEN)),
    ("Time for each further token", "s", quantiles(PER_TOKEN)),
    ("Tokens each second", "short", {
        "{{route}} {{gen_ai_token_type}}": rate("gen_ai_client_token_usage_sum", "route, gen_ai_token_type"),
        "{{route}} {{gen_ai_token_type}} (estimated)": rate(
            "bridge_estimated_tokens_total", "route, gen_ai_token_type"
        ),
    }),
    ("In progress and waiting", "short", {
        "{{route}} in progress": gauge("bridge_requests_in_progress", "route"),
        "{{route}} waiting": gauge("bridge_requests_waiting", "route"),
    }),
    ("Rejected by the queue", "reqps", {
        "{{route}} {{reason}}": rate("bridge_queue_rejections_total", "route, reason"),
    }),
    ("Retries and fallbacks", "reqps", {
        "{{route}} retry after {{cause}}": rate("bridge_upstream_retries_total", "route, cause"),
        "{{route}} to {{fallback}}": rate("bridge_fallbacks_total", "route, fallback"),
    }),
    ("Evicted replicas", "short", {
        "{{route}} {{replica}}": gauge("bridge_upstream_replicas_evicted", "route, replica"),
    }),
    ("Reloads within the interval", "short", {
        "{{result}}": "sum by (result) (increase(bridge_reloads_total[$__rate_interval]))",
    }),
    ("Session store failures and dropped log lines", "short", {
        "{{route}} store": rate("bridge_session_store_failures_total", "route"),
        "log lines": "sum(rate(bridge_log_lines_dropped_total[$__rate_interval]))",
    }),
]  # fmt: skip

VARIABLES = [
    {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
    {
        "name": "route",
        "label": "Route",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(bridge_requests_in_progress, route)", "refId": "routes"},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    },
]


def panel(number: int, title: str, unit: str, queries: dict[str, str]) -> Panel:
    """Return a panel with the curves of some queries."""
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(queries.items())
        ],
    }


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return {
        "uid": "format-bridge",
        "title": "The bridge",
        "tags": ["format-bridge"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": VARIABLES},
        "panels": [panel(number, *contents) for number, contents in enumerate(PANELS)],
    }


def as_json() -> str:
    """Return the text of dashboard.json."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("dashboard.json").write_text(as_json())
