"""Secrets in pods on a real node, through our image and our chart."""

import base64
from contextlib import suppress

import psutil
import pytest

from tests.cluster.api import Object
from tests.helm import chart
from tests.kubelet.node import NAME
from tests.kubelet.rig import DRIVER, NAMESPACE, RELEASE, TAINT, KubeletRig

SYNC: list[Object] = [
    {
        "secretName": "synced",
        "type": "Opaque",
        "labels": {"environment": "test"},
        "data": [{"objectName": "password", "key": "password"}],
    }
]


def value(secret: Object | None, key: str = "password") -> str:
    """A key of a Secret; empty without one."""
    return base64.b64decode((secret or {}).get("data", {}).get(key, "")).decode()


def owners(secret: Object | None) -> list[str]:
    """The names of a Secret's owners."""
    return [item["name"] for item in (secret or {}).get("metadata", {}).get("ownerReferences", [])]


def mounts_of(rig: KubeletRig, uid: str) -> dict[str, str]:
    """A pod's volumes in the node's mount table, with the mounts' ids."""
    return {point: number for point, number in rig.node.mounts().items() if uid in point}


def gone(rig: KubeletRig, uid: str) -> bool:
    """Nothing of the pod is left in the node's mount table."""
    return not mounts_of(rig, uid)


def uid_of(rig: KubeletRig, name: str, namespace: str = "default") -> str:
    """A pod's UID."""
    return str(rig.node.cluster.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"])


def test_registered_and_startup_taint(rig: KubeletRig) -> None:
    """CSINode lists the driver, by kubelet's own hand, and a node that was tainted for the start is free again."""
    api = rig.node.cluster.api

    def registered() -> bool:
        drivers = api.get(f"/apis/storage.k8s.io/v1/csinodes/{NAME}")["spec"]["drivers"] or []
        return DRIVER in [item["name"] for item in drivers]

    def free() -> bool:
        taints = api.get(f"/api/v1/nodes/{NAME}")["spec"].get("taints", [])
        return TAINT not in [item["key"] for item in taints]

    rig.node.until(registered, "the driver in CSINode")
    rig.node.until(free, "the startup taint to be removed")


def test_volume_is_mounted_and_read(rig: KubeletRig) -> None:
    """The first proof: a mount made in our container is seen by the pod; after the pod nothing is left mounted."""
    rig.provider_class("plain", objects="- objectName: password\n  filePermission: '0644'\n")
    rig.node.apply(rig.pod("reader", {"secrets": "plain"}))
    rig.running("reader")
    assert rig.read("reader", "secrets/password") == "first"
    assert "tmpfs" in rig.run("grep", "/mnt/secrets", "/proc/mounts", pod="reader")
    uid = uid_of(rig, "reader")
    assert not gone(rig, uid)
    rig.delete("reader")
    rig.node.until(lambda: gone(rig, uid), "the volume to be unmounted")
    assert "failed to clean and unmount target path" not in rig.logs()


def test_sync_with_env_var(rig: KubeletRig) -> None:
    """A pod's variable finds the Secret that the same pod's volume brings."""
    rig.provider_class("with-sync", secret_objects=SYNC)
    rig.node.apply(rig.pod("with-env", {"secrets": "with-sync"}, env={"PASSWORD": "synced/password"}))
    rig.running("with-env")
    assert rig.run("env", pod="with-env").count("PASSWORD=first") == 1
    secret = rig.secret("synced")
    assert secret is not None and secret["metadata"]["labels"]["secrets-store.csi.k8s.io/managed"] == "true"
    assert secret["metadata"]["labels"]["environment"] == "test"
    rig.delete("with-env")
    rig.node.until(lambda: rig.secret("synced") is None, "the Secret to be collected")


def deployment(rig: KubeletRig, name: str, class_name: str) -> Object:
    """Two replicas."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": rig.pod_spec({"secrets": class_name})},
        },
    }


def test_two_deployments_share_a_secret(rig: KubeletRig) -> None:
    """Two Deployments of two replicas: two owners; one goes: one owner; both: the Secret goes."""
    shared = [{**SYNC[0], "secretName": "shared"}]
    rig.provider_class("shared", secret_objects=shared)
    rig.node.apply(deployment(rig, "one", "shared"), deployment(rig, "two", "shared"))
    rig.node.until(lambda: len(owners(rig.secret("shared"))) == 2, "two owners")
    rig.delete("one", kind="deployment")
    rig.node.until(lambda: len(owners(rig.secret("shared"))) == 1, "one owner")
    rig.delete("two", kind="deployment")
    rig.node.until(lambda: rig.secret("shared") is None, "the Secret to be collected")


def test_two_classes_in_a_pod(rig: KubeletRig) -> None:
    """Two volumes, two classes, two pod statuses."""
    rig.put("other", "other value")
    rig.provider_class("left")
    rig.provider_class("right", objects="- objectName: other\n")
    rig.node.apply(rig.pod("both", {"left": "left", "right": "right"}))
    rig.running("both")
    assert (rig.read("both", "left/password"), rig.read("both", "right/other")) == ("first", "other value")
    path = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/default/secretproviderclasspodstatuses"
    names = [item["metadata"]["name"] for item in rig.node.cluster.api.get(path)["items"]]
    assert {"both-default-left", "both-default-right"} <= set(names)
    rig.delete("both")


def test_classes_belong_to_a_namespace(rig: KubeletRig) -> None:
    """The same class name in two namespaces: each pod gets its own namespace's."""
    rig.node.cluster.kubectl("create", "namespace", "team")
    rig.provider_class("same", objects="- objectName: absent\n")
    rig.provider_class("same", namespace="team")
    rig.node.apply(rig.pod("mine", {"secrets": "same"}, namespace="team"))
    rig.running("mine", namespace="team")
    assert rig.read("mine", "secrets/password", namespace="team") == "first"
    rig.delete("mine", namespace="team")


def test_missing_class(rig: KubeletRig) -> None:
    """kubectl describe tells it in the trio's words; the class comes, and the pod starts without more ado."""
    rig.node.apply(rig.pod("waiting", {"secrets": "late"}))
    phrase = "failed to get secretproviderclass default/late"
    rig.node.until(
        lambda: any(
            item.startswith("FailedMount") and phrase in item and "not found" in item for item in rig.events("waiting")
        ),
        "the FailedMount event",
    )
    rig.provider_class("late")
    rig.running("waiting", seconds=90)
    rig.delete("waiting")


def test_rotation_in_pod_and_secret(rig: KubeletRig) -> None:
    """A value rotated in the store reaches the running pod and the Secret, by kubelet's own republish."""
    rig.put("rotating", "before")
    rig.provider_class(
        "rotating",
        objects="- objectName: rotating\n",
        secret_objects=[
            {"secretName": "rotating", "type": "Opaque", "data": [{"objectName": "rotating", "key": "password"}]}
        ],
    )
    rig.node.apply(rig.pod("rotates", {"secrets": "rotating"}))
    rig.running("rotates")
    rig.node.until(lambda: value(rig.secret("rotating")) == "before", "the Secret")
    rig.put("rotating", "after")
    rig.node.until(lambda: rig.read("rotates", "secrets/rotating") == "after", "the file to rotate")
    rig.node.until(lambda: value(rig.secret("rotating")) == "after", "the Secret to rotate", 5)
    rig.delete("rotates")


def test_fs_group(rig: KubeletRig) -> None:
    """A container that is not root reads a 0400 file by its pod's fsGroup."""
    rig.provider_class("strict", objects="- objectName: password\n  filePermission: '0400'\n")
    rig.node.apply(
        rig.pod("not-root", {"secrets": "strict"}, security={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 4242})
    )
    rig.running("not-root")
    assert rig.read("not-root", "secrets/password") == "first"
    assert "4242" in rig.run("id", pod="not-root")
    rig.delete("not-root")


def test_self_writing_provider(rig: KubeletRig) -> None:
    """A provider that writes the files itself, through the propagated mount: the pod reads them."""
    rig.provider_class("self-writing", selfWrite="true")
    rig.node.apply(rig.pod("written", {"secrets": "self-writing"}))
    rig.running("written")
    assert rig.read("written", "secrets/password") == "first"
    rig.delete("written")


@pytest.fixture
def survivor(rig: KubeletRig) -> str:
    """A running pod, whose volume must outlive what is done to the driver."""
    rig.put("lasting", "before")
    rig.provider_class("lasting", objects="- objectName: lasting\n")
    rig.node.apply(rig.pod("survivor", {"secrets": "lasting"}))
    rig.running("survivor")
    return uid_of(rig, "survivor")


def check_survived(rig: KubeletRig, uid: str, mounts: dict[str, str]) -> None:
    """The same mounts, the same content, and rotation goes on."""
    assert mounts_of(rig, uid) == mounts
    assert rig.read("survivor", "secrets/lasting") == "before"
    rig.put("lasting", "after")
    rig.node.until(lambda: rig.read("survivor", "secrets/lasting") == "after", "rotation to go on")
    rig.delete("survivor")
    rig.node.until(lambda: gone(rig, uid), "the volume to be unmounted")


def test_driver_pod_killed(rig: KubeletRig, survivor: str) -> None:
    """The whole container killed under a running pod: kubelet starts it again, the volume stays, rotation goes on."""
    mounts = mounts_of(rig, survivor)
    before = rig.driver_pod()["status"]["containerStatuses"][0]
    for process in first_processes("/app/bin/secrets-store-csi"):
        process.kill()
    rig.node.until(
        lambda: rig.driver_pod()["status"]["containerStatuses"][0]["restartCount"] > before["restartCount"],
        "the restart",
    )
    check_survived(rig, survivor, mounts)


def first_processes(program: str) -> list[psutil.Process]:
    """The first processes of the containers that run a program; processes may go while we look."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            parent = process.parent()
            if program in process.cmdline() and parent and parent.name().startswith("containerd-shim"):
                found.append(process)
    return found


def test_driver_pod_deleted(rig: KubeletRig, survivor: str) -> None:
    """The DaemonSet's pod restarted by hand (kubectl delete pod): stopped in order, another comes, the volume stays."""
    mounts = mounts_of(rig, survivor)
    before = rig.driver_pod()["metadata"]
    rig.delete(before["name"], namespace=NAMESPACE)
    rig.node.until(lambda: rig.driver_ready(not_uid=before["uid"]), "the new pod to be ready")
    check_survived(rig, survivor, mounts)


def test_driver_pod_replaced(rig: KubeletRig, survivor: str) -> None:
    """An upgrade of the DaemonSet (another pod template): old pod out, new pod in, the volume stays, rotation goes
    on."""
    mounts = mounts_of(rig, survivor)
    before = rig.driver_pod()["metadata"]["uid"]
    rig.helm("upgrade", RELEASE, str(chart.CHART), "--wait", "--timeout=90s", *rig.values(), "--set=logVerbosity=2")
    assert rig.driver_pod()["metadata"]["uid"] != before
    check_survived(rig, survivor, mounts)


def test_kubelet_restarted(rig: KubeletRig, survivor: str) -> None:
    """A kubelet that is killed and started again finds the driver without any help, and the volume stays."""
    mounts = mounts_of(rig, survivor)
    rig.node.kubelet.kill()
    rig.node.kubelet.start()
    rig.node.wait_ready()
    rig.provider_class("after-restart")
    rig.node.apply(rig.pod("after-restart", {"secrets": "after-restart"}))
    rig.running("after-restart", seconds=90)
    rig.delete("after-restart")
    check_survived(rig, survivor, mounts)


def test_one_container_in_the_pod(rig: KubeletRig) -> None:
    """One container named secrets-store, well by kubelet's own probe: it outlived the kubelet's restart."""
    pod = rig.driver_pod()
    (status,) = pod["status"]["containerStatuses"]
    assert (status["name"], status["ready"], status["restartCount"]) == ("secrets-store", True, 0)
    assert pod["metadata"]["namespace"] == NAMESPACE
