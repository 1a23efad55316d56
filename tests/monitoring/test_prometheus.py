"""A real Prometheus scrapes all programs at work: it evaluates every alert, and every panel of the dashboard shows
something."""

import asyncio
import os
import time
from itertools import count
from pathlib import Path

import pytest

from tests.helm import alerts, dashboard
from tests.helm.grafana import Panel
from tests.monitoring.prometheus import Prometheus, installed, prometheus
from tests.monitoring.targets import targets
from tests.monitoring.world import world
from tests.support.waiting import run_async

# What stands still in this world: nothing was restarted.
STANDS_STILL = {"Restarts"}
RATE_INTERVAL = "5s"


def empty(asked: Prometheus, panels: list[Panel]) -> list[str]:
    """The titles of the panels of which a query has no series, or one that is not a number, just now."""
    now = time.time()
    found = []
    for panel in panels:
        for query in panel.queries:
            expr = query.expr.replace("$node", ".*").replace("$__rate_interval", RATE_INTERVAL)
            series = asked.range(expr, now - 1, now, 1)
            if not [value for each in series for _, value in each.points if value == value]:
                found.append(f"{panel.title}: {query.expr}")
    return found


def test_alerts_and_panels(tmp_path: Path) -> None:
    """Each alert is evaluated without an error, and none is raised for what works here; each panel has values at the
    same time."""
    if not installed():
        text = "prometheus is not installed: .ci/install test"
        pytest.fail(text) if os.environ.get("SECRETS_STORE_REQUIRE_CLUSTER") else pytest.skip(text)
    panels = [panel for row in dashboard.ROWS for panel in row.panels if panel.title not in STANDS_STILL]
    groups = [{"name": "alerts", "rules": [{**rule, "for": "0s"} for rule in alerts.rules()]}]

    async def scenario() -> None:
        (tmp_path / "prometheus").mkdir()
        async with (
            world(tmp_path / "world") as made,
            prometheus(tmp_path / "prometheus", targets(made), groups) as asked,
        ):
            for number in count():
                await made.beat(number)
                missing = await asyncio.to_thread(empty, asked, panels)
                health = set((await asyncio.to_thread(asked.rules)).values())
                if not missing and health == {"ok"}:
                    break
                assert number < 60, f"{missing}, {await asyncio.to_thread(asked.rules)}"
            raised = await asyncio.to_thread(asked.range, "ALERTS", time.time() - 1, time.time(), 1)
            names = {each.labels["alertname"] for each in raised}
            assert not names & {"SecretsStoreNotRegistered", "SecretsStoreApiLost", "SecretsStoreProviderDown"}, names

    run_async(scenario, 120)
