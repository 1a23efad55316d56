"""The Grafana dashboard of the chart: what Grafana wants of it, and queries that Prometheus can parse."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import chart, dashboard, promtool

FILE = chart.CHART / "files" / "dashboard.json"
# What Grafana puts in for its variables.
FILLED_IN = {"$node": ".*", "$__rate_interval": "5m", "${datasource}": "prometheus"}


def panels() -> list[dict[str, Any]]:
    """All panels, also those in rows that are folded up."""
    found = []
    for panel in json.loads(FILE.read_text())["panels"]:
        found += [panel, *panel.get("panels", [])]
    return found


def queries() -> list[str]:
    """The expressions of all panels, with what Grafana puts in for its variables."""
    found = []
    for panel in panels():
        for target in panel.get("targets", []):
            expr = target["expr"]
            for name, value in FILLED_IN.items():
                expr = expr.replace(name, value)
            found.append(expr)
    return found


def test_the_file_is_made_from_the_table() -> None:
    """helm/files/dashboard.json is what ``python -m tests.helm.dashboard`` prints."""
    assert FILE.read_text() == dashboard.text()


def test_panels_have_ids_and_places_of_their_own() -> None:
    """No two panels have the same id, or overlap; each fits the grid, and has a title, and a description if it is not a
    row."""
    found = panels()
    assert len(found) > 20 and len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["title"] and (panel["type"] == "row" or panel["description"].endswith("."))


def test_everything_is_asked_of_the_chosen_data_source() -> None:
    """There is a variable for the data source, and each panel, query and variable uses it; no query forgets the
    node."""
    made = json.loads(FILE.read_text())
    kinds = {item["name"]: item["type"] for item in made["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "node": "query"}
    users = [item for item in panels() if item["type"] != "row"] + [made["templating"]["list"][1]]
    users += [target for panel in panels() for target in panel.get("targets", [])]
    assert {user["datasource"]["uid"] for user in users} == {"${datasource}"}
    exprs = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    assert len(exprs) > 30 and [expr for expr in exprs if 'node=~"$node"' not in expr] == []


def test_prometheus_can_parse_the_queries(tmp_path: Path) -> None:
    """``promtool check rules`` parses each query; one that is broken is found."""
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(queries())]
    done = promtool.run("check", "rules", str(promtool.write_rules(tmp_path / "rules.yaml", recorded)))
    assert done.returncode == 0 and f"SUCCESS: {len(recorded)} rules found" in done.stdout, done.stdout + done.stderr
    broken = [{**recorded[0], "expr": recorded[0]["expr"] + "("}]
    assert promtool.run("check", "rules", str(promtool.write_rules(tmp_path / "broken.yaml", broken))).returncode == 1


@pytest.mark.parametrize(
    "settings, labels, annotations",
    [
        ((), {"grafana_dashboard": "1"}, None),
        (("--set-string=dashboard.labels.grafana_dashboard=yes",), {"grafana_dashboard": "yes"}, None),
        (("--set=dashboard.labels.find-me=x",), {"grafana_dashboard": "1", "find-me": "x"}, None),
        (
            ("--set=dashboard.annotations.grafana_folder=Secrets",),
            {"grafana_dashboard": "1"},
            {"grafana_folder": "Secrets"},
        ),
    ],
)
def test_the_config_map(settings: tuple[str, ...], labels: dict[str, str], annotations: dict[str, str] | None) -> None:
    """The ConfigMap has the dashboard unchanged, and the labels and annotations that the sidecar looks for."""
    (found,) = chart.render("--set=dashboard.enabled=true", "--show-only=templates/dashboard.yaml", *settings)
    assert found["metadata"]["labels"].items() >= labels.items()
    assert found["metadata"].get("annotations") == annotations
    (text,) = found["data"].values()
    assert json.loads(text) == json.loads(FILE.read_text())
    assert found["kind"] == "ConfigMap" and "ConfigMap" not in {item["kind"] for item in chart.render()}


def test_yaml_keeps_it() -> None:
    """Grafana's braces are none of Helm's: what the static manifests have is the same dashboard."""
    done = chart.template("--set=dashboard.enabled=true", "--show-only=templates/dashboard.yaml")
    (text,) = yaml.safe_load(done.stdout)["data"].values()
    assert "{{provider}}" in text and "${datasource}" in text
