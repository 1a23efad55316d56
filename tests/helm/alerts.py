"""The alerts as the charts render them."""

from pathlib import Path

import yaml

from tests.helm import chart
from tests.helm.promtool import Rule

ENABLED = "--set=prometheusRule.enabled=true"
BOTH = f"{ENABLED},secretSync.enabled=true"


def rules(*arguments: str, path: Path = chart.CHART) -> list[Rule]:
    """The alerts that a chart renders."""
    done = chart.template(*(arguments or (BOTH,)), path=path)
    assert done.returncode == 0, done.stderr
    (found,) = (item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] == "PrometheusRule")
    return [rule for group in found["spec"]["groups"] for rule in group["rules"]]
