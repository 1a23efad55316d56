"""The nodes of a run and what is on them: classes, pods and tokens, made in the API server before anything is measured.

Each node has one pod of a class that all nodes share, as a DaemonSet's, and two of a class of its own. Each class has
one synced Secret. So a cluster with more nodes also has more classes and Secrets.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cluster import kubeconfig
from tests.cluster.servers import ControlPlane

Object = dict[str, Any]

NAMESPACE, ACCOUNT, SHARED = "fleet", "node-driver", "shared"
CLASS_API = "secrets-store.csi.x-k8s.io/v1"
DRIVER = "secrets-store.csi.k8s.io"
VOLUME, OBJECT, KEY = "secrets", "password", "pw"
PODS_OF_OWN_CLASS = 2
_MAKERS = 8


@dataclass(frozen=True)
class PodVolume:
    """A pod with one volume of a class; ``owner`` is the reference to the workload that the pod belongs to."""

    pod: str
    uid: str
    class_name: str
    owner: Object

    @property
    def secret_name(self) -> str:
        """The Secret that the class asks for."""
        return secret_of(self.class_name)


@dataclass(frozen=True)
class NodeSpec:
    """A node, its volumes, and the kubeconfig with the token of its driver's pod."""

    name: str
    kubeconfig: str
    volumes: tuple[PodVolume, ...]

    @property
    def classes(self) -> frozenset[str]:
        """The names of the classes in use."""
        return frozenset(volume.class_name for volume in self.volumes)


def own_class(node: int) -> str:
    """The name of a node's own class."""
    return f"app-{node}"


def secret_of(class_name: str) -> str:
    """The name of a class's Secret."""
    return f"synced-{class_name}"


def class_object(name: str, mark: str) -> Object:
    """A class with one synced Secret; ``mark`` is a parameter that tells its versions apart."""
    entry = {"secretName": secret_of(name), "type": "Opaque", "data": [{"objectName": OBJECT, "key": KEY}]}
    return {
        "apiVersion": CLASS_API,
        "kind": "SecretProviderClass",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {
            "provider": "stub",
            "parameters": {"objects": f"array:\n- |\n  objectName: {OBJECT}\n", "mark": mark},
            "secretObjects": [entry],
        },
    }


def names(node: int) -> list[tuple[str, str]]:
    """The (pod, class) pairs of a node."""
    own = own_class(node)
    return [(f"{SHARED}-{node}", SHARED), *((f"{own}-{pod}", own) for pod in range(PODS_OF_OWN_CLASS))]


def make(cluster: ControlPlane, count: int, directory: Path) -> list[NodeSpec]:
    """Make classes, pods and tokens of ``count`` nodes."""
    change_classes(cluster, count, "0")
    with ThreadPoolExecutor(_MAKERS) as makers:
        return list(makers.map(lambda node: _make_node(cluster, node, directory), range(count)))


def change_classes(cluster: ControlPlane, count: int, mark: str) -> None:
    """Make all classes have this mark, or create them with it."""
    classes = [SHARED, *(own_class(node) for node in range(count))]
    with ThreadPoolExecutor(_MAKERS) as makers:
        list(makers.map(cluster.api.apply, [class_object(name, mark) for name in classes]))


def _make_node(cluster: ControlPlane, node: int, directory: Path) -> NodeSpec:
    name = f"node-{node}"
    path = directory / f"{name}.kubeconfig"
    kubeconfig.write(path, cluster.url, cluster.ca, cluster.token(NAMESPACE, ACCOUNT))
    return NodeSpec(name, str(path), tuple(_make_pod(cluster, name, *pair) for pair in names(node)))


def _make_pod(cluster: ControlPlane, node: str, pod: str, class_name: str) -> PodVolume:
    """A pod whose owner does not exist: no garbage collector runs while drivers are measured."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": class_name, "uid": f"uid-of-{class_name}"}
    volume = {
        "name": VOLUME,
        "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"secretProviderClass": class_name}},
    }
    made = cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": NAMESPACE, "name": pod, "ownerReferences": [owner]},
            "spec": {
                "nodeName": node,
                "containers": [{"name": "main", "image": "nothing"}],
                "volumes": [volume],
            },
        }
    )
    return PodVolume(pod, made["metadata"]["uid"], class_name, owner)


def write(path: Path, nodes: list[NodeSpec]) -> None:
    """Write nodes for a worker to read."""
    path.write_text(json.dumps([asdict(node) for node in nodes]))


def read(path: Path) -> list[NodeSpec]:
    """The nodes that ``write`` has written."""
    return [
        NodeSpec(item["name"], item["kubeconfig"], tuple(PodVolume(**volume) for volume in item["volumes"]))
        for item in json.loads(path.read_text())
    ]
