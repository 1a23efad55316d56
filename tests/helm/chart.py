"""Renders the chart with the real Helm.

python -m tests.helm.chart --update     rewrites the golden files
python -m tests.helm.chart              prints a table of all objects, with when the Go chart and ours have them
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import build, releases

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"
GOLDEN = Path(__file__).parent / "golden"
VALUES = Path(__file__).parent / "values"
KUBE_VERSION = releases.version()
GOLDEN_VERSION = "1.34.2"
RELEASE = "csi-secrets-store"
SETS = ("default", "everything", "trio", "rotation-and-sync", "windows", "secret-sync", "openbao")
# The sync controller's own chart, whose values have the shape of the official one's.
SYNC_CHART = CHART / "sync"

Object = dict[str, Any]


def program() -> Path:
    """The Helm that ``python -m tests.cluster.build helm`` builds."""
    return build.GROUPS["helm"].home / "helm"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm."""
    return subprocess.run([str(program()), *arguments], capture_output=True, text=True, timeout=60)


def template(*arguments: str, kube_version: str = KUBE_VERSION, path: Path = CHART) -> subprocess.CompletedProcess[str]:
    """Render the chart with its hooks."""
    return run(
        "template",
        RELEASE,
        str(path),
        "--namespace=kube-system",
        f"--kube-version={kube_version}",
        *arguments,
    )


def render(*arguments: str) -> list[Object]:
    """The rendered objects."""
    done = template(*arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def golden(name: str, kube_version: str = GOLDEN_VERSION) -> str:
    """The output for a set of values; by default as in its golden file."""
    done = template(f"--values={VALUES}/{name}.yaml", kube_version=kube_version)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(*arguments: str) -> list[tuple[str, str]]:
    """Kind and name of each rendered object."""
    return [(item["kind"], item["metadata"]["name"]) for item in render(*arguments)]


def table() -> str:
    """Every object of either chart: when the Go chart creates it, and whether ours does by default or only with a
    value."""
    from tests.helm import trio  # it reads this module's constants

    by_default, asked = names(), names(f"--values={VALUES}/everything.yaml")
    rows = [
        (
            *key,
            trio.OBJECTS.get(key, "-"),
            "by default" if key in by_default else "with a value" if key in asked else "-",
        )
        for key in dict.fromkeys([*trio.OBJECTS, *asked])
    ]
    return "\n".join(
        ["| kind | name | the trio | here |", "| --- | --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    )


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
