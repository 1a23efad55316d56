"""What upsets the whole node comes last: the image without what it needs, subPath's limit, a reboot."""

import pytest

from tests.cluster.api import Object
from tests.kubelet.rig import GROUP, NAMESPACE, RELEASE, KubeletRig

PODS = {"name": "pods", "mountPath": "/var/lib/kubelet/pods"}
ARGUMENTS = [
    "--endpoint=unix:///csi/csi.sock",
    "--nodeid=node-1",
    "--kubelet-pods-dir=/var/lib/kubelet/pods",
    "--metrics-addr=",
    "--kubelet-registration-path=/var/lib/kubelet/plugins/x/csi.sock",
    "--plugin-registration-path=/registration",
]


def bare_pod(rig: KubeletRig, name: str, mounts: list[Object], *, privileged: bool) -> Object:
    """Our container by hand, with less than the chart gives it; its root is read-only."""
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


TMP = {"name": "tmp", "mountPath": "/tmp"}
CSI, REGISTRATION = {"name": "csi", "mountPath": "/csi"}, {"name": "registration", "mountPath": "/registration"}


WITHOUT: list[tuple[str, list[Object], bool, str]] = [
    ("no-privileges", [TMP, CSI, REGISTRATION, PODS], False, "securityContext.privileged: true"),
    ("no-propagation", [TMP, CSI, REGISTRATION, PODS], True, "mountPropagation: Bidirectional"),
    ("no-host-paths", [TMP], True, "mount kubelet's plugins/csi-secrets-store there"),
    ("no-registration", [TMP, CSI, PODS], True, "mount kubelet's plugins_registry there"),
    ("no-pods", [TMP, CSI, REGISTRATION], True, "mount kubelet's pods directory there"),
    ("read-only-pods", [TMP, CSI, REGISTRATION, {**PODS, "readOnly": True}], True, "read-only"),
    ("no-tmp", [CSI, REGISTRATION, PODS], True, "mount an emptyDir volume with medium Memory at /tmp"),
]


@pytest.mark.parametrize("name, mounts, privileged, sentence", WITHOUT, ids=[name for name, *_ in WITHOUT])
def test_image_without_what_it_needs(
    rig: KubeletRig, name: str, mounts: list[Object], privileged: bool, sentence: str
) -> None:
    """One sentence on stderr and in the container's termination message, exit code not 0."""
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


def test_sub_path_does_not_rotate(rig: KubeletRig) -> None:
    """The documented limit of subPath: the container's mount is of the file as it was, whatever rotates behind it."""
    rig.put("sub", "before")
    rig.provider_class("sub", objects="- objectName: sub\n")
    pod = rig.pod("sub-path", {"secrets": "sub"})
    pod["spec"]["containers"][0]["volumeMounts"].append(
        {"name": "secrets", "mountPath": "/mnt/one-file", "subPath": "sub", "readOnly": True}
    )
    rig.node.apply(pod)
    rig.running("sub-path")
    rig.put("sub", "after")
    rig.node.until(lambda: rig.read("sub-path", "secrets/sub") == "after", "the volume to rotate")
    assert rig.read("sub-path", "one-file") == "before"
    rig.delete("sub-path")


def test_reboot(rig: KubeletRig) -> None:
    """Everything down at once, volumes gone, sockets stale; up again: the driver registers and the pods get their
    volumes anew."""
    rig.put("rebooted", "value")
    rig.provider_class("rebooted", objects="- objectName: rebooted\n")
    rig.node.apply(rig.pod("rebooted", {"secrets": "rebooted"}))
    rig.running("rebooted")
    before = rig.driver_pod()["status"]["containerStatuses"][0]["containerID"]
    rig.node.power_off()
    assert (rig.providers / "stub.sock").exists() and rig.node.mounts() == {}
    rig.node.power_on()
    rig.node.until(
        lambda: rig.driver_pod()["status"]["containerStatuses"][0]["containerID"] != before,
        "the driver's new container",
        120,
    )

    def readable() -> bool:
        try:
            return rig.read("rebooted", "secrets/rebooted") == "value"
        except AssertionError:
            return False

    rig.node.until(readable, "the pod to read its secret again", 120)
    rig.delete("rebooted")


def test_uninstall(rig: KubeletRig) -> None:
    """The release goes with its hooks' objects, its roles and its pods; the CRDs and the users' classes stay, and a
    second install finds them."""
    api = rig.node.cluster.api
    rig.provider_class("kept")
    rig.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait", "--timeout=90s")
    told = rig.node.cluster.kubectl(
        "get",
        "daemonsets,jobs,serviceaccounts,clusterroles,clusterrolebindings,csidrivers",
        "--all-namespaces",
        "-l",
        f"app.kubernetes.io/instance={RELEASE}",
        "-o",
        "name",
    )
    assert told.strip() == ""
    assert api.find(f"/apis/{GROUP}/v1/namespaces/default/secretproviderclasses/kept")
    rig.install()
    assert api.find(f"/apis/{GROUP}/v1/namespaces/default/secretproviderclasses/kept")
