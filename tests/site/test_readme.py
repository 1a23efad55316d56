"""The commands of the README: each is run here or by another test, or it is said why not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site.blocks import ROOT, Kind, steps

README = ROOT / "README.md"
BIN = Path(sys.executable).parent
# Where another test runs a command, or its equal.
ELSEWHERE = {
    "helm install": "tests/cluster/test_try_it.py",
    "kubectl apply --filename examples/try-it.yaml": "tests/cluster/test_try_it.py",
    "kubectl wait": "tests/kubelet/test_try_it.py",
    "kubectl logs": "tests/kubelet/test_try_it.py",
    "kubectl secrets-store explain": "tests/cluster/test_cli.py",
    "kubectl apply --filename deploy/": "tests/cluster/test_manifests.py",
    "make image": "tests/docker/test_image.py",
    "make manifests": "tests/helm/test_manifests.py",
    "make docs": ".ci/run",
}
# What no test can run here, and the reason.
NOT_RUN = {
    "docker ": "needs Docker's daemon and the image of Debian from its registry; make image builds the same Dockerfile",
    "kind ": "needs Docker's daemon; tests/kubelet has a real kubelet",
    "minikube ": "as kind",
    "export REGISTRY": "a name that the reader chooses",
}
RUN = ("make demo", "secrets-store validate")


def commands() -> list[str]:
    """The lines of all blocks, and the commands within sentences."""
    lines = [line for step in steps(README) if step.kind is Kind.RUN for line in step.text.splitlines()]
    words = re.sub(r"\s+", " ", README.read_text())
    within = re.findall(r"`((?:make|helm|kubectl|kind|minikube|docker|secrets-store) [^`]+)`", words)
    return sorted({*lines, *within})


def test_every_command_is_run_or_has_a_reason() -> None:
    """A command is added to the README → this test fails until it is run, or somebody says why not."""
    known = (*RUN, *ELSEWHERE, *NOT_RUN)
    assert [line for line in commands() if not line.startswith(known) and line != "helm upgrade"] == []
    unused = [name for name in known if not any(line.startswith(name) for line in commands())]
    assert unused == []
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).exists()] == []


@pytest.mark.timeout(300)
def test_make_demo() -> None:
    """The first command, in this environment → it ends with 0 and says what to do next."""
    command = ["make", "demo", f"VENV={BIN.parent}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "7/7" in done.stdout and "What next?" in done.stdout


def test_the_example_is_valid() -> None:
    """examples/try-it.yaml, by the project's own check; its image is the one that the README builds."""
    done = subprocess.run(
        [BIN / "secrets-store", "validate", ROOT / "examples" / "try-it.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    image = re.search(r"image: (secrets-store-csi:\S+)", (ROOT / "examples" / "try-it.yaml").read_text())
    assert image and f"--tag {image[1]} ." in README.read_text()


def test_the_figures_are_those_of_the_side_by_side_run() -> None:
    """Each ratio in the README's table is in the section of docs/performance.md that has what was measured side by
    side."""
    page = (ROOT / "docs" / "performance.md").read_text()
    section = page.partition("\n## Side by side\n")[2].partition("\n## ")[0]
    table = README.read_text().partition("## Why not the Go trio?")[2].partition("What it has")[0]
    ratios = re.findall(r"\d+\.\d+×", table)
    assert len(ratios) > 5 and [ratio for ratio in ratios if ratio not in section] == []


def test_dockers_build_has_its_files() -> None:
    """What ``docker build`` copies is in the repository, and nothing that .dockerignore leaves out."""
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert len(names) > 10 and [name for name in names if not (ROOT / name).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {name.split("/")[0] for name in names} & {*ignored}
