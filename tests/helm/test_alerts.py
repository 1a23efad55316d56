"""The alerts of the charts: promtool accepts them, each is raised by what it is for and not by its neighbours, and each
has a runbook."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import chart, promtool
from tests.helm.alert_cases import ALSO, CASES, Case
from tests.helm.alerts import BOTH, ENABLED, rules

PAGE = (chart.ROOT / "docs" / "operations.md").read_text()


def test_promtool_accepts_them(tmp_path: Path) -> None:
    """``promtool check rules`` → no error, no duplicate."""
    path = promtool.write_rules(tmp_path / "rules.yaml", rules())
    done = promtool.run("check", "rules", str(path))
    assert done.returncode == 0 and f"SUCCESS: {len(CASES)} rules found" in done.stdout, done.stdout + done.stderr


def test_each_has_cases() -> None:
    """Every alert is tested, with series that do not raise it, too."""
    assert [rule["alert"] for rule in rules()] and {rule["alert"] for rule in rules()} == CASES.keys()
    assert [name for name, case in CASES.items() if not case.quiet] == []


def as_promtools(name: str, case: Case) -> list[dict[str, Any]]:
    """A case in promtool's words."""
    raised = {"exp_labels": dict(case.labels), "exp_annotations": {"summary": case.summary}}

    def test(series: Any, *expected: tuple[int, bool]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": key, "values": value} for key, value in series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": [raised] if there else []}
                for minute, there in expected
            ],
        }

    return [
        test(case.fires, (case.not_before, False), (case.minutes, True)),
        *(test(series, *((minute, False) for minute in range(60))) for series in case.quiet),
    ]


def test_each_is_raised_by_what_it_is_for(tmp_path: Path) -> None:
    """``promtool test rules``: the series of each case → the alert with its labels and summary, in time and not before;
    the neighbours never raise it."""
    mine = [{**rule, "annotations": {"summary": rule["annotations"]["summary"]}} for rule in rules()]
    promtool.write_rules(tmp_path / "rules.yaml", mine)
    cases = [test for name, case in (*CASES.items(), *ALSO) for test in as_promtools(name, case)]
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases}))
    done = promtool.run("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", CASES)
def test_a_broken_alert_is_found(tmp_path: Path, alert: str) -> None:
    """An alert that can never be raised, or always is → its case fails: the tests above can fail."""
    (rule,) = (item for item in rules() if item["alert"] == alert)
    for broken in ("vector(1) == 0", "vector(1)"):
        promtool.write_rules(tmp_path / "rules.yaml", [{**rule, "expr": broken, "annotations": {"summary": ""}}])
        path = tmp_path / "tests.yaml"
        tests = as_promtools(alert, CASES[alert])
        path.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
        assert promtool.run("test", "rules", str(path)).returncode == 1


def test_each_has_a_runbook() -> None:
    """The annotation of each alert leads to a section of docs/operations.md, with the page's address from the values;
    every section is an alert's."""
    sections = re.findall(r"^### (SecretsStore\w+)$", PAGE, re.MULTILINE)
    for rule in rules(f"{BOTH},prometheusRule.runbookUrl=https://docs.example/operations"):
        assert rule["annotations"]["runbook_url"] == f"https://docs.example/operations#{rule['alert'].lower()}"
        assert rule["alert"] in sections, f"docs/operations.md needs a section ### {rule['alert']}"
    assert sorted(sections) == sorted(CASES)
    assert "runbook_url" not in str(rules(f"{BOTH},prometheusRule.runbookUrl="))


def test_each_says_how_bad_it_is() -> None:
    """Severity, summary and description, without a word that stands for a value."""
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
        assert not re.search(r"[A-Z]{3,}_[A-Z]+", str(rule))


@pytest.mark.parametrize(
    "setting, alert, expected",
    [
        ("staleAfterSeconds=7200", "SecretsStoreContentTooOld", "> 7200"),
        ("staleAfterSeconds=10000000", "SecretsStoreVolumeNotRefreshed", "> 10000000"),
        ("providerSlowSeconds=2.5", "SecretsStoreProviderSlow", "> 2.5"),
        ("clockOffsetSeconds=120", "SecretsStoreNodeClock", "> 120"),
    ],
)
def test_thresholds_are_values(setting: str, alert: str, expected: str) -> None:
    """A value of prometheusRule is the threshold of its alert."""
    (rule,) = (item for item in rules(f"{ENABLED},prometheusRule.{setting}") if item["alert"] == alert)
    assert expected in rule["expr"]


def test_which_chart_has_which() -> None:
    """The alerts of the controller of SecretSyncs are there only with it; its own chart has these and those that both
    programs share."""
    everything = {rule["alert"] for rule in rules()}
    driver = {rule["alert"] for rule in rules(ENABLED)}
    sync = {rule["alert"] for rule in rules(ENABLED, path=chart.SYNC_CHART)}
    assert driver | sync == everything
    assert everything - driver == {"SecretsStoreSyncFailing", "SecretsStoreNoSyncLeader"}
    assert driver & sync == {
        "SecretsStoreProviderSlow",
        "SecretsStoreApiLost",
        "SecretsStoreNodeClock",
        "SecretsStoreTaskRestarts",
    }
