"""The README, the icon and the metadata of each chart."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.helm import chart, chart_readme

CHARTS = (chart.CHART, chart.SYNC_CHART)


@pytest.mark.parametrize("path", CHARTS, ids=["driver", "sync"])
def test_generated(path: Path) -> None:
    """README.md and the icon in Chart.yaml are what ``python -m tests.helm.chart_readme`` writes."""
    assert (path / "README.md").read_text() == chart_readme.readme(path)
    assert (path / "Chart.yaml").read_text() == chart_readme.with_icon(path)


@pytest.mark.parametrize("path", CHARTS, ids=["driver", "sync"])
def test_lint(path: Path) -> None:
    """``helm lint --strict`` → neither an error nor a warning, nor the remark that an icon is recommended."""
    done = chart.run("lint", "--strict", str(path), f"--kube-version={chart.KUBE_VERSION}")
    assert done.returncode == 0 and "WARNING" not in done.stdout and "icon" not in done.stdout, done.stdout


@pytest.mark.parametrize("path", CHARTS, ids=["driver", "sync"])
def test_the_metadata(tmp_path: Path, path: Path) -> None:
    """Artifact Hub's annotations name CRDs that exist, under their names, and examples without a mistake."""
    about = yaml.safe_load((path / "Chart.yaml").read_text())
    assert about["home"].startswith("https://") and about["sources"]
    annotations = about["annotations"]
    crds = [
        yaml.safe_load(file.read_text())
        for file in (*chart.CHART.glob("crds/*"), chart.CHART / "files/secretsyncs.yaml")
    ]
    known = {
        (item["metadata"]["name"], item["spec"]["names"]["kind"], version["name"])
        for item in crds
        for version in item["spec"]["versions"]
    }
    named = {
        (item["name"], item["kind"], item["version"]) for item in yaml.safe_load(annotations["artifacthub.io/crds"])
    }
    assert named and named <= known and (path != chart.CHART or len(named) == 3)
    file = tmp_path / "examples.yaml"
    file.write_text(yaml.safe_dump_all(yaml.safe_load(annotations["artifacthub.io/crdsExamples"])))
    done = CliRunner().invoke(main, ["validate", "--partial", str(file)])
    assert done.exit_code == 0 and "warning" not in done.output, done.output
