"""The rules, alerts and configurations of Prometheus, checked by promtool and by a real Prometheus.

The binaries are Debian's: `apt-get install prometheus`. Without them, these tests are skipped.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from bridge.server.listening import bind
from tests.bridge_process import ROOT
from tests.deploy.test_grafana import dashboard_queries
from tests.raw_upstream import run_upstream
from tests.running_bridge import load_table, serve_table
from tests.telemetry.test_metrics import chat_body, with_usage
from tests.test_docs import headings, page_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.running_bridge import RunningBridge

FOLDER = ROOT / "deploy" / "prometheus"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
ROUTES = """
routes:
  - {name: first, models: m, upstream: "${UPSTREAM}", fallback: second}
  - {name: second, models: other, upstream: "${UPSTREAM}", limits: {concurrency: 8}}
"""
# The panels that have data after the requests of `send_requests`.
WITH_DATA = {
    "Requests", "Failed requests", "Upstream errors by kind", "Time to the end of the response",
    "Time to the first token of a stream", "Time for each further token", "Tokens each second",
    "In progress and waiting", "Retries and fallbacks", "Reloads within the interval",
}  # fmt: skip
TIMEOUT = 60.0  # seconds


def binary(name: str) -> str:
    """Return the path of a binary. Without the binary, skip the test."""
    # Not by a mark or a fixture: pytest reports all tests that are skipped at the same line in one line.
    path = shutil.which(name)
    if path is None:
        pytest.skip("rules and alerts need Debian's package `prometheus`")
    return path


def promtool(*arguments: object, text: bytes = b"") -> None:
    """Run a check of promtool, which must succeed without a warning."""
    done = subprocess.run(
        [binary("promtool"), *map(str, arguments)],
        input=text,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=FOLDER,
    )
    assert done.returncode == 0, done.stdout.decode()


def write_config(file: Path, target: str) -> None:
    """Write prometheus.yaml with another target and an interval of a second."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    file.write_text(yaml.safe_dump(config))


class Prometheus:
    """A running Prometheus."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression, which must be valid."""
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": expression}) as response:
            body = await response.json()
            assert body["status"] == "success", (expression, body)
            series: list[dict[str, Any]] = body["data"]["result"]
            return series

    async def is_positive(self, expression: str) -> bool:
        """Return whether a series of an expression is a number above 0."""
        try:
            return any(float(series["value"][1]) > 0 for series in await self.query(expression))
        except aiohttp.ClientConnectionError:
            return False  # Prometheus is starting


@asynccontextmanager
async def run_prometheus(folder: Path, bridge: RunningBridge) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes a bridge each second."""
    write_config(folder / "prometheus.yaml", "{}:{}".format(*bridge.admin[:2]))
    (listener,) = bind("127.0.0.1:0")
    port = listener.getsockname()[1]
    listener.close()
    process = await asyncio.create_subprocess_exec(
        binary("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Prometheus(session, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        await process.wait()


async def send_requests(bridge: RunningBridge) -> None:
    """Send a completion, a stream, and two requests that fail on both routes."""
    for body in (chat_body("a"), chat_body("b", stream=True), chat_body("fail"), chat_body("fail")):
        await bridge.request(body)


async def wait_with_requests(prometheus: Prometheus, bridge: RunningBridge, expression: str) -> None:
    """Send requests until an expression is above 0: a rate needs a change between two scrapes."""
    async with asyncio.timeout(TIMEOUT):
        while not await prometheus.is_positive(expression):
            await send_requests(bridge)
            await asyncio.sleep(0.2)


def test_the_rules_and_configurations_are_valid(tmp_path: Path) -> None:
    promtool("check", "rules", "rules.yaml")
    promtool("test", "rules", "rules_test.yaml")
    promtool("check", "config", "prometheus.yaml")
    # Debian's Prometheus has no service discovery of Kubernetes: all but this part is checked.
    config = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text())
    assert config["scrape_configs"][0].pop("kubernetes_sd_configs") == [{"role": "pod"}]
    config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
    (tmp_path / "kubernetes.yaml").write_text(yaml.safe_dump(config))
    promtool("check", "config", tmp_path / "kubernetes.yaml")


def test_a_misspelt_rule_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text((FOLDER / "rules.yaml").read_text().replace("sum by", "sun by"))
    with pytest.raises(AssertionError, match="parse error"):
        promtool("check", "rules", tmp_path / "rules.yaml")


async def test_a_real_prometheus_evaluates_every_expression(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES)
    with_data = set()  # titles of panels
    async with run_upstream(with_usage) as server:
        variables = {"UPSTREAM": server.url}
        table = load_table(ROUTES, variables)
        async with (
            serve_table(table, variables, file=str(file), watch=True, limit=3 * TIMEOUT) as bridge,
            run_prometheus(tmp_path, bridge) as prometheus,
        ):
            await wait_with_requests(prometheus, bridge, "job_route:bridge_failures:ratio_3d")
            promtool("check", "metrics", text=(await bridge.get_admin("/metrics")).body)
            for rule in RULES:
                result = await prometheus.query(rule["expr"])
                assert result or "alert" in rule, f"{rule['record']} has no data"
            for title, query in dashboard_queries():
                query = query.replace("$route", ".*").replace("$__rate_interval", "1m")
                if await prometheus.query(query):
                    with_data.add(title)
            assert with_data >= WITH_DATA
            # An alert that fires: one rejected reload.
            file.write_text("routes: []")
            fires = 'ALERTS{alertname="BridgeReloadRejected", alertstate="firing"}'
            await wait_with_requests(prometheus, bridge, fires)
            ratios = await prometheus.query("job_route:bridge_failures:ratio_5m")
            assert all(math.isfinite(float(series["value"][1])) for series in ratios)


def test_each_alert_has_a_test_in_which_the_alert_fires() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
    fired = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in RULES if "alert" in rule}


def test_each_alert_leads_to_a_heading_of_the_runbook() -> None:
    alerts = [rule for rule in RULES if "alert" in rule]
    for alert in alerts:
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        page, _, heading = alert["annotations"]["runbook_url"].partition("#")
        assert page.endswith("/docs/runbook.md")
        assert heading in headings(page_text("docs/runbook.md")), alert["alert"]
        assert heading == alert["alert"].lower()
    assert page_text("docs/runbook.md").count("\n## Bridge") == len(alerts)
