"""The metrics that all programs really serve: promtool has no objection but to the trio's names; the alerts and the
dashboard ask for nothing that is not there; the documentation has all of them."""

import asyncio
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.helm import chart, dashboard, promtool
from tests.monitoring.world import kinds, series, world
from tests.support.waiting import run_async

DOCS = chart.ROOT / "docs"
# What promtool does not like about names that dashboards and alerts for the trio ask for.
OF_THE_TRIO = {
    "k8s_secret_duration_sec",
    "rotation_reconcile_duration_sec",
}
# Functions and words of PromQL, and labels, in the queries: what is left are names of metrics.
NAME = re.compile(r"\b(?:node_|rotation_|sync_k8s_|k8s_secret_|rest_client_|secrets_store_|process_|csi_)\w+\b")
# What shows last that all of it has happened.
NEEDED = {
    "rotation_reconcile_error_total",
    "rotation_reconcile_total",
    "secrets_store_sync_failures_total",
    "secrets_store_sync_total",
    "sync_k8s_secret_error_total",
    "sync_k8s_secret_total",
}
# Counted only when something breaks that is not broken here.
RARE = {"secrets_store_background_task_failures_total", "rest_client_requests_total"}


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, str]]:
    """The metrics of all programs after some work. pytest's own directory is too deep for sockets: their paths have at
    most 107 characters."""
    found: dict[str, str] = {}

    async def scenario() -> None:
        async with world(Path(directory)) as made:
            for number in count():
                await made.beat(number)
                found.update(await asyncio.to_thread(made.pages))
                if not (missing := NEEDED - set().union(*map(series, found.values()))):
                    return
                assert number < 40, f"never counted: {sorted(missing)}"

    with TemporaryDirectory(prefix="t-") as directory:
        run_async(scenario)
    yield found


def test_promtool_accepts_them(pages: dict[str, str]) -> None:
    """``promtool check metrics`` → nothing but the trio's names, which stay because dashboards ask for them."""
    complaints: set[str] = set()
    for page in pages.values():
        done = promtool.run("check", "metrics", given=page)
        assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: it can be read, but has complaints
        complaints |= {line.split()[0] for line in (done.stdout + done.stderr).splitlines() if line.strip()}
    assert complaints == OF_THE_TRIO


def test_they_can_be_read(pages: dict[str, str]) -> None:
    """Another parser reads each page; no series is there twice."""
    for page in pages.values():
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        keys = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
        assert samples and len(keys) == len(set(keys))


def test_build_info(pages: dict[str, str]) -> None:
    """Each of our programs says what it is, once."""
    found = {
        name: re.findall(r'^secrets_store_build_info\{.*component="([^"]+)".*\} 1\.0$', page, re.MULTILINE)
        for name, page in pages.items()
    }
    assert found.pop("provider") == [] and "secrets_store_provider_info{" in pages["provider"]
    assert found == {
        "api-driver": ["driver"],
        "driver": ["driver"],
        "probe": ["probe"],
        "sync-controller": ["sync-controller"],
    }


def asked_for() -> dict[str, set[str]]:
    """The names of metrics in the alerts and in the dashboard's queries."""
    alerts = yaml.safe_load((chart.CHART / "files" / "alerts.yaml").read_text())
    exprs = [rule["expr"] for part in alerts.values() for rule in part]
    queries = [query.expr for row in dashboard.ROWS for panel in row.panels for query in panel.queries]
    return {
        "alerts": {name for expr in exprs for name in NAME.findall(expr)},
        "dashboard": {name for expr in queries for name in NAME.findall(expr)},
    }


@pytest.mark.parametrize("of", ["alerts", "dashboard"])
def test_what_is_asked_for_is_there(pages: dict[str, str], of: str) -> None:
    """Each metric that an alert or a panel names has a value in a real scrape, or, if it counts what is not broken
    here, at least a type."""
    names = asked_for()[of]
    assert len(names) > 10
    with_values = set().union(*map(series, pages.values()))
    typed = set().union(*map(kinds, pages.values()))
    assert sorted(names - with_values - RARE) == []
    assert sorted(names & RARE - typed) == []


def test_each_metric_is_documented(pages: dict[str, str]) -> None:
    """A metric that a program serves is a row of a page in docs/."""
    text = "".join(path.read_text() for path in DOCS.glob("*.md"))
    names = set().union(*map(kinds, pages.values())) - {"target_info"}
    assert len(names) > 40
    assert sorted(name for name in names if f"`{name}`" not in text) == []
