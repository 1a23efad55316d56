"""Pods on a real node."""

from tests.kubelet import images
from tests.kubelet.node import Node


def test_plain_pod(node: Node) -> None:
    """The node itself: a pod without volumes runs to its end."""
    node.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "plain", "namespace": "default"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {"name": "main", "image": images.BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/true"]}
                ],
            },
        }
    )
    node.until(lambda: phase(node, "plain") == "Succeeded", "the pod to succeed")


def phase(node: Node, name: str, namespace: str = "default") -> str:
    """A pod's phase; empty without the pod."""
    found = node.cluster.api.find(f"/api/v1/namespaces/{namespace}/pods/{name}") or {}
    return str(found.get("status", {}).get("phase", ""))
