"""What pods and volumes survive: the driver killed, deleted, upgraded and uninstalled, kubelet restarted, the node
rebooted."""

from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.helm import chart
from tests.kubelet.rig import GROUP, NAMESPACE, RELEASE, KubeletRig


@pytest.fixture
def survivor(rig: KubeletRig) -> Iterator[str]:
    """The UID of a running pod whose volume must outlive what is done to the driver."""
    rig.put("lasting", "before")
    rig.apply_class("lasting", objects="- objectName: lasting\n")
    rig.node.apply(rig.pod_manifest("survivor", {"secrets": "lasting"}))
    rig.wait_running("survivor")
    yield rig.uid_of("survivor")
    rig.delete("survivor")


def check_survived(rig: KubeletRig, uid: str, mounts: dict[str, str]) -> None:
    """The volume has the same mount and the same content, is still rotated, and goes with its pod."""
    assert rig.mounts_of(uid) == mounts
    assert rig.read("survivor", "secrets/lasting") == "before"
    rig.put("lasting", "after")
    rig.node.until(lambda: rig.read("survivor", "secrets/lasting") == "after", "rotation to go on")
    rig.delete("survivor")
    rig.node.until(lambda: not rig.mounts_of(uid), "the volume to be unmounted")


def first_processes(program: str) -> list[psutil.Process]:
    """The first processes of the containers that run a program; processes may end while they are listed."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            parent = process.parent()
            if program in process.cmdline() and parent and parent.name().startswith("containerd-shim"):
                found.append(process)
    return found


def test_driver_container_is_killed(rig: KubeletRig, survivor: str) -> None:
    """kill -9 of the whole container → kubelet restarts it, the volume stays and is still rotated."""
    mounts = rig.mounts_of(survivor)
    before = rig.driver_pod()["status"]["containerStatuses"][0]
    for process in first_processes("/app/bin/secrets-store-csi"):
        process.kill()
    rig.node.until(
        lambda: rig.driver_pod()["status"]["containerStatuses"][0]["restartCount"] > before["restartCount"],
        "the restart",
    )
    check_survived(rig, survivor, mounts)


def test_driver_pod_is_deleted(rig: KubeletRig, survivor: str) -> None:
    """``kubectl delete pod`` of the DaemonSet's pod → another one takes over, the volume stays."""
    mounts = rig.mounts_of(survivor)
    rig.replace_driver_pod()
    check_survived(rig, survivor, mounts)


def test_driver_is_upgraded(rig: KubeletRig, survivor: str) -> None:
    """``helm upgrade`` changes the pod template → old pod out, new pod in, the volume stays and is still rotated."""
    mounts = rig.mounts_of(survivor)
    before = rig.driver_pod()["metadata"]["uid"]
    values = (*rig.values(), "--set=logVerbosity=2")
    rig.helm("upgrade", RELEASE, str(chart.CHART), "--wait", "--timeout=90s", *values)
    try:
        assert rig.driver_pod()["metadata"]["uid"] != before
        check_survived(rig, survivor, mounts)
    finally:
        rig.helm("rollback", RELEASE, "--wait", "--timeout=90s", f"--namespace={NAMESPACE}")


def test_kubelet_is_restarted(rig: KubeletRig, survivor: str) -> None:
    """kubelet is killed and started again → it finds the driver without help, a new pod gets its volume, the old
    volume stays."""
    mounts = rig.mounts_of(survivor)
    rig.node.restart_kubelet()
    rig.apply_class("after-restart")
    rig.node.apply(rig.pod_manifest("after-restart", {"secrets": "after-restart"}))
    rig.wait_running("after-restart", seconds=90)
    rig.delete("after-restart")
    check_survived(rig, survivor, mounts)


def test_one_container_that_outlives_kubelet(rig: KubeletRig) -> None:
    """A new driver pod has one container, secrets-store, which kubelet's own probe finds healthy and which is not
    restarted with kubelet."""
    rig.replace_driver_pod()
    rig.node.restart_kubelet()
    rig.node.until(lambda: rig.driver_ready(not_uid=""), "the probe of the new kubelet")
    pod = rig.driver_pod()
    (status,) = pod["status"]["containerStatuses"]
    assert (status["name"], status["restartCount"]) == ("secrets-store", 0)
    assert pod["metadata"]["namespace"] == NAMESPACE


def test_reboot(rig: KubeletRig) -> None:
    """Power off: all processes end at once, volumes are gone, sockets are stale. Power on → the driver registers and
    the pod reads its secret again."""
    rig.put("rebooted", "value")
    rig.apply_class("rebooted", objects="- objectName: rebooted\n")
    rig.node.apply(rig.pod_manifest("rebooted", {"secrets": "rebooted"}))
    rig.wait_running("rebooted")
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
    """``helm uninstall`` removes the release's objects, those of its hooks too; the CRDs and the users' classes stay,
    and a second install finds them."""
    api = rig.node.cluster.api
    rig.apply_class("kept")
    rig.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait", "--timeout=90s")
    left = rig.node.cluster.kubectl(
        "get",
        "daemonsets,jobs,serviceaccounts,clusterroles,clusterrolebindings,csidrivers",
        "--all-namespaces",
        "-l",
        f"app.kubernetes.io/instance={RELEASE}",
        "-o",
        "name",
    )
    assert left.strip() == ""
    assert api.find(f"/apis/{GROUP}/v1/namespaces/default/secretproviderclasses/kept")
    rig.install()
    assert api.find(f"/apis/{GROUP}/v1/namespaces/default/secretproviderclasses/kept")
