"""Secrets in pods on a real node, through our image and our chart."""

import base64
from contextlib import suppress

import psutil
import pytest

from tests.cluster.api import Object
from tests.helm import chart
from tests.kubelet.lab import DRIVER, NAMESPACE, RELEASE, TAINT, Lab
from tests.kubelet.node import NAME

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


def mounts_of(lab: Lab, uid: str) -> dict[str, str]:
    """A pod's volumes in the node's mount table, with the mounts' ids."""
    return {point: number for point, number in lab.node.mounts().items() if uid in point}


def gone(lab: Lab, uid: str) -> bool:
    """Nothing of the pod is left in the node's mount table."""
    return not mounts_of(lab, uid)


def uid_of(lab: Lab, name: str, namespace: str = "default") -> str:
    """A pod's UID."""
    return str(lab.node.cluster.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"])


def test_registered_and_startup_taint(lab: Lab) -> None:
    """CSINode lists the driver, by kubelet's own hand, and a node that was tainted for the start is free again."""
    api = lab.node.cluster.api

    def registered() -> bool:
        drivers = api.get(f"/apis/storage.k8s.io/v1/csinodes/{NAME}")["spec"]["drivers"] or []
        return DRIVER in [item["name"] for item in drivers]

    def free() -> bool:
        taints = api.get(f"/api/v1/nodes/{NAME}")["spec"].get("taints", [])
        return TAINT not in [item["key"] for item in taints]

    lab.node.until(registered, "the driver in CSINode")
    lab.node.until(free, "the startup taint to be removed")


def test_volume_is_mounted_and_read(lab: Lab) -> None:
    """The first proof: a mount made in our container is seen by the pod; after the pod nothing is left mounted."""
    lab.provider_class("plain", objects="- objectName: password\n  filePermission: '0644'\n")
    lab.node.apply(lab.pod("reader", {"secrets": "plain"}))
    lab.running("reader")
    assert lab.read("reader", "secrets/password") == "first"
    assert "tmpfs" in lab.run("grep", "/mnt/secrets", "/proc/mounts", pod="reader")
    uid = uid_of(lab, "reader")
    assert not gone(lab, uid)
    lab.delete("reader")
    lab.node.until(lambda: gone(lab, uid), "the volume to be unmounted")
    assert "failed to clean and unmount target path" not in lab.logs()


def test_sync_with_env_var(lab: Lab) -> None:
    """A pod's variable finds the Secret that the same pod's volume brings."""
    lab.provider_class("with-sync", secret_objects=SYNC)
    lab.node.apply(lab.pod("with-env", {"secrets": "with-sync"}, env={"PASSWORD": "synced/password"}))
    lab.running("with-env")
    assert lab.run("env", pod="with-env").count("PASSWORD=first") == 1
    secret = lab.secret("synced")
    assert secret is not None and secret["metadata"]["labels"]["secrets-store.csi.k8s.io/managed"] == "true"
    assert secret["metadata"]["labels"]["environment"] == "test"
    lab.delete("with-env")
    lab.node.until(lambda: lab.secret("synced") is None, "the Secret to be collected")


def deployment(lab: Lab, name: str, class_name: str) -> Object:
    """Two replicas."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": lab.pod_spec({"secrets": class_name})},
        },
    }


def test_two_deployments_share_a_secret(lab: Lab) -> None:
    """Two Deployments of two replicas: two owners; one goes: one owner; both: the Secret goes."""
    shared = [{**SYNC[0], "secretName": "shared"}]
    lab.provider_class("shared", secret_objects=shared)
    lab.node.apply(deployment(lab, "one", "shared"), deployment(lab, "two", "shared"))
    lab.node.until(lambda: len(owners(lab.secret("shared"))) == 2, "two owners")
    lab.delete("one", kind="deployment")
    lab.node.until(lambda: len(owners(lab.secret("shared"))) == 1, "one owner")
    lab.delete("two", kind="deployment")
    lab.node.until(lambda: lab.secret("shared") is None, "the Secret to be collected")


def test_two_classes_in_a_pod(lab: Lab) -> None:
    """Two volumes, two classes, two pod statuses."""
    lab.put("other", "other value")
    lab.provider_class("left")
    lab.provider_class("right", objects="- objectName: other\n")
    lab.node.apply(lab.pod("both", {"left": "left", "right": "right"}))
    lab.running("both")
    assert (lab.read("both", "left/password"), lab.read("both", "right/other")) == ("first", "other value")
    path = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/default/secretproviderclasspodstatuses"
    names = [item["metadata"]["name"] for item in lab.node.cluster.api.get(path)["items"]]
    assert {"both-default-left", "both-default-right"} <= set(names)
    lab.delete("both")


def test_classes_belong_to_a_namespace(lab: Lab) -> None:
    """The same class name in two namespaces: each pod gets its own namespace's."""
    lab.node.cluster.kubectl("create", "namespace", "team")
    lab.provider_class("same", objects="- objectName: absent\n")
    lab.provider_class("same", namespace="team")
    lab.node.apply(lab.pod("mine", {"secrets": "same"}, namespace="team"))
    lab.running("mine", namespace="team")
    assert lab.read("mine", "secrets/password", namespace="team") == "first"
    lab.delete("mine", namespace="team")


def test_missing_class(lab: Lab) -> None:
    """kubectl describe tells it in the trio's words; the class comes, and the pod starts without more ado."""
    lab.node.apply(lab.pod("waiting", {"secrets": "late"}))
    phrase = "failed to get secretproviderclass default/late"
    lab.node.until(
        lambda: any(
            item.startswith("FailedMount") and phrase in item and "not found" in item for item in lab.events("waiting")
        ),
        "the FailedMount event",
    )
    lab.provider_class("late")
    lab.running("waiting", seconds=90)
    lab.delete("waiting")


def test_rotation_in_pod_and_secret(lab: Lab) -> None:
    """A value rotated in the store reaches the running pod and the Secret, by kubelet's own republish."""
    lab.put("rotating", "before")
    lab.provider_class(
        "rotating",
        objects="- objectName: rotating\n",
        secret_objects=[
            {"secretName": "rotating", "type": "Opaque", "data": [{"objectName": "rotating", "key": "password"}]}
        ],
    )
    lab.node.apply(lab.pod("rotates", {"secrets": "rotating"}))
    lab.running("rotates")
    lab.node.until(lambda: value(lab.secret("rotating")) == "before", "the Secret")
    lab.put("rotating", "after")
    lab.node.until(lambda: lab.read("rotates", "secrets/rotating") == "after", "the file to rotate")
    lab.node.until(lambda: value(lab.secret("rotating")) == "after", "the Secret to rotate", 5)
    lab.delete("rotates")


def test_fs_group(lab: Lab) -> None:
    """A container that is not root reads a 0400 file by its pod's fsGroup."""
    lab.provider_class("strict", objects="- objectName: password\n  filePermission: '0400'\n")
    lab.node.apply(
        lab.pod("not-root", {"secrets": "strict"}, security={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 4242})
    )
    lab.running("not-root")
    assert lab.read("not-root", "secrets/password") == "first"
    assert "4242" in lab.run("id", pod="not-root")
    lab.delete("not-root")


def test_self_writing_provider(lab: Lab) -> None:
    """A provider that writes the files itself, through the propagated mount: the pod reads them."""
    lab.provider_class("self-writing", selfWrite="true")
    lab.node.apply(lab.pod("written", {"secrets": "self-writing"}))
    lab.running("written")
    assert lab.read("written", "secrets/password") == "first"
    lab.delete("written")


@pytest.fixture
def survivor(lab: Lab) -> str:
    """A running pod, whose volume must outlive what is done to the driver."""
    lab.put("lasting", "before")
    lab.provider_class("lasting", objects="- objectName: lasting\n")
    lab.node.apply(lab.pod("survivor", {"secrets": "lasting"}))
    lab.running("survivor")
    return uid_of(lab, "survivor")


def check_survived(lab: Lab, uid: str, mounts: dict[str, str]) -> None:
    """The same mounts, the same content, and rotation goes on."""
    assert mounts_of(lab, uid) == mounts
    assert lab.read("survivor", "secrets/lasting") == "before"
    lab.put("lasting", "after")
    lab.node.until(lambda: lab.read("survivor", "secrets/lasting") == "after", "rotation to go on")
    lab.delete("survivor")
    lab.node.until(lambda: gone(lab, uid), "the volume to be unmounted")


def test_driver_pod_killed(lab: Lab, survivor: str) -> None:
    """The whole container killed under a running pod: kubelet starts it again, the volume stays, rotation goes on."""
    mounts = mounts_of(lab, survivor)
    before = lab.driver_pod()["status"]["containerStatuses"][0]
    for process in first_processes("/app/bin/secrets-store-csi"):
        process.kill()
    lab.node.until(
        lambda: lab.driver_pod()["status"]["containerStatuses"][0]["restartCount"] > before["restartCount"],
        "the restart",
    )
    check_survived(lab, survivor, mounts)


def first_processes(program: str) -> list[psutil.Process]:
    """The first processes of the containers that run a program; processes may go while we look."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            parent = process.parent()
            if program in process.cmdline() and parent and parent.name().startswith("containerd-shim"):
                found.append(process)
    return found


def test_driver_pod_deleted(lab: Lab, survivor: str) -> None:
    """The DaemonSet's pod restarted by hand (kubectl delete pod): stopped in order, another comes, the volume stays."""
    mounts = mounts_of(lab, survivor)
    before = lab.driver_pod()["metadata"]
    lab.delete(before["name"], namespace=NAMESPACE)
    lab.node.until(lambda: lab.driver_ready(not_uid=before["uid"]), "the new pod to be ready")
    check_survived(lab, survivor, mounts)


def test_driver_pod_replaced(lab: Lab, survivor: str) -> None:
    """An upgrade of the DaemonSet (another pod template): old pod out, new pod in, the volume stays, rotation goes
    on."""
    mounts = mounts_of(lab, survivor)
    before = lab.driver_pod()["metadata"]["uid"]
    lab.helm("upgrade", RELEASE, str(chart.CHART), "--wait", "--timeout=90s", *lab.values(), "--set=logVerbosity=2")
    assert lab.driver_pod()["metadata"]["uid"] != before
    check_survived(lab, survivor, mounts)


def test_kubelet_restarted(lab: Lab, survivor: str) -> None:
    """A kubelet that is killed and started again finds the driver without any help, and the volume stays."""
    mounts = mounts_of(lab, survivor)
    lab.node.kubelet.kill()
    lab.node.kubelet.start()
    lab.node.wait_ready()
    lab.provider_class("after-restart")
    lab.node.apply(lab.pod("after-restart", {"secrets": "after-restart"}))
    lab.running("after-restart", seconds=90)
    lab.delete("after-restart")
    check_survived(lab, survivor, mounts)


def test_one_container_in_the_pod(lab: Lab) -> None:
    """One container named secrets-store, well by kubelet's own probe: it outlived the kubelet's restart."""
    pod = lab.driver_pod()
    (status,) = pod["status"]["containerStatuses"]
    assert (status["name"], status["ready"], status["restartCount"]) == ("secrets-store", True, 0)
    assert pod["metadata"]["namespace"] == NAMESPACE
