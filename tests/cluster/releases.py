"""The releases of Kubernetes that the suites run against; ``KUBERNETES=1.XX`` in the environment chooses one."""

import os
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

# Each with the directory below ``tests`` whose ``go.mod`` pins it: the first that the chart's kubeVersion allows, the
# one that CI runs, and the newest that the Go module proxy serves. Of releases before 1.30 it lacks necessary modules.
RELEASES = {
    "1.30": "cluster/kubernetes-1.30",
    "1.34": "cluster",
    "1.37": "cluster/kubernetes-1.37",
}
DEFAULT = "1.34"
RELEASE = os.environ.get("KUBERNETES") or DEFAULT


def directory(release: str) -> str:
    """The directory below ``tests`` of a release, such as 1.34."""
    return RELEASES.get(release, f"cluster/kubernetes-{release}")


def required_version(directory: str, module: str) -> str:
    """The version of ``module`` that the ``go.mod`` of a directory below ``tests`` requires.

    Raises LookupError.
    """
    file = TESTS / directory / "go.mod"
    if not file.is_file():
        raise LookupError(f"tests/{directory}/go.mod does not exist: KUBERNETES is one of {', '.join(RELEASES)}")
    found = re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"tests/{directory}/go.mod requires no {module}")
    return found[1]


def version() -> str:
    """The exact version of the chosen release, such as 1.34.2."""
    return required_version(directory(RELEASE), "k8s.io/kubernetes").removeprefix("v")
