"""Secrets in pods on a real node, through our image and our chart."""

import base64

from driver.ports import RESTART_ANNOTATION
from tests.cluster.api import Object
from tests.kubelet.node import NAME
from tests.kubelet.rig import DRIVER, TAINT, KubeletRig

SYNC: list[Object] = [
    {
        "secretName": "synced",
        "type": "Opaque",
        "labels": {"environment": "test"},
        "data": [{"objectName": "password", "key": "password"}],
    }
]


def value(secret: Object | None, key: str = "password") -> str:
    """The value of a Secret's key; empty without the Secret or the key."""
    return base64.b64decode((secret or {}).get("data", {}).get(key, "")).decode()


def owners(secret: Object | None) -> list[str]:
    """The names of a Secret's owners."""
    return [item["name"] for item in (secret or {}).get("metadata", {}).get("ownerReferences", [])]


def test_registered_and_startup_taint(rig: KubeletRig) -> None:
    """kubelet has put the driver into CSINode, and the startup taint, with which the node came up, is removed."""
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
    """A pod reads a secret through the mount that was made in our container; when the pod is deleted nothing stays
    mounted."""
    rig.apply_class("plain", objects="- objectName: password\n  filePermission: '0644'\n")
    rig.node.apply(rig.pod_manifest("reader", {"secrets": "plain"}))
    rig.wait_running("reader")
    assert rig.read("reader", "secrets/password") == "first"
    assert "tmpfs" in rig.exec("grep", "/mnt/secrets", "/proc/mounts", pod="reader")
    uid = rig.uid_of("reader")
    assert rig.mounts_of(uid)
    rig.delete("reader")
    rig.node.until(lambda: not rig.mounts_of(uid), "the volume to be unmounted")
    assert "failed to clean and unmount target path" not in rig.logs()


def test_sync_with_env_var(rig: KubeletRig) -> None:
    """An environment variable refers to the Secret that is synced from the same pod's volume → the pod starts with it,
    and the Secret is deleted with the pod."""
    rig.apply_class("with-sync", secret_objects=SYNC)
    rig.node.apply(rig.pod_manifest("with-env", {"secrets": "with-sync"}, env={"PASSWORD": "synced/password"}))
    rig.wait_running("with-env")
    assert rig.exec("env", pod="with-env").count("PASSWORD=first") == 1
    secret = rig.secret("synced")
    assert secret is not None and secret["metadata"]["labels"]["secrets-store.csi.k8s.io/managed"] == "true"
    assert secret["metadata"]["labels"]["environment"] == "test"
    rig.delete("with-env")
    rig.node.until(lambda: rig.secret("synced") is None, "the Secret to be collected")


def deployment(rig: KubeletRig, name: str, class_name: str) -> Object:
    """A Deployment of two replicas that mount a class."""
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
    """Two Deployments of two replicas each share a synced Secret → it has two owners, one after the first Deployment is
    deleted, and is deleted with the second."""
    shared = [{**SYNC[0], "secretName": "shared"}]
    rig.apply_class("shared", secret_objects=shared)
    rig.node.apply(deployment(rig, "one", "shared"), deployment(rig, "two", "shared"))
    rig.node.until(lambda: len(owners(rig.secret("shared"))) == 2, "two owners")
    rig.delete("one", kind="deployment")
    rig.node.until(lambda: len(owners(rig.secret("shared"))) == 1, "one owner")
    rig.delete("two", kind="deployment")
    rig.node.until(lambda: rig.secret("shared") is None, "the Secret to be collected")


def test_two_classes_in_a_pod(rig: KubeletRig) -> None:
    """A pod mounts two classes → two volumes with their own content, and two pod statuses."""
    rig.put("other", "other value")
    rig.apply_class("left")
    rig.apply_class("right", objects="- objectName: other\n")
    rig.node.apply(rig.pod_manifest("both", {"left": "left", "right": "right"}))
    rig.wait_running("both")
    assert (rig.read("both", "left/password"), rig.read("both", "right/other")) == ("first", "other value")
    path = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/default/secretproviderclasspodstatuses"
    names = [item["metadata"]["name"] for item in rig.node.cluster.api.get(path)["items"]]
    assert {"both-default-left", "both-default-right"} <= set(names)
    rig.delete("both")


def test_classes_belong_to_a_namespace(rig: KubeletRig) -> None:
    """Two namespaces have a class of the same name → a pod gets the content of its own namespace's class."""
    rig.node.cluster.kubectl("create", "namespace", "team")
    rig.apply_class("same", objects="- objectName: absent\n")
    rig.apply_class("same", namespace="team")
    rig.node.apply(rig.pod_manifest("mine", {"secrets": "same"}, namespace="team"))
    rig.wait_running("mine", namespace="team")
    assert rig.read("mine", "secrets/password", namespace="team") == "first"
    rig.delete("mine", namespace="team")


def test_missing_class(rig: KubeletRig) -> None:
    """A pod's class does not exist → its FailedMount event says so in the Go driver's words; the class is created → the
    pod starts."""
    rig.node.apply(rig.pod_manifest("waiting", {"secrets": "late"}))
    phrase = "failed to get secretproviderclass default/late"
    rig.node.until(
        lambda: any(
            item.startswith("FailedMount") and phrase in item and "not found" in item for item in rig.events("waiting")
        ),
        "the FailedMount event",
    )
    rig.apply_class("late")
    rig.wait_running("waiting", seconds=90)
    rig.delete("waiting")


def test_rotation_in_pod_and_secret(rig: KubeletRig) -> None:
    """A secret changes in the store → kubelet's republish brings it to the running pod and to the synced Secret."""
    rig.put("rotating", "before")
    rig.apply_class(
        "rotating",
        objects="- objectName: rotating\n",
        secret_objects=[
            {"secretName": "rotating", "type": "Opaque", "data": [{"objectName": "rotating", "key": "password"}]}
        ],
    )
    rig.node.apply(rig.pod_manifest("rotates", {"secrets": "rotating"}))
    rig.wait_running("rotates")
    rig.node.until(lambda: value(rig.secret("rotating")) == "before", "the Secret")
    rig.put("rotating", "after")
    rig.node.until(lambda: rig.read("rotates", "secrets/rotating") == "after", "the file to rotate")
    rig.node.until(lambda: value(rig.secret("rotating")) == "after", "the Secret to rotate")
    rig.delete("rotates")


def test_restart_on_rotation(rig: KubeletRig) -> None:
    """The secret of a Deployment with two replicas changes in the store → one roll-out replaces both pods by new ones,
    which start with the new content."""
    rig.put("restarting", "before")
    rig.apply_class("restarting", objects="- objectName: restarting\n", annotations={RESTART_ANNOTATION: "true"})
    rig.node.apply(deployment(rig, "restarted", "restarting"))
    rig.node.until(lambda: len(available_pods(rig, "restarted")) == 2, "the pods")
    before = available_pods(rig, "restarted")
    assert rig.read(before[0], "secrets/restarting") == "before"
    rig.put("restarting", "after")
    rig.node.until(
        lambda: len(after := available_pods(rig, "restarted")) == 2 and not {*after} & {*before}, "new pods", 150
    )
    assert [rig.read(pod, "secrets/restarting") for pod in available_pods(rig, "restarted")] == ["after", "after"]
    found = rig.node.cluster.api.get("/apis/apps/v1/namespaces/default/deployments/restarted")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    rig.delete("restarted", kind="deployment")


def available_pods(rig: KubeletRig, app: str) -> list[str]:
    """The names of a Deployment's pods, once no others are left and all are available; else none."""
    status = rig.node.cluster.api.get(f"/apis/apps/v1/namespaces/default/deployments/{app}").get("status") or {}
    found = rig.node.cluster.api.get(f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}")["items"]
    settled = len(found) == status.get("availableReplicas") == status.get("updatedReplicas")
    return sorted(item["metadata"]["name"] for item in found) if settled else []


def test_fs_group(rig: KubeletRig) -> None:
    """A container that does not run as root reads a file of mode 0400 through its pod's fsGroup."""
    rig.apply_class("strict", objects="- objectName: password\n  filePermission: '0400'\n")
    rig.node.apply(
        rig.pod_manifest(
            "not-root", {"secrets": "strict"}, security={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 4242}
        )
    )
    rig.wait_running("not-root")
    assert rig.read("not-root", "secrets/password") == "first"
    assert "4242" in rig.exec("id", pod="not-root")
    rig.delete("not-root")


def test_self_writing_provider(rig: KubeletRig) -> None:
    """A provider writes the files itself, through the propagated mount → the pod reads them."""
    rig.apply_class("self-writing", selfWrite="true")
    rig.node.apply(rig.pod_manifest("written", {"secrets": "self-writing"}))
    rig.wait_running("written")
    assert rig.read("written", "secrets/password") == "first"
    rig.delete("written")


def test_sub_path_does_not_rotate(rig: KubeletRig) -> None:
    """A secret mounted with subPath is not rotated, as documented, while the whole volume is."""
    rig.put("sub", "before")
    rig.apply_class("sub", objects="- objectName: sub\n")
    pod = rig.pod_manifest("sub-path", {"secrets": "sub"})
    pod["spec"]["containers"][0]["volumeMounts"].append(
        {"name": "secrets", "mountPath": "/mnt/one-file", "subPath": "sub", "readOnly": True}
    )
    rig.node.apply(pod)
    rig.wait_running("sub-path")
    rig.put("sub", "after")
    rig.node.until(lambda: rig.read("sub-path", "secrets/sub") == "after", "the volume to rotate")
    assert rig.read("sub-path", "one-file") == "before"
    rig.delete("sub-path")
