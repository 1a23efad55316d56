"""Our container started by hand, with less than the chart gives it."""

import pytest

from tests.cluster.api import Object
from tests.kubelet.rig import KubeletRig

ARGUMENTS = [
    "--endpoint=unix:///csi/csi.sock",
    "--nodeid=node-1",
    "--kubelet-pods-dir=/var/lib/kubelet/pods",
    "--metrics-addr=",
    "--kubelet-registration-path=/var/lib/kubelet/plugins/x/csi.sock",
    "--plugin-registration-path=/registration",
]
PODS = {"name": "pods", "mountPath": "/var/lib/kubelet/pods"}
TMP = {"name": "tmp", "mountPath": "/tmp"}
CSI, REGISTRATION = {"name": "csi", "mountPath": "/csi"}, {"name": "registration", "mountPath": "/registration"}
# Name, volume mounts, whether it is privileged, what the message says.
INCOMPLETE: list[tuple[str, list[Object], bool, str]] = [
    ("no-privileges", [TMP, CSI, REGISTRATION, PODS], False, "securityContext.privileged: true"),
    ("no-propagation", [TMP, CSI, REGISTRATION, PODS], True, "mountPropagation: Bidirectional"),
    ("no-host-paths", [TMP], True, "mount kubelet's plugins/csi-secrets-store there"),
    ("no-registration", [TMP, CSI, PODS], True, "mount kubelet's plugins_registry there"),
    ("no-pods", [TMP, CSI, REGISTRATION], True, "mount kubelet's pods directory there"),
    ("read-only-pods", [TMP, CSI, REGISTRATION, {**PODS, "readOnly": True}], True, "read-only"),
    ("no-tmp", [CSI, REGISTRATION, PODS], True, "mount an emptyDir volume with medium Memory at /tmp"),
]


def bare_pod(rig: KubeletRig, name: str, mounts: list[Object], *, privileged: bool) -> Object:
    """A pod of our image with a read-only root and just these mounts."""
    volumes: list[Object] = [
        {"name": "pods", "hostPath": {"path": f"{rig.node.kubelet_dir}/pods"}},
        {"name": "csi", "emptyDir": {}},
        {"name": "registration", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {"medium": "Memory"}},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "volumes": volumes,
            "containers": [
                {
                    "name": "secrets-store",
                    "image": f"{rig.repository}:{rig.tag}",
                    "imagePullPolicy": "IfNotPresent",
                    "args": ARGUMENTS,
                    "securityContext": {"privileged": privileged, "readOnlyRootFilesystem": True},
                    "volumeMounts": mounts,
                }
            ],
        },
    }


@pytest.mark.parametrize("name, mounts, privileged, sentence", INCOMPLETE, ids=[name for name, *_ in INCOMPLETE])
def test_incomplete_container(
    rig: KubeletRig, name: str, mounts: list[Object], privileged: bool, sentence: str
) -> None:
    """Something that the container needs is missing → it ends with exit code 1, and one sentence in its log and its
    termination message says what to add."""
    rig.node.apply(bare_pod(rig, name, mounts, privileged=privileged))
    path = f"/api/v1/namespaces/default/pods/{name}"
    rig.node.until(lambda: rig.node.cluster.api.get(path)["status"].get("phase") == "Failed", "the pod to fail")
    (status,) = rig.node.cluster.api.get(path)["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert ended["exitCode"] == 1
    assert sentence in ended["message"] and len(ended["message"].splitlines()) == 1
    logged = rig.node.cluster.kubectl("logs", name)
    assert ended["message"].strip() in logged and len(logged.splitlines()) == 1
    rig.delete(name)
