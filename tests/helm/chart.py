"""Renders the chart with the real Helm.

    python -m tests.helm.chart --update     writes the golden renders anew
    python -m tests.helm.chart              prints every object of the chart with its condition's values, as a table
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import build

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"
GOLDEN = Path(__file__).parent / "golden"
VALUES = Path(__file__).parent / "values"
KUBE_VERSION = "1.34.2"
SETS = ("default", "everything", "trio", "rotation-and-sync", "windows")

Object = dict[str, Any]


def program() -> Path:
    """The Helm that ``python -m tests.cluster.build helm`` builds."""
    return build.GROUPS["helm"].home / "helm"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Call Helm."""
    return subprocess.run([str(program()), *arguments], capture_output=True, text=True, timeout=60)


def template(*arguments: str, kube_version: str = KUBE_VERSION) -> subprocess.CompletedProcess[str]:
    """Render, hooks and all."""
    return run(
        "template",
        "csi-secrets-store",
        str(CHART),
        "--namespace=kube-system",
        f"--kube-version={kube_version}",
        *arguments,
    )


def render(*arguments: str) -> list[Object]:
    """The rendered objects."""
    done = template(*arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def golden(name: str) -> str:
    """One value set rendered, as its golden file has it."""
    done = template(f"--values={VALUES}/{name}.yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout


def table() -> str:
    """Every object of the fullest render, for a person to compare with the trio's list."""
    rows = [(item["kind"], item["metadata"]["name"]) for item in render(f"--values={VALUES}/everything.yaml")]
    return "\n".join(["| kind | name |", "| --- | --- |", *(f"| {kind} | {name} |" for kind, name in rows)])


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if "--update" in arguments:
        for name in SETS:
            (GOLDEN / f"{name}.yaml").write_text(golden(name))
        return 0
    print(table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
