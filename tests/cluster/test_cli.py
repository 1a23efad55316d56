"""The commands of ``secrets-store`` that ask the API server, with a real one and a driver that is a process."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from driver.ports import Pod
from provider_stub.running import running
from tests.cluster.api import Object
from tests.cluster.rig import ACCOUNT, BASE_RULES, ClusterRig, grant
from tests.cluster.servers import ControlPlane
from tests.support.mounts import unmount_below
from tests.support.namespace_rig import CLASS_GROUP
from tests.support.process_rig import ProcessRig
from tests.support.rig import DRIVER, NODE
from tests.support.waiting import run_async, until, until_blocking

STORAGE = "/apis/storage.k8s.io/v1"


@pytest.fixture
def installed(cluster: ControlPlane, cluster_rig: ClusterRig) -> Iterator[Object]:
    """What the chart and kubelet would have made: the CSIDriver, the node's registration and the driver's pod; of
    other tests, whose namespaces may be still being deleted, nothing."""
    for collection in ("/api/v1/pods", f"/apis/{CLASS_GROUP}/v1/secretproviderclasspodstatuses"):
        root, _, plural = collection.rpartition("/")
        for item in cluster.api.get(collection)["items"]:
            metadata = item["metadata"]
            cluster.api.delete(f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}")
    driver_pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": cluster_rig.namespace,
            "name": "driver",
            "labels": {"app": "secrets-store-csi-driver"},
        },
        "spec": {
            "nodeName": NODE,
            "serviceAccountName": ACCOUNT,
            "containers": [{"name": "driver", "image": "driver:1"}],
        },
    }
    csi_node = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": NODE},
        "spec": {"drivers": [{"name": DRIVER, "nodeID": NODE, "topologyKeys": None}]},
    }
    csi_driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": DRIVER},
        "spec": {"podInfoOnMount": True, "attachRequired": False, "requiresRepublish": True},
    }
    made = cluster.api.create(driver_pod)
    set_status(cluster_rig, "driver", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    for item in (csi_node, csi_driver):
        cluster.api.apply(item)
    yield made
    cluster.api.delete(f"{STORAGE}/csinodes/{NODE}")
    cluster.api.delete(f"{STORAGE}/csidrivers/{DRIVER}")


def set_status(rig: ClusterRig, name: str, **status: object) -> None:
    """A pod's status, as kubelet would write it."""
    rig.api.patch(f"{rig.path('pods', name)}/status", {"status": status})


def command(rig: ClusterRig, *arguments: str, kubeconfig: str = "") -> tuple[int, str]:
    """Run it as administrator, or with another kubeconfig: exit code and output."""
    used = kubeconfig or str(rig.cluster.admin_kubeconfig)
    line = [sys.executable, "-m", "cli", *arguments, f"--kubeconfig={used}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@asynccontextmanager
async def driver_process(rig: ClusterRig) -> AsyncIterator[ProcessRig]:
    """A driver with the chart's rights, and a provider with one secret."""
    directory = rig.directory / "p"
    directory.mkdir()
    made = ProcessRig(directory, {"kubeconfig": rig.kubeconfig(), "manifests": ""})
    async with running(made.providers_dir / "stub.sock", made.secrets_dir) as made.provider:
        made.provider.put("password", "s3cret")
        async with made.process():
            try:
                yield made
            finally:
                await asyncio.to_thread(unmount_below, made.pods_dir)


def failed_mount(rig: ClusterRig, pod: Pod, message: str) -> None:
    """What kubelet reports of a publish that failed."""
    text = f'MountVolume.SetUp failed for volume "secrets" : rpc error: code = FailedPrecondition desc = {message}'
    reference = {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
    rig.api.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": pod.namespace, "generateName": "mount-"},
            "involvedObject": reference,
            "reason": "FailedMount",
            "message": text,
            "type": "Warning",
        }
    )


def test_explain(cluster_rig: ClusterRig, installed: Object) -> None:
    """The driver refuses a pod whose class names a provider that is not there → the sentence names those that are; the
    class is corrected and the pod runs → it is fine."""
    cluster_rig.make_class(provider="stubb")
    pod = cluster_rig.make_pod()
    explain = ("explain", "pod", "pod-1", "-n", cluster_rig.namespace)

    async def test() -> None:
        async with driver_process(cluster_rig) as rig:
            volume = cluster_rig.volume(rig, pod)
            failed_mount(cluster_rig, pod, (await volume.failure())[1])
            code, output = await asyncio.to_thread(command, cluster_rig, *explain)
            assert code == 1 and 'provider "stubb" is not installed on the node; installed are: stub\n' in output
            assert "driver driver on node node-1: ready" in output
            cluster_rig.make_class()

            async def corrected() -> bool:
                try:
                    await volume.publish()
                except Exception as error:
                    return "stubb" not in str(error)
                return True

            await until(corrected, "the corrected class")
            assert volume.read() == b"s3cret"
            container = {"name": "main", "image": "x", "imageID": "x", "ready": True, "restartCount": 0}
            state = {"running": {"startedAt": "2026-01-31T12:00:00Z"}}
            set_status(cluster_rig, "pod-1", phase="Running", containerStatuses=[{**container, "state": state}])
            code, output = await asyncio.to_thread(command, cluster_rig, *explain)
            assert code == 0 and "pod-1 is fine: 1 volume, refreshed without an error." in output, output

    run_async(test)


def test_explain_a_class_elsewhere(cluster: ControlPlane, cluster_rig: ClusterRig, installed: Object) -> None:
    """The class is in another namespace → who may list classes learns in which; the driver says only where it must be;
    who may only read the pod is told what is unknown."""
    other = cluster.namespace(f"{cluster_rig.namespace}-other")
    made = cluster_rig.make_class("elsewhere")
    cluster.api.delete(cluster.api.path(made))
    cluster.api.apply({**strip(made), "metadata": {"name": "elsewhere", "namespace": other}})
    pod = cluster_rig.make_pod(volumes={"secrets": "elsewhere"})

    async def test() -> None:
        async with driver_process(cluster_rig) as rig:
            _, sentence = await cluster_rig.volume(rig, pod, class_name="elsewhere").failure()
            assert f"must be in the namespace of its pod, {cluster_rig.namespace}" in sentence
            assert other not in sentence
            failed_mount(cluster_rig, pod, sentence)

    run_async(test)
    explain = ("explain", "pod", "pod-1", "-n", cluster_rig.namespace)
    code, output = command(cluster_rig, *explain)
    assert code == 1 and f"there is one in namespace {other}." in output, output
    grant(cluster, cluster_rig.namespace, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}], "guest")
    guest = cluster.token_kubeconfig(cluster_rig.directory / "guest", cluster_rig.namespace, "guest")
    code, output = command(cluster_rig, *explain, kubeconfig=str(guest))
    assert "unknown: " in output and other not in output
    cluster.api.delete(f"/api/v1/namespaces/{other}")


def strip(item: Object) -> Object:
    """Without what the API server adds."""
    return {key: item[key] for key in ("apiVersion", "kind", "spec")}


def test_status_and_refresh(cluster_rig: ClusterRig, installed: Object) -> None:
    """A volume → it is counted, nothing fails. Its class is refreshed and the store has lost the secret → it is listed
    with the reason; the store has it again → the next publish brings the content."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()
    refresh = ("refresh", "class", "app", "-n", cluster_rig.namespace)

    async def test() -> None:
        async with driver_process(cluster_rig) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            code, output = await asyncio.to_thread(command, cluster_rig, "status", "--node", NODE)
            assert f"  {NODE}: ready, 1 volume\n" in output and "1 of 1 drivers ready, 1 volume, 0 failing" in output
            assert code == 0
            rig.provider.remove("password")
            code, output = await asyncio.to_thread(command, cluster_rig, *refresh)
            assert code == 0 and "1 volume is due now" in output

            async def fails() -> bool:
                await volume.publish()  # a failed refresh keeps the content, and is no failed publish
                return "1 failing" in (await asyncio.to_thread(command, cluster_rig, "status", "--node", NODE))[1]

            await until(fails, "the failure")
            code, output = await asyncio.to_thread(command, cluster_rig, "status", "--node", NODE)
            assert code == 1 and "secret 'password' not found" in output and volume.read() == b"s3cret"
            rig.provider.put("password", "another")
            await asyncio.to_thread(command, cluster_rig, *refresh)

            async def refreshed() -> bool:
                await volume.publish()
                return volume.read() == b"another"

            await until(refreshed, "the new content")

    run_async(test)
    code, output = command(cluster_rig, "refresh", "class", "apps", "-n", cluster_rig.namespace)
    assert code == 1 and "did you mean app?" in output


def test_doctor(cluster: ControlPlane, cluster_rig: ClusterRig, installed: Object) -> None:
    """All is installed → each line is ok; the driver's account loses a right, its pod is not ready, kubelet has not
    registered it → each is said; without rights of his own somebody learns that it is unknown."""
    code, output = command(cluster_rig, "doctor")
    assert code == 0 and {line.split()[0] for line in output.splitlines()} == {"ok"}, output
    rules = [rule for rule in BASE_RULES if rule["resources"] != ["events"]]
    cluster.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"{cluster_rig.namespace}-{ACCOUNT}"},
            "rules": rules,
        }
    )
    set_status(cluster_rig, "driver", phase="Running", conditions=[{"type": "Ready", "status": "False"}])
    cluster.api.delete(f"{STORAGE}/csinodes/{NODE}")

    async def test() -> None:
        await until_blocking(lambda: "create events, patch events" in command(cluster_rig, "doctor")[1], "the right")

    run_async(test)
    code, output = command(cluster_rig, "doctor")
    assert code == 1 and "problem driver: driver: " in output and f"not registered the driver on {NODE}" in output
    cluster.service_account(cluster_rig.namespace, "guest")
    guest = cluster.token_kubeconfig(cluster_rig.directory / "guest", cluster_rig.namespace, "guest")
    code, output = command(cluster_rig, "doctor", kubeconfig=str(guest))
    assert code == 0 and "unknown CSIDriver: " in output, output
