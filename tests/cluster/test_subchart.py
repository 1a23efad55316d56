"""Those who got the Go trio as a subchart of a provider's chart: the ways of docs/migration.md, with the real Helm and
the real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.servers import ControlPlane
from tests.helm import chart, trio
from tests.helm.parent import NAME, write_parent

PROVIDER, OURS = "provider", "csi-secrets-store"
DAEMON_SET = f"{PROVIDER}-{NAME}"
IMAGE = "--set=linux.image.repository=mirror.example/secrets-store-csi,linux.image.tag=0.1.0"


class Releases:
    """Helm in one namespace of the cluster, with a release of a provider's chart that has the trio in it."""

    def __init__(self, cluster: ControlPlane, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        child = trio.write(directory / "trio")
        self.parent = write_parent(directory / "parent", {NAME: {"install": True}}, child, condition=f"{NAME}.install")
        self.helm("install", PROVIDER, str(self.parent))
        assert self.containers() == ["node-driver-registrar", "secrets-store", "liveness-probe"]

    def helm(self, *arguments: str) -> None:
        """Run Helm; the images of the hooks cannot run here."""
        common = ["--namespace=kube-system", f"--kubeconfig={self.cluster.admin_kubeconfig}", "--no-hooks"]
        done = chart.run(*arguments, *common)
        assert done.returncode == 0, done.stderr

    def containers(self, name: str = DAEMON_SET) -> list[str]:
        """The containers of the DaemonSet; none if it is not there."""
        found = self.cluster.api.find(f"/apis/apps/v1/namespaces/kube-system/daemonsets/{name}")
        return [item["name"] for item in found["spec"]["template"]["spec"]["containers"]] if found else []

    def provider_is_there(self) -> bool:
        """Whether the provider's own object is."""
        return bool(self.cluster.api.find("/api/v1/namespaces/kube-system/configmaps/provider"))

    def keep_all(self) -> None:
        """Let the new release adopt the objects of the stand-in, and the old one leave them."""
        self._keep("daemonset", DAEMON_SET)
        self._keep("csidriver", "secrets-store.csi.k8s.io")

    def _keep(self, kind: str, name: str) -> None:
        at = (kind, name, "--namespace=kube-system", "--overwrite")
        self.cluster.kubectl(
            "annotate",
            *at,
            f"meta.helm.sh/release-name={OURS}",
            "meta.helm.sh/release-namespace=kube-system",
            "helm.sh/resource-policy=keep",
        )
        self.cluster.kubectl("label", *at, "app.kubernetes.io/managed-by=Helm")


@pytest.fixture
def releases(cluster: ControlPlane, tmp_path: Path) -> Iterator[Releases]:
    """The release with the trio; at the end nothing of it is left."""
    if not chart.program().is_file():
        pytest.fail("Helm is not built: python -m tests.cluster.build helm", pytrace=False)
    made = Releases(cluster, tmp_path)
    yield made
    for release in (OURS, PROVIDER):
        chart.run("uninstall", release, "--namespace=kube-system", f"--kubeconfig={cluster.admin_kubeconfig}")
    for kind, name in (("daemonset", DAEMON_SET), ("csidriver", "secrets-store.csi.k8s.io")):
        cluster.kubectl("delete", kind, name, "--namespace=kube-system", "--ignore-not-found")


def test_a_release_of_its_own(releases: Releases) -> None:
    """The condition is turned off, and this chart installed → the trio goes, the provider stays, the driver is
    there."""
    releases.helm("upgrade", PROVIDER, str(releases.parent), "--reuse-values", f"--set={NAME}.install=false")
    assert releases.containers() == [] and releases.provider_is_there()
    releases.helm("install", OURS, str(chart.CHART), IMAGE)
    assert releases.containers(f"{OURS}-{NAME}") == ["secrets-store"]


def test_a_release_of_its_own_without_a_gap(releases: Releases) -> None:
    """The trio's objects are annotated for the new release, which is installed first and replaces them → the same
    DaemonSet has our container alone; they are annotated again, the condition is turned off, and they stay."""
    path = f"/apis/apps/v1/namespaces/kube-system/daemonsets/{DAEMON_SET}"
    before = releases.cluster.api.get(path)["metadata"]["uid"]
    releases.keep_all()
    releases.helm("install", OURS, str(chart.CHART), IMAGE, f"--set=fullnameOverride={DAEMON_SET}", "--force")
    assert releases.containers() == ["secrets-store"]
    releases.keep_all()  # what Helm replaced has the chart's own annotations
    releases.helm("upgrade", PROVIDER, str(releases.parent), "--reuse-values", f"--set={NAME}.install=false")
    assert releases.containers() == ["secrets-store"] and releases.provider_is_there()
    assert releases.cluster.api.get(path)["metadata"]["uid"] == before


def test_in_place_of_the_trio(releases: Releases) -> None:
    """Our chart takes the trio's place in the provider's chart → the same DaemonSet has our container."""
    values = {NAME: {"install": True}}
    changed = write_parent(releases.directory / "changed", values, condition=f"{NAME}.install")
    image = IMAGE.replace("linux.", f"{NAME}.linux.")
    releases.helm("upgrade", PROVIDER, str(changed), image)
    assert releases.containers() == ["secrets-store"] and releases.provider_is_there()
