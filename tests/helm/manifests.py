"""Static manifests for installs without Helm, written from the chart: ``make manifests``.

python -m tests.helm.manifests                                  writes deploy/, with the chart's defaults
python -m tests.helm.manifests --values=my.yaml --out=DIR       with values of your own, into another directory

Files and objects have the names that they have in the Go trio's static manifests, so that ``kubectl apply`` over those
replaces them.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helm import chart

DEPLOY = chart.ROOT / "deploy"
NAMESPACE = "kube-system"
# As in the trio's static manifests; the selector of a DaemonSet cannot be changed later.
NAME = "csi-secrets-store"
SETTINGS = (f"nameOverride={NAME}", f"fullnameOverride={NAME}")
OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance")
# What Helm says if a template renders nothing.
_NOTHING = "Error: could not find template"
HEAD = "# Written by `make manifests` from the chart in helm/; change that, or write your own with your values.\n"


@dataclass(frozen=True)
class Source:
    """The template that a file is rendered from, what must be set for it, and what a reader should know."""

    template: str
    about: str
    settings: tuple[str, ...] = ()


SOURCES = {
    "rbac-secretproviderclass.yaml": Source("rbac.yaml", "The driver's account and its roles."),
    "rbac-secretprovidersyncing.yaml": Source(
        "rbac-syncsecret.yaml",
        "Optional: lets the driver write the Secrets of secretObjects.",
        ("syncSecret.enabled=true",),
    ),
    "csidriver.yaml": Source(
        "csidriver.yaml",
        "Kubelet republishes volumes, which without --enable-secret-rotation=true has no effect.",
        ("enableSecretRotation=true",),
    ),
    "secrets-store-csi-driver-windows.yaml": Source(
        "secrets-store-csi-driver-windows.yaml", "The Go driver on Windows nodes."
    ),
    "monitoring.yaml": Source("monitoring.yaml", "PodMonitor, PrometheusRule and NetworkPolicy."),
    "dashboard.yaml": Source("dashboard.yaml", "A Grafana dashboard for the sidecar of Grafana's chart."),
    "admission-policies.yaml": Source("admission-policies.yaml", "Limits what the driver's account may write."),
    "secret-sync.yaml": Source(
        "secret-sync.yaml",
        "Optional: the controller of SecretSyncs, its CRD, and what limits its account.",
        ("secretSync.enabled=true",),
    ),
    "secrets-store-csi-driver.yaml": Source(
        "secrets-store-csi-driver.yaml", "The driver: name your image, and add flags of docs/flags.md to args."
    ),
}
CRDS = {
    f"secrets-store.csi.x-k8s.io_{kind}.yaml": kind
    for kind in ("secretproviderclasses", "secretproviderclasspodstatuses")
}


def files(values: str = "") -> Iterator[tuple[str, str]]:
    """Name and content of each file that has an object with these values; ``values`` is the path of a values file.
    Raises ValueError with Helm's error."""
    for name, kind in CRDS.items():
        yield name, HEAD + (chart.CHART / "crds" / f"{kind}.yaml").read_text()
    for name, source in SOURCES.items():
        settings = ",".join((*SETTINGS, *source.settings))
        given = (f"--values={values}",) if values else ()
        done = chart.run(
            "template",
            NAME,
            str(chart.CHART),
            f"--namespace={NAMESPACE}",
            f"--kube-version={chart.KUBE_VERSION}",
            f"--show-only=templates/{source.template}",
            *given,
            f"--set={settings}",
        )
        if _NOTHING in done.stderr:
            continue
        if done.returncode:
            raise ValueError(done.stderr.strip())
        objects = [plain(item) for item in yaml.safe_load_all(done.stdout) if item]
        text = yaml.safe_dump_all(objects, sort_keys=False, width=120)
        yield name, f"{HEAD}# {source.about}\n{text}"


def plain(item: Any) -> Any:
    """An object without the labels by which Helm finds its own."""
    if isinstance(item, list):
        return [plain(part) for part in item]
    if not isinstance(item, Mapping):
        return item
    return {
        key: {name: text for name, text in value.items() if name not in OF_HELM} if key == "labels" else plain(value)
        for key, value in item.items()
    }


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--values", default="", help="a values file of the chart")
    parser.add_argument("--out", type=Path, default=DEPLOY, help="the directory to write to")
    options = parser.parse_args(arguments)
    try:
        made = dict(files(options.values))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for path in (options.out / name for name in SOURCES.keys() - made.keys()):
        if path.exists() and path.read_text().startswith(HEAD):  # an earlier run's, with other values
            path.unlink()
    for name, text in made.items():
        (options.out / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
