"""Where the measuring is done: directories, one provider, one load generator and, if asked for, a real API server.

Subjects (ours, and another driver by its path) run on it side by side, each with its own node name and pods directory.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from bench.children import PYTHON, ROOT, Child, Generator
from driver.volume import mounts, syscalls
from tests.cluster.commands import Settings
from tests.cluster.kubeconfig import write_pod_credentials
from tests.cluster.servers import ControlPlane
from tests.support.waiting import wait_until

NAMESPACE = "bench"
GROUP = "secrets-store.csi.x-k8s.io/v1"
PROVIDER = "bench"
ACCOUNT = "driver"
RUN = Path("/var/run")
CREDENTIALS = RUN / "secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Pod:
    """A pod as the load needs it."""

    name: str
    uid: str
    class_name: str


class BenchRig:
    """Set up as a context manager."""

    def __init__(self, directory: Path, *, cluster: bool) -> None:
        self.directory = directory
        self.providers = directory / "providers"
        self.manifests = directory / "manifests"
        self.providers.mkdir()
        self.manifests.mkdir()
        self.cluster: ControlPlane | None = None
        self.environment: dict[str, str] = {}
        self._wants_cluster = cluster
        self._ends = ExitStack()
        self._pods = 0

    def __enter__(self) -> "BenchRig":
        with ExitStack() as stack:
            self.generator = Generator()
            stack.callback(self.generator.stop)
            provider = Child(
                [PYTHON, "-m", "bench.provider", str(self.providers / f"{PROVIDER}.sock")],
                self.directory / "provider.log",
            )
            stack.callback(provider.stop)
            self.provider = provider
            if self._wants_cluster:
                self.cluster = stack.enter_context(_control_plane(self.directory))
                _prepare(self.cluster)
                self.environment = stack.enter_context(_pod_credentials(self.cluster))
            wait_until((self.providers / f"{PROVIDER}.sock").exists, "the provider's socket")
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def write_class(self, name: str, payload: str = "small", *, synced: str = "", **annotations: str) -> None:
        """A SecretProviderClass, in the cluster or as a file; ``synced`` names the Secret that it is to become."""
        spec: dict[str, Any] = {"provider": PROVIDER, "parameters": {"payload": payload}}
        if synced:
            spec["secretObjects"] = [
                {"secretName": synced, "type": "Opaque", "data": [{"objectName": "file-0", "key": "password"}]}
            ]
        document = {
            "apiVersion": GROUP,
            "kind": "SecretProviderClass",
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
            "spec": spec,
        }
        if self.cluster is None:
            (self.manifests / f"{name}.yaml").write_text(yaml.safe_dump(document))
        else:
            self.cluster.api.create(document)

    def pods(self, count: int, class_name: str | Sequence[str]) -> list[Pod]:
        """New pods; in a cluster they exist there, as owners of what is written for them."""
        first, self._pods = self._pods, self._pods + count
        classes = [class_name] * count if isinstance(class_name, str) else list(class_name)
        names = [f"pod-{number:06}" for number in range(first, first + count)]
        if self.cluster is None:
            return [Pod(name, f"uid-{name}", of) for name, of in zip(names, classes)]  # noqa: B905
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(self._make_pod, names))
        return [Pod(name, uid, of) for name, uid, of in zip(names, made, classes)]  # noqa: B905

    def many(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Create many objects."""
        assert self.cluster is not None
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda body: self.cluster and self.cluster.api.create(dict(body)), bodies))

    def _make_pod(self, name: str) -> str:
        assert self.cluster is not None
        made = self.cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"containers": [{"name": "app", "image": "app"}], "automountServiceAccountToken": False},
            }
        )
        return str(made["metadata"]["uid"])


def volume(pods_dir: Path, pod: Pod) -> dict[str, Any]:
    """What the load generator has to know of a pod's volume."""
    return {
        "id": f"csi-{pod.uid}",
        "target": f"{pods_dir}/{pod.uid}/volumes/kubernetes.io~csi/secrets/mount",
        "context": {
            "csi.storage.k8s.io/pod.name": pod.name,
            "csi.storage.k8s.io/pod.namespace": NAMESPACE,
            "csi.storage.k8s.io/pod.uid": pod.uid,
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "csi.storage.k8s.io/ephemeral": "true",
            "secretProviderClass": pod.class_name,
        },
    }


def settle(seconds: float) -> None:
    """Let what was begun come to an end before something is measured: a pause, not a wait for a condition."""
    time.sleep(seconds)


def _control_plane(directory: Path) -> ControlPlane:
    place = directory / "cluster"
    place.mkdir()
    return ControlPlane(place, Settings(manifests=tuple(sorted((ROOT / "helm" / "crds").glob("*.yaml")))))


def _prepare(cluster: ControlPlane) -> None:
    cluster.namespace(NAMESPACE)
    # A bare API server from here on: the controllers' work would be measured with the driver's.
    cluster.controller_manager.kill()


@contextmanager
def _pod_credentials(cluster: ControlPlane) -> Iterator[dict[str, str]]:
    """The drivers find the API server as in a pod: by the environment and the service account's files, which
    lie where a pod has them, in this run's mount namespace. The account may do everything: what is measured is
    the driver, not RBAC."""
    cluster.service_account(NAMESPACE, ACCOUNT)
    cluster.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "bench"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": ACCOUNT}],
        }
    )
    token = cluster.token(NAMESPACE, ACCOUNT, seconds=86400)
    server = urlsplit(cluster.url)
    with _empty(RUN):
        write_pod_credentials(CREDENTIALS, cluster.ca, NAMESPACE, token)
        yield {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}


@contextmanager
def _empty(directory: Path) -> Iterator[None]:
    """A tmpfs on ``directory``. A mount point of this run's own, made there, would be another run's too: one that
    removes it takes the mount from both."""
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        syscalls.mount("tmpfs", place, "tmpfs", 0, "mode=0755")
    finally:
        os.close(place)
    try:
        yield
    finally:
        mounts.unmount_all(os.path.realpath(directory))
