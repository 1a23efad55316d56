"""The API server of a run, and credentials for it as a pod has them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import ROOT
from driver.volume import mounts, syscalls
from tests.cluster.commands import Settings
from tests.cluster.kubeconfig import write_pod_credentials
from tests.cluster.servers import ControlPlane

RUN = Path("/var/run")
CREDENTIALS = RUN / "secrets/kubernetes.io/serviceaccount"


def control_plane(directory: Path) -> ControlPlane:
    """A control plane with the charts' CRDs; its files are in ``directory``."""
    cluster_directory = directory / "cluster"
    cluster_directory.mkdir()
    crds = [*sorted((ROOT / "helm" / "crds").glob("*.yaml")), ROOT / "helm" / "files" / "secretsyncs.yaml"]
    return ControlPlane(cluster_directory, Settings(manifests=tuple(crds)))


def prepare(cluster: ControlPlane, namespace: str) -> None:
    """Create the namespace, then stop the controllers: their work would be measured together with the driver's."""
    cluster.namespace(namespace)
    cluster.controller_manager.kill()


@contextmanager
def pod_credentials(cluster: ControlPlane, namespace: str, account: str) -> Iterator[dict[str, str]]:
    """The environment with which a driver finds the API server as in a pod. The service account's files are where a
    pod has them, in this run's mount namespace. The account may do everything: the driver is measured, not RBAC.
    """
    cluster.service_account(namespace, account)
    cluster.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "bench"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
        }
    )
    token = cluster.token(namespace, account, seconds=86400)
    server = urlsplit(cluster.url)
    with _empty_directory(RUN):
        write_pod_credentials(CREDENTIALS, cluster.ca, namespace, token)
        yield {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}


@contextmanager
def _empty_directory(directory: Path) -> Iterator[None]:
    """Cover ``directory`` with a tmpfs. Creating a mount point inside it would not do: another run would share it, and
    removing it at the end of one run would unmount it for both.
    """
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        syscalls.mount("tmpfs", descriptor, "tmpfs", 0, "mode=0755")
    finally:
        os.close(descriptor)
    try:
        yield
    finally:
        mounts.unmount_all(os.path.realpath(directory))
