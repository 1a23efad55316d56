"""A real Prometheus scrapes all programs at work: it evaluates every alert, and every panel of the dashboard shows
something."""

import asyncio
import time
from itertools import count
from pathlib import Path

from tests.helm import alerts, dashboard, promtool
from tests.helm.grafana import Panel
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.monitoring.targets import targets
from tests.monitoring.world import world
from tests.support.waiting import run_async

# What stands still in this world: nothing was restarted.
STANDS_STILL = {"Restarts"}
BROKEN = {"SecretsStorePublishErrors", "SecretsStoreSecretNotSynced"}
WORKING = {
    "SecretsStoreNotRegistered",
    "SecretsStoreApiLost",
    "SecretsStoreProviderDown",
    "SecretsStoreNoProvider",
    "SecretsStoreRestarts",
    "SecretsStoreTaskRestarts",
    "SecretsStoreNodeClock",
    "SecretsStoreNoSyncLeader",
}
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


def raised(asked: Prometheus) -> set[str]:
    """The names of the alerts that are raised just now."""
    now = time.time()
    return {each.labels["alertname"] for each in asked.range('ALERTS{alertstate="firing"}', now - 1, now, 1)}


def test_alerts_and_panels(tmp_path: Path) -> None:
    """Each alert is evaluated without an error; those for what goes wrong here are raised, as they are without their
    patience, and none for what works; each panel has values at the same time."""
    promtool.needed()
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
                health = await asyncio.to_thread(asked.rules)
                names = await asyncio.to_thread(raised, asked)
                assert not names & WORKING, names
                if not missing and set(health.values()) == {"ok"} and names >= BROKEN:
                    break
                assert number < 60, f"{missing}, {health}, {names}"

    run_async(scenario, 120)
