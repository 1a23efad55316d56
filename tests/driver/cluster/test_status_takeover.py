"""A pod status of the same name is there already: left from an earlier pod, it may be collected at any moment."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from driver.cluster.api import Api
from driver.cluster.statuses import StatusStore
from driver.ports import Pod, VolumeRecord
from tests.support.fake_api.faults import Delay, Exchange
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
