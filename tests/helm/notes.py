"""The notes that Helm prints after an install, which only an install prints: rendered as an object of the chart."""

import shutil
from pathlib import Path

import yaml

from tests.helm import chart

OBJECT = """apiVersion: v1
kind: ConfigMap
metadata: {name: the-notes}
data:
  notes: {{ include "the-notes" . | toJson }}
"""


def notes(directory: Path, *arguments: str, path: Path = chart.CHART) -> str:
    """The notes of a chart with these values; ``directory`` is for a copy of it."""
    copy = directory / "chart"
    if not copy.exists():
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("sync"))
    templates = copy / "templates"
    text = (path / "templates" / "NOTES.txt").read_text()
    (templates / "_the-notes.tpl").write_text(f'{{{{- define "the-notes" -}}}}\n{text}{{{{- end -}}}}\n')
    (templates / "the-notes.yaml").write_text(OBJECT)
    done = chart.template(*arguments, path=copy)
    assert done.returncode == 0, done.stderr
    found = [item for item in yaml.safe_load_all(done.stdout) if item and item["metadata"]["name"] == "the-notes"]
    return str(found[0]["data"]["notes"])
