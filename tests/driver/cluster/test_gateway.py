"""The API server as ``ports.Cluster``; its background work ends with the driver."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.ports import ClassRef, PodEvent
from runtime.errors import ConfigurationError
from tests.driver.cluster.connecting import run
from tests.support.background import run_background, running
from tests.support.fake_api import Silence
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import DRIVER, NODE
from tests.support.waiting import until

APP = ClassRef("default", "app")


def run_cluster(rig: FakeApiRig, test: Callable[[ApiCluster, asyncio.Task[None]], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a cluster and the task of its background work."""

    async def with_cluster(api: Api) -> None:
        cluster = ApiCluster(api, NODE, DRIVER)
        async with running(run_background(cluster)) as task:
            await test(cluster, task)

    run(rig.kubeconfig(), with_cluster)


@pytest.mark.parametrize("node", ["", "x" * 64, "a b"])
def test_invalid_node_name(node: str) -> None:
    """A node name that is not a valid label value → ConfigurationError."""
    with pytest.raises(ConfigurationError, match="nodeid"):
        ApiCluster(Api("/nowhere"), node, DRIVER)


@pytest.mark.parametrize("volumes", [0, 1])
def test_connections_are_opened_ahead_on_a_new_node_only(rig: FakeApiRig, volumes: int) -> None:
    """The work begins on a node without volumes → a task opens the connections; with a volume that an earlier process
    has published → none does."""
    cluster = ApiCluster(Api(rig.kubeconfig()), NODE, DRIVER)
    for number in range(volumes):
        record = rig.record(rig.make_pod(f"pod-{number}"))
        cluster.remember_record(record, f"status-{number}", current=True)
    assert ("API connections" in [task.name for task in cluster.tasks()]) == (volumes == 0)


def test_cluster(rig: FakeApiRig) -> None:
    """Get, change and forget a class, write and list a record, record an event → all arrive."""
    rig.make_class()
    record = rig.record(rig.make_pod())

    async def test(cluster: ApiCluster, _: asyncio.Task[None]) -> None:
        changed: list[ClassRef] = []
        cluster.on_class_change(changed.append)
        await rig.watch_open()
        former = await cluster.get_class(APP)
        assert cluster.is_current(former)
        rig.make_class(provider="new")
        await until(lambda: changed == [APP], "the change")
        assert not cluster.is_current(former) and (await cluster.get_class(APP)).provider == "new"
        cluster.forget_class(APP)
        await cluster.record(record)
        await cluster.record(record)
        assert [replace(found, last_refresh=None) for found, _ in await cluster.records([record.target_path])] == [
            record
        ]
        cluster.forget_record(record.target_path)
        await cluster.event(PodEvent(record.pod, True, "Reason", "message"))
        await until(lambda: rig.events("Reason"), "the event")

    run_cluster(rig, test)


def test_cancellation(rig: FakeApiRig) -> None:
    """Cancel the background work during a watch and a hanging call → it ends at once, and all connections are
    closed."""
    rig.make_class()

    async def test(cluster: ApiCluster, running: asyncio.Task[None]) -> None:
        await rig.watch_open()
        rig.server.on("*", "events", Silence())
        await cluster.event(PodEvent(rig.make_pod(), True, "Reason", "message"))
        await until(lambda: rig.count()["create", "events"], "the event to hang")
        running.cancel()
        async with asyncio.timeout(10.0):
            await asyncio.gather(running, return_exceptions=True)
        await until(lambda: rig.server.connections == 0, "the connections to be closed")

    run_cluster(rig, test)
