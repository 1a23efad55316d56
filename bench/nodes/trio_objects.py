"""What the Go driver (v1.6.0) writes, as its CRDs and its own code have it."""

from base64 import b64encode
from typing import Any

from bench.nodes.fleet import CLASS_API, KEY, NAMESPACE, OBJECT, VOLUME, PodVolume
from driver.objects.pod_status import NODE_LABEL

Object = dict[str, Any]
MANAGED_LABEL = "secrets-store.csi.k8s.io/managed"


def status_name(volume: PodVolume) -> str:
    """The name of a volume's pod status."""
    return f"{volume.pod}-{NAMESPACE}-{volume.class_name}"


def pod_status(volume: PodVolume, node: str, version: str) -> Object:
    """A SecretProviderClassPodStatus."""
    return {
        "apiVersion": CLASS_API,
        "kind": "SecretProviderClassPodStatus",
        "metadata": {
            "namespace": NAMESPACE,
            "name": status_name(volume),
            "labels": {NODE_LABEL: node},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": volume.pod, "uid": volume.uid}],
        },
        "status": {
            "podName": volume.pod,
            "secretProviderClassName": volume.class_name,
            "mounted": True,
            "targetPath": f"/var/lib/kubelet/pods/{volume.uid}/volumes/kubernetes.io~csi/{VOLUME}/mount",
            "objects": [{"id": OBJECT, "version": version}],
        },
    }


def secret(volume: PodVolume, value: str) -> Object:
    """The synced Secret, without owners: they are patched in later."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": NAMESPACE, "name": volume.secret_name, "labels": {MANAGED_LABEL: "true"}},
        "type": "Opaque",
        "data": {KEY: b64encode(value.encode()).decode()},
    }


def event(volume: PodVolume) -> Object:
    """An event on a pod."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": NAMESPACE, "name": f"{volume.pod}.measured"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": NAMESPACE,
            "name": volume.pod,
            "uid": volume.uid,
        },
        "type": "Warning",
        "reason": "Measured",
        "message": "an event of the benchmark",
        "source": {"component": "csi-secrets-store-controller"},
        "count": 1,
    }
