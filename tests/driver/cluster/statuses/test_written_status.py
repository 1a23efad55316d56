"""A pod status of the same name is there already: left from an earlier pod, it may be collected at any moment."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from driver.cluster.api import Api
from driver.cluster.statuses.store import StatusStore
from driver.objects.pod_status import status_name
from driver.ports import Pod, VolumeRecord
from runtime.errors import PermissionDenied
from tests.support.fake_api.faults import Answer, Delay, Exchange
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.rig import DRIVER, NODE

STATUSES = "secretproviderclasspodstatuses"


@dataclass(frozen=True)
class Collected:
    """The garbage collector deletes the object just before the call arrives."""

    here: FakeApiRig

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Delete it, then go on as usual."""
        self.here.server.delete(self.here.status_path())
        return await exchange.proceed()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A fake cluster."""
    with fake_api_rig(tmp_path) as made:
        yield made


async def write(here: FakeApiRig, record: VolumeRecord) -> None:
    """Write a record as a driver does that has just started."""
    api = Api(here.kubeconfig())
    try:
        await StatusStore(api, NODE, DRIVER).record(record)
    finally:
        await api.close()


@pytest.mark.parametrize("patched", [0, 1, 2])
def test_a_status_of_an_earlier_pod(here: FakeApiRig, patched: int) -> None:
    """A StatefulSet's pod comes back with another UID: the record becomes that of the new pod, whether the old object
    is collected before the first or the second patch of it, or not at all."""
    new = here.make_pod()
    old = replace(here.record(new), pod=Pod(here.namespace, new.name, "earlier"))

    async def run() -> None:
        await write(here, old)
        if patched:
            here.server.on("PATCH", STATUSES, Delay(0.0), times=patched)
        collected = here.server.on("PATCH", STATUSES, Collected(here), times=1)
        mark = here.server.calls.mark()
        await write(here, here.record(new))
        (owner,) = here.api.get(here.status_path())["metadata"]["ownerReferences"]
        assert owner["uid"] == new.uid
        creates = 2 if patched < 2 else 1
        assert here.count(mark)["create", STATUSES] == creates and collected.hits == creates - 1

    asyncio.run(run())


REFUSALS = {
    "a policy": (1, Answer(422, message="ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no")),
    "a policy that forbids": (
        1,
        Answer(403, message="ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no"),
    ),
    "a webhook": (1, Answer(403, message='admission webhook "x" denied the request: no')),
    "strict owners": (2, Answer(403, message="cannot set an ownerRef on a resource you can't delete: , <nil>")),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_an_earlier_status_that_must_not_be_changed(here: FakeApiRig, case: str) -> None:
    """The cluster refuses to change the status of the earlier pod, which was perhaps on another node → the new pod gets
    one with the other name, at once; the earlier one is left to the garbage collector."""
    number, refusal = REFUSALS[case]
    new = here.make_pod()
    old = replace(here.record(new), pod=Pod(here.namespace, new.name, "earlier"))

    async def run() -> None:
        await write(here, old)
        if number > 1:
            here.server.on("PATCH", STATUSES, Delay(0.0), times=number - 1)
        refused = here.server.on("PATCH", STATUSES, refusal)
        await write(here, here.record(new))
        owners = {
            item["metadata"]["name"]: item["metadata"]["ownerReferences"][0]["uid"] for item in here.listed(STATUSES)
        }
        names = status_name(old), status_name(here.record(new), unique=True)
        assert owners == dict(zip(names, ("earlier", new.uid), strict=True)) and refused.hits == 1

    asyncio.run(run())


def test_missing_rights_are_no_such_refusal(here: FakeApiRig) -> None:
    """The right to patch is missing → the failure says so, and no second object is created."""
    new = here.make_pod()

    async def run() -> None:
        await write(here, replace(here.record(new), pod=Pod(here.namespace, new.name, "earlier")))
        here.server.on("PATCH", STATUSES, Answer(403, message='User "x" cannot patch resource'))
        with pytest.raises(PermissionDenied):
            await write(here, here.record(new))
        assert len(here.listed(STATUSES)) == 1

    asyncio.run(run())


@pytest.mark.parametrize("known", [True, False], ids=["one-node", "two-nodes"])
def test_pods_that_share_a_name(here: FakeApiRig, known: bool) -> None:
    """Pod ``a`` with class ``t1-b`` and pod ``a-t1`` with class ``b``, in namespace ``t1``, make one name: each has its
    own status, whichever node it is on; the first pod goes, and the status of the second stays."""
    here.namespace = "t1"
    pods = [here.make_pod(name, volumes={"secrets": class_name}) for name, class_name in (("a", "t1-b"), ("a-t1", "b"))]
    records = [here.record(pods[0], "t1-b"), here.record(pods[1], "b"), here.record(pods[1], "b", "second")]

    async def run() -> None:
        api = Api(here.kubeconfig())
        store = StatusStore(api, NODE, DRIVER)
        try:
            for _ in range(2):
                for record in records:
                    await (store if known else StatusStore(api, NODE, DRIVER)).record(record)
                found = {item["status"]["targetPath"]: item for item in here.listed(STATUSES)}
                assert found.keys() == {record.target_path for record in records}
                owners = [found[record.target_path]["metadata"]["ownerReferences"][0]["uid"] for record in records]
                assert owners == [record.pod.uid for record in records]
        finally:
            await api.close()
        here.api.delete(here.path("pods", "a"))
        assert {item["status"]["targetPath"] for item in here.listed(STATUSES)} == {
            record.target_path for record in records[1:]
        }

    asyncio.run(run())


def test_a_pod_that_moves(here: FakeApiRig) -> None:
    """A StatefulSet's pod is recreated on another node with another UID while its old status is there: the name stays,
    and the old node's forgetting it changes nothing."""
    old = here.make_pod()
    first = here.record(old)

    async def run() -> None:
        api = Api(here.kubeconfig())
        try:
            old_node, new_node = StatusStore(api, NODE, DRIVER), StatusStore(api, "node-2", DRIVER)
            name = await old_node.record(first)
            new = Pod(here.namespace, old.name, "new-uid")
            moved = here.record(new)
            assert await new_node.record(moved) == name
            old_node.forget(first.target_path)
            (status,) = here.listed(STATUSES)
            assert status["status"]["targetPath"] == moved.target_path
            assert list(status["metadata"]["labels"].values()) == ["node-2"]
        finally:
            await api.close()

    asyncio.run(run())


def test_a_remembered_status(here: FakeApiRig) -> None:
    """A restart: an unchanged record makes no call; the name and UID of the object are asked for once; a change patches
    it; one that was deleted meanwhile is created again."""
    record = here.record(here.make_pod())

    async def run() -> None:
        await write(here, record)
        made = here.api.get(here.status_path())["metadata"]
        api = Api(here.kubeconfig())
        try:
            store = StatusStore(api, NODE, DRIVER)
            store.remember(record, made["name"], current=True)
            mark = here.server.calls.mark()
            assert await store.record(record) == made["name"] and here.count(mark) == {}
            assert await store.identity(record.target_path) == (made["name"], made["uid"])
            assert await store.identity(record.target_path) == (made["name"], made["uid"])
            assert here.count(mark) == {("patch", STATUSES): 1}
            await store.record(replace(record, objects={"password": "v2"}))
            assert here.api.get(here.status_path())["status"]["objects"][0]["version"] == "v2"
            again = StatusStore(api, NODE, DRIVER)
            again.remember(record, made["name"], current=False)
            await again.record(record)
            assert here.api.get(here.status_path())["status"]["objects"][0]["version"] == "v1"
            here.api.delete(here.status_path())
            late = StatusStore(api, NODE, DRIVER)
            late.remember(record, made["name"], current=True)
            _, uid = await late.identity(record.target_path) or ("", "")
            assert uid == here.api.get(here.status_path())["metadata"]["uid"] != made["uid"]
        finally:
            await api.close()

    asyncio.run(run())
