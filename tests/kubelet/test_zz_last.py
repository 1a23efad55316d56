"""What upsets the whole node comes last: the image without what it needs, subPath's limit, a reboot."""

import pytest

from tests.cluster.api import Object
from tests.kubelet.lab import GROUP, NAMESPACE, RELEASE, Lab

PODS = {"name": "pods", "mountPath": "/var/lib/kubelet/pods"}
ARGUMENTS = [
    "--endpoint=unix:///csi/csi.sock",
    "--nodeid=node-1",
    "--kubelet-pods-dir=/var/lib/kubelet/pods",
    "--metrics-addr=",
    "--kubelet-registration-path=/var/lib/kubelet/plugins/x/csi.sock",
    "--plugin-registration-path=/registration",
]


def bare_pod(lab: Lab, name: str, mounts: list[Object], *, privileged: bool) -> Object:
    """Our container by hand, with less than the chart gives it; its root is read-only."""
    volumes: list[Object] = [
        {"name": "pods", "hostPath": {"path": f"{lab.node.kubelet_dir}/pods"}},
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
                    "image": f"{lab.repository}:{lab.tag}",
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
    lab: Lab, name: str, mounts: list[Object], privileged: bool, sentence: str
) -> None:
    """One sentence on stderr and in the container's termination message, exit code not 0."""
    lab.node.apply(bare_pod(lab, name, mounts, privileged=privileged))
    path = f"/api/v1/namespaces/default/pods/{name}"
    lab.node.until(lambda: lab.node.cluster.api.get(path)["status"].get("phase") == "Failed", "the pod to fail")
    (status,) = lab.node.cluster.api.get(path)["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert ended["exitCode"] == 1
    assert sentence in ended["message"] and len(ended["message"].splitlines()) == 1
    logged = lab.node.cluster.kubectl("logs", name)
    assert ended["message"].strip() in logged and len(logged.splitlines()) == 1
    lab.delete(name)


def test_sub_path_does_not_rotate(lab: Lab) -> None:
    """The documented limit of subPath: the container's mount is of the file as it was, whatever rotates behind it."""
    lab.put("sub", "before")
    lab.provider_class("sub", objects="- objectName: sub\n")
    pod = lab.pod("sub-path", {"secrets": "sub"})
    pod["spec"]["containers"][0]["volumeMounts"].append(
        {"name": "secrets", "mountPath": "/mnt/one-file", "subPath": "sub", "readOnly": True}
    )
    lab.node.apply(pod)
    lab.running("sub-path")
    lab.put("sub", "after")
    lab.node.until(lambda: lab.read("sub-path", "secrets/sub") == "after", "the volume to rotate")
    assert lab.read("sub-path", "one-file") == "before"
    lab.delete("sub-path")


def test_reboot(lab: Lab) -> None:
    """Everything down at once, volumes gone, sockets stale; up again: the driver registers and the pods get their
    volumes anew."""
    lab.put("rebooted", "value")
    lab.provider_class("rebooted", objects="- objectName: rebooted\n")
    lab.node.apply(lab.pod("rebooted", {"secrets": "rebooted"}))
    lab.running("rebooted")
    before = lab.driver_pod()["status"]["containerStatuses"][0]["containerID"]
    lab.node.power_off()
    assert (lab.providers / "stub.sock").exists() and lab.node.mounts() == {}
    lab.node.power_on()
    lab.node.until(
        lambda: lab.driver_pod()["status"]["containerStatuses"][0]["containerID"] != before,
        "the driver's new container",
        120,
    )

    def readable() -> bool:
        try:
            return lab.read("rebooted", "secrets/rebooted") == "value"
        except AssertionError:
            return False

    lab.node.until(readable, "the pod to read its secret again", 120)
    lab.delete("rebooted")


def test_uninstall(lab: Lab) -> None:
    """The release goes with its hooks' objects, its roles and its pods; the CRDs and the users' classes stay, and a
    second install finds them."""
    api = lab.node.cluster.api
    lab.provider_class("kept")
    lab.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait", "--timeout=90s")
    told = lab.node.cluster.kubectl(
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
    lab.install()
    assert api.find(f"/apis/{GROUP}/v1/namespaces/default/secretproviderclasses/kept")
