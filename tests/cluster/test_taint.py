"""The startup taint is removed once kubelet has registered the driver, and nothing else of the node changes."""

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from driver.cluster import taint
from provider_stub.running import running
from tests.cluster.api import Object
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import BASE_RULES, TAINT_RULES, ClusterRig, grant
from tests.cluster.servers import ControlPlane
from tests.support.fake_api.faults import Answer
from tests.support.waiting import run_async, until, until_blocking

DRIVER = "secrets-store.csi.k8s.io"
TAINT: Object = {"key": f"{DRIVER}/agent-not-ready", "effect": "NoExecute"}
OTHER: Object = {"key": "other", "value": "x", "effect": "NoSchedule"}


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """A namespace and a driver's account with the rights for taints."""
    return ClusterRig(cluster, namespace, tmp_path, [*BASE_RULES, *TAINT_RULES])


@pytest.fixture
def node(cluster: ControlPlane) -> Iterator[str]:
    """A node with the startup taint and another one."""
    name = f"node-{uuid.uuid4().hex[:6]}"
    made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [TAINT, OTHER]}}
    cluster.api.create(made)
    yield name
    for path in (f"/api/v1/nodes/{name}", f"/apis/storage.k8s.io/v1/csinodes/{name}"):
        cluster.api.delete(path)


def register(cluster_rig: ClusterRig, node: str, driver: str) -> None:
    """Put a driver into the node's CSINode, as kubelet does."""
    cluster_rig.api.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": node},
            "spec": {"drivers": [{"name": driver, "nodeID": node}]},
        }
    )


def keys(cluster_rig: ClusterRig, node: str) -> list[str]:
    """The keys of the node's taints, without those that the API server adds."""
    spec = cluster_rig.api.get(f"/api/v1/nodes/{node}")["spec"]
    return [taint["key"] for taint in spec.get("taints") or [] if not taint["key"].startswith("node.kubernetes.io")]


def test_the_taint_goes_with_registration(cluster_rig: ClusterRig, node: str, proxy: FaultProxy) -> None:
    """CSINode lists no driver, or only another → the taint stays; it lists the driver, and the node changes at the same
    moment (409) → the taint is removed; the other taint stays."""

    async def test() -> None:
        async with cluster_rig.driver(proxy, nodeid=node, remove_startup_taint=True):
            await until_blocking(lambda: cluster_rig.count(0)["get", "csinodes"] >= 2, "two checks")
            register(cluster_rig, node, "other.csi.k8s.io")
            mark = cluster_rig.cluster.audit.mark()
            await until_blocking(lambda: cluster_rig.count(mark)["get", "csinodes"], "another check")
            assert keys(cluster_rig, node) == [TAINT["key"], "other"]
            proxy.on("PATCH", rf"/nodes/{node}$", Answer(409), times=1)
            register(cluster_rig, node, DRIVER)
            await until_blocking(lambda: keys(cluster_rig, node) == ["other"], "the taint to be removed")

    run_async(test)


def silent(path: Path) -> socket.socket:
    """A provider's socket on which a process listens that never answers."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def dead(path: Path) -> socket.socket:
    """The socket of a provider that was killed."""
    listener = silent(path)
    listener.close()
    return listener


@pytest.mark.parametrize("before", [None, dead, silent], ids=["absent", "dead", "silent"])
def test_a_provider_that_comes_later(
    cluster_rig: ClusterRig, node: str, before: Callable[[Path], socket.socket] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Two providers are waited for; one answers, the other has no socket, a dead one, or one that does not answer → the
    taint stays, and one log line names the other; it answers → the taint is removed."""
    register(cluster_rig, node, DRIVER)

    async def test() -> None:
        flags: dict[str, Any] = {"remove_startup_taint": True, "startup_taint_providers": ("stub", "late")}
        async with AsyncExitStack() as stack:

            async def until_waiting() -> None:
                def told() -> bool:
                    return any(taint.WAITING in record.getMessage() for record in caplog.records)

                await until(told, "the log line")

            caplog.set_level(logging.INFO)
            rig = await stack.enter_async_context(cluster_rig.driver(nodeid=node, **flags))
            late = rig.providers_dir / "late.sock"
            if before is not None:
                stack.enter_context(before(late))
            await until_waiting()
            assert keys(cluster_rig, node) == [TAINT["key"], "other"]
            late.unlink(missing_ok=True)
            await stack.enter_async_context(running(late, rig.secrets_dir))
            await until_blocking(lambda: keys(cluster_rig, node) == ["other"], "the taint to be removed")

    run_async(test)
    lines = [record for record in caplog.records if taint.WAITING in record.getMessage()]
    assert vars(lines[-1])["fields"]["providers"] == "late"


def test_rights_granted_later(
    cluster: ControlPlane,
    namespace: str,
    node: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rights are missing → one log line that names them, however often it is tried; they are granted → the taint is
    removed."""
    monkeypatch.setattr(taint, "FORBIDDEN_PAUSE", 0.1)
    cluster_rig = ClusterRig(cluster, namespace, tmp_path, BASE_RULES)
    register(cluster_rig, node, DRIVER)

    async def test() -> None:
        async with cluster_rig.driver(nodeid=node, remove_startup_taint=True):
            await until_blocking(lambda: cluster_rig.count(0)["get", "csinodes"] >= 4, "four attempts")
            assert keys(cluster_rig, node) == [TAINT["key"], "other"]
            await asyncio.to_thread(grant, cluster, namespace, [*BASE_RULES, *TAINT_RULES])
            await until_blocking(lambda: keys(cluster_rig, node) == ["other"], "the taint to be removed")

    run_async(test)
    assert [record.getMessage() for record in caplog.records].count(taint.FORBIDDEN) == 1


def test_without_the_flag(cluster_rig: ClusterRig, node: str) -> None:
    """--remove-startup-taint is off, the default → the taint stays and the node is not read."""
    register(cluster_rig, node, DRIVER)

    async def test() -> None:
        async with cluster_rig.driver(nodeid=node):
            await cluster_rig.watch_open()
            assert keys(cluster_rig, node) == [TAINT["key"], "other"]
            assert not {"nodes", "csinodes"} & {resource for _, resource in cluster_rig.count(0)}

    run_async(test)
