"""A write that was given up is not taken back: the API server may apply it after a later one. What is recorded last
stays, and a pod's status stays that of the pod that has the name now."""

import asyncio
import threading
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web

from driver.cluster.answers import Conflict
from driver.cluster.api import Api
from driver.cluster.statuses import written_status
from driver.cluster.statuses.store import StatusStore
from driver.ports import RefreshFailure, VolumeRecord
from tests.driver.cluster.connecting import run
from tests.support.background import running
from tests.support.fake_api import Answer, Drop
from tests.support.fake_api.faults import Exchange, Rule
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import DRIVER, NODE
from tests.support.waiting import until

STATUSES = "secretproviderclasspodstatuses"


@dataclass(frozen=True)
class Late:
    """The call is done when the rule is lifted, also if its client has left, as after a proxy or a network that has
    held it up; ``arrived`` is set then."""

    arrived: threading.Event = field(default_factory=threading.Event)

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        return await asyncio.shield(asyncio.create_task(self._later(exchange)))

    async def _later(self, exchange: Exchange) -> web.StreamResponse:
        await exchange.rule.over.wait()
        try:
            return await exchange.proceed()
        finally:
            self.arrived.set()


@dataclass(frozen=True)
class Odd:
    """The call is done, and its answer is an object without UID and version."""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        await exchange.proceed()
        return web.json_response({"kind": "Other", "metadata": {}})


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look for a UID asks the API server."""
    monkeypatch.setattr(written_status, "IDENTITY_SECONDS", 0.0)


def version(record: VolumeRecord, text: str) -> VolumeRecord:
    return replace(record, objects={"password": text})


async def give_up(store: StatusStore, record: VolumeRecord, rule: Rule | None = None) -> None:
    """Record it, and do not wait for it; with a rule, until it has struck the write."""
    if rule is None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await store.record(record)
        return
    recording = asyncio.create_task(store.record(record))
    await until(lambda: rule.hits, "the write")
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording


def stored(rig: FakeApiRig) -> tuple[str, str]:
    """The UID of the pod that owns the status, and the version that it names."""
    found = rig.api.get(rig.status_path())
    return found["metadata"]["ownerReferences"][0]["uid"], found["status"]["objects"][0]["version"]


def test_after_a_later_version(rig: FakeApiRig) -> None:
    """The write of one version is given up; it and the next version are written; then it arrives → refused."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store, late = StatusStore(api, NODE, DRIVER), Late()
        async with running(store.run()):
            await store.record(record)
            rule = rig.server.on("PATCH", STATUSES, late, times=1)
            await give_up(store, version(record, "v2"), rule)
            await until(lambda: stored(rig)[1] == "v2", "the retry")
            await until(lambda: store.record(version(record, "v3")), "the next version")
            rule.lift()
            await until(late.arrived.is_set, "the late write")
            assert stored(rig)[1] == "v3"

    run(rig.kubeconfig(), test)


def test_before_a_later_version(rig: FakeApiRig) -> None:
    """It arrives before the next version, which does not know of it → the next version is written all the same."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store, late = StatusStore(api, NODE, DRIVER), Late()
        await store.record(record)
        rule = rig.server.on("PATCH", STATUSES, late, times=1)
        await give_up(store, version(record, "v2"), rule)
        rule.lift()
        await until(late.arrived.is_set, "the late write")
        assert await store.record(version(record, "v3")) and stored(rig)[1] == "v3"

    run(rig.kubeconfig(), test)


@pytest.mark.parametrize("arrives", ["before", "after"])
def test_of_what_is_over(rig: FakeApiRig, arrives: str) -> None:
    """The write of a failure is given up, and reaches the API server before or after the volume is well again, which is
    what its status said last → the status does not stay at the failure."""
    record = rig.record(rig.make_pod(), last_refresh=1_700_000_000.0)
    failed = replace(record, failure=RefreshFailure("ProviderError", "no", 1, 1_700_000_100.0))

    async def test(api: Api) -> None:
        store, late = StatusStore(api, NODE, DRIVER), Late()
        await store.record(record)
        rule = rig.server.on("PATCH", STATUSES, late, times=1)
        await give_up(store, failed, rule)

        async def arrive() -> None:
            rule.lift()
            await until(late.arrived.is_set, "the late write")

        if arrives == "before":
            await arrive()
            assert "lastFailure" in rig.api.get(rig.status_path())["status"]
        assert await store.record(replace(record, last_refresh=1_700_000_200.0))
        if arrives == "after":
            await arrive()
        assert "lastFailure" not in rig.api.get(rig.status_path())["status"]

    run(rig.kubeconfig(), test)


def test_after_the_pod_was_replaced(rig: FakeApiRig) -> None:
    """The pod was deleted and is there again, with its status; then a write for the first one arrives → refused: it
    would name a dead pod as the owner, so that the status is collected, and with it the Secret that it owns."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store, late = StatusStore(api, NODE, DRIVER), Late()
        await store.record(record)
        rule = rig.server.on("PATCH", STATUSES, late, times=1)
        await give_up(store, version(record, "v2"), rule)
        store.forget(record.target_path)
        rig.server.delete(rig.path("pods", "pod-1"))
        again = rig.record(rig.make_pod())
        await store.record(again)
        rule.lift()
        await until(late.arrived.is_set, "the late write")
        assert stored(rig) == (again.pod.uid, "v1")

    run(rig.kubeconfig(), test)


@pytest.mark.parametrize("restarted", [False, True], ids=["same driver", "restarted"])
def test_of_a_pod_that_was_deleted_by_force(rig: FakeApiRig, restarted: bool) -> None:
    """A StatefulSet's pod is deleted by force while its node is cut off, and runs on another one; then the first node
    writes what it could not, and looks for the status's UID → the status stays that of the second pod."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store, other = StatusStore(api, NODE, DRIVER), StatusStore(api, "node-2", DRIVER)
        name = await store.record(record)
        with rig.server.away():
            await give_up(store, version(record, "v2"))
        if restarted:
            store = StatusStore(api, NODE, DRIVER)
            store.remember(version(record, "v2"), name, current=False)
            await store.record(version(record, "v2"))
        rig.server.delete(rig.path("pods", "pod-1"))
        again = rig.record(rig.make_pod())
        await other.record(again)
        async with running(store.run()):
            await until(lambda: store.record(version(record, "v3")), "the first node's write")
            await store.identity(record.target_path)
            await store.record(version(record, "v4"))
        assert stored(rig) == (again.pod.uid, "v1")
        await other.record(version(again, "v5"))
        assert stored(rig) == (again.pod.uid, "v5") and len(rig.listed(STATUSES)) == 1
        rig.server.delete(rig.status_path())  # had it been the other pod that was deleted, this would be collected
        await store.record(version(record, "v4"))
        assert stored(rig) == (record.pod.uid, "v4")

    run(rig.kubeconfig(), test)


def test_of_a_look_for_the_uid(rig: FakeApiRig) -> None:
    """After a restart the status is older than the volume. A look for its UID writes it again, slowly, and meanwhile
    the volume is refreshed → the status says what is in the volume."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        name = await StatusStore(api, NODE, DRIVER).record(record)
        store, late = StatusStore(api, NODE, DRIVER), Late()
        store.remember(version(record, "v2"), name, current=False)
        async with running(store.run()):
            rule = rig.server.on("PATCH", STATUSES, late, times=1, where=lambda call: bool(call.body))
            look = asyncio.create_task(store.identity(record.target_path))
            await until(lambda: rule.hits, "the slow write")
            await give_up(store, version(record, "v3"))
            rule.lift()
            await look
            await until(lambda: stored(rig)[1] == "v3", "the refreshed version")

    run(rig.kubeconfig(), test)


def test_lost_answer_of_a_change(rig: FakeApiRig) -> None:
    """The answer to a PATCH is lost, and it is made again, for a version that is not the last one any more → a look
    shows that it was done."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store = StatusStore(api, NODE, DRIVER)
        await store.record(record)
        rig.server.on("PATCH", STATUSES, Drop(done=True), times=1)
        assert await store.record(version(record, "v2")) and stored(rig)[1] == "v2"
        assert rig.count()["patch", STATUSES] == 3

    run(rig.kubeconfig(), test)


def test_somebody_else_changes_it(rig: FakeApiRig) -> None:
    """Somebody annotates the status → the next write takes note, and keeps it; somebody who does so all the time → a
    Conflict after a few tries."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store = StatusStore(api, NODE, DRIVER)
        await store.record(record)
        found = rig.api.get(rig.status_path())
        rig.api.apply({**found, "metadata": {**found["metadata"], "annotations": {"team": "a"}}})
        assert await store.record(version(record, "v2")) and stored(rig)[1] == "v2"
        assert rig.api.get(rig.status_path())["metadata"]["annotations"] == {"team": "a"}
        mark = rig.server.calls.mark()
        rule = rig.server.on("PATCH", STATUSES, Answer(409), where=lambda call: bool(call.body))
        with pytest.raises(Conflict):
            await store.record(version(record, "v3"))
        assert rule.hits == 1 + written_status.LOOKS and rig.count(mark)["patch", STATUSES] <= 7
        rule.lift()
        assert await store.record(version(record, "v3")) and stored(rig)[1] == "v3"

    run(rig.kubeconfig(), test)


def test_a_retry_that_ends_with_a_bug(rig: FakeApiRig) -> None:
    """The answer to a retried write is not the object → the task ends, and when it runs again the write is retried."""
    record = rig.record(rig.make_pod())

    async def test(api: Api) -> None:
        store = StatusStore(api, NODE, DRIVER)
        await store.record(record)
        with rig.server.away():
            await give_up(store, version(record, "v2"))
        rule = rig.server.on("PATCH", STATUSES, Odd(), times=1)
        with pytest.raises(KeyError):
            await store.run()
        assert rule.hits
        async with running(store.run()):
            await until(lambda: not store._retry_queue, "the end of the retry")
        assert await store.record(version(record, "v2")) and stored(rig)[1] == "v2"

    run(rig.kubeconfig(), test)
