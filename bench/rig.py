"""The environment of a run: directories, a provider, a load generator and, if wanted, a real API server.

All drivers under test share it, each with its own node name and pods directory.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import cluster
from bench.failed_calls import FailedCalls
from bench.processes import PYTHON, Child, Generator
from tests.cluster.servers import ControlPlane
from tests.support.waiting import wait_until

NAMESPACE = "bench"
GROUP = "secrets-store.csi.x-k8s.io/v1"
PROVIDER = "bench"
ACCOUNT = "driver"


@dataclass(frozen=True)
class Pod:
    """The fields of a pod that a publish needs."""

    name: str
    uid: str
    class_name: str


class BenchRig:
    """A context manager. Without a cluster, classes are files, and pods exist only as names."""

    def __init__(self, directory: Path, *, cluster: bool) -> None:
        self.directory = directory
        self.providers = directory / "providers"
        self.manifests = directory / "manifests"
        self.providers.mkdir()
        self.manifests.mkdir()
        self.cluster: ControlPlane | None = None
        self.environment: dict[str, str] = {}
        self._wants_cluster = cluster
        self._exit_stack = ExitStack()
        self.failed_calls = FailedCalls()
        self._pods = 0

    def __enter__(self) -> "BenchRig":
        socket = self.providers / f"{PROVIDER}.sock"
        with ExitStack() as stack:
            self.generator = Generator()
            stack.callback(self.generator.stop)
            self.provider = Child([PYTHON, "-m", "bench.provider", str(socket)], self.directory / "provider.log")
            stack.callback(self.provider.stop)
            if self._wants_cluster:
                self.cluster = stack.enter_context(cluster.control_plane(self.directory))
                cluster.prepare(self.cluster, NAMESPACE)
                self.environment = stack.enter_context(cluster.pod_credentials(self.cluster, NAMESPACE, ACCOUNT))
            wait_until(socket.exists, "the provider's socket")
            self._exit_stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    def write_class(self, name: str, payload: str = "small", *, synced: str = "", **annotations: str) -> None:
        """Create a SecretProviderClass, in the cluster or as a file; ``synced`` names the Secret to sync, if any."""
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
        """New pods, of one class or of one class each. With a cluster they are created there, so that they can own
        Secrets and pod statuses.
        """
        first, self._pods = self._pods, self._pods + count
        classes = [class_name] * count if isinstance(class_name, str) else class_name
        names = [f"pod-{number:06}" for number in range(first, first + count)]
        if self.cluster is None:
            return [Pod(name, f"uid-{name}", of) for name, of in zip(names, classes, strict=True)]
        with ThreadPoolExecutor(8) as pool:
            uids = list(pool.map(self._create_pod, names))
        return [Pod(name, uid, of) for name, uid, of in zip(names, uids, classes, strict=True)]

    def create_all(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Create many objects, several at a time."""
        assert self.cluster is not None
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda body: self.cluster and self.cluster.api.create(dict(body)), objects))

    def _create_pod(self, name: str) -> str:
        assert self.cluster is not None
        pod = self.cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"containers": [{"name": "app", "image": "app"}], "automountServiceAccountToken": False},
            }
        )
        return str(pod["metadata"]["uid"])


def volume(pods_dir: Path, pod: Pod) -> dict[str, Any]:
    """The pod's volume, as the load generator needs it."""
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
