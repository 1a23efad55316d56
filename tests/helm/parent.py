"""A chart that has ours as a subchart, as the charts of some providers do."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.helm import chart

NAME = "secrets-store-csi-driver"


def write_parent(directory: Path, values: dict[str, Any], child: Path = chart.CHART, **dependency: Any) -> Path:
    """A chart in ``directory`` with our chart, or another ``child`` of that name, as its dependency; ``dependency`` is
    added to its entry in Chart.yaml, such as ``condition`` or ``alias``."""
    shutil.copytree(child, directory / "charts" / NAME)
    version = yaml.safe_load((child / "Chart.yaml").read_text())["version"]
    about = {
        "apiVersion": "v2",
        "name": "provider",
        "version": "1.0.0",
        "dependencies": [{"name": NAME, "version": version, **dependency}],
    }
    (directory / "Chart.yaml").write_text(yaml.safe_dump(about))
    (directory / "values.yaml").write_text(yaml.safe_dump(values))
    templates = directory / "templates"
    templates.mkdir()
    (templates / "own.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: provider}\n")
    return directory
