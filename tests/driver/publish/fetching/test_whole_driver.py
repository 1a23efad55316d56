"""Outages with a (fake) API server: classes that change while nobody uses them, and Secrets."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, ClassRef
from tests.support.accounts import with_token
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.outage_rig import KNOWN_GOOD, OutageRig, hurried, unsteady
from tests.support.rig import OBJECTS, Volume
from tests.support.syncing import ENTRY, check_now, values
from tests.support.waiting import run_async, until

LAB: dict[str, Any] = {"provider": "lab", "annotations": KNOWN_GOOD}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A fake cluster."""
    with fake_api_rig(tmp_path) as made:
        yield made


@asynccontextmanager
async def node(here: FakeApiRig, shift: list[float], name: str = "node") -> AsyncIterator[OutageRig]:
    """A node with an unsteady provider."""
    async with here.driver(name) as rig, unsteady(rig, shift) as made:
        await here.watch_open()
        yield made


def pod(here: FakeApiRig, it: OutageRig, name: str) -> Volume:
    """A volume of a new pod."""
    return with_token(here.volume(it.rig, here.make_pod(name)))


async def ended(here: FakeApiRig, it: OutageRig, name: str = "first") -> None:
    """A pod has run and ended, so that no volume uses the class."""
    volume = pod(here, it, name)
    await volume.publish()
    await volume.unpublish()


CHANGES: dict[str, dict[str, Any]] = {
    "parameters": {**LAB, "parameters": {"objects": OBJECTS, "role": "other"}},
    "secretObjects": {**LAB, "secretObjects": [ENTRY]},
    "refresh": {**LAB, "annotations": {**KNOWN_GOOD, "secrets-store.csi.k8s.io/refresh": "1"}},
    "annotation removed": {"provider": "lab"},
    "annotation invalid": {**LAB, "annotations": {LAST_KNOWN_GOOD_ANNOTATION: "soon"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_class(here: FakeApiRig, change: str) -> None:
    """A class is changed that no volume uses → what is held of it leaves the memory at once."""

    async def run() -> None:
        here.make_class(**LAB)
        with hurried() as shift:
            async with node(here, shift) as it:
                await ended(here, it)
                held = it.rig.driver.publish_path.held
                assert len(held) == 1
                here.make_class(**CHANGES[change])
                await until(lambda: len(held) == 0, "it to be forgotten")
                it.away()
                assert (await pod(here, it, "second").failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)


def test_class_changed_during_the_call(here: FakeApiRig) -> None:
    """The class changes while the provider is asked → its reply to what the class was before does not stay in
    memory."""

    async def run() -> None:
        here.make_class(**LAB)
        with hurried() as shift:
            async with node(here, shift) as it:
                it.lab.open.clear()
                volume = pod(here, it, "first")
                publish = asyncio.create_task(volume.publish())
                await it.served.wait_for_calls(1)
                here.make_class(**CHANGES["parameters"])
                path = it.rig.driver.publish_path
                cluster = it.rig.driver.backend.cluster

                async def noticed() -> bool:
                    return "role" in (await cluster.get_class(ClassRef("default", "app"))).parameters

                await until(noticed, "the driver to notice the change")
                it.lab.open.set()
                await publish
                await until(lambda: not path.held.unchecked and len(path.held) == 0, "it to be forgotten")

    run_async(run)


def test_deleted_class(here: FakeApiRig) -> None:
    """A class is deleted that no volume uses, and created again as it was → what was held of it is forgotten, and the
    new one gets nothing of it; the driver does not cache the class any more when nothing is held."""

    async def run() -> None:
        here.make_class(**LAB)
        with hurried() as shift:
            async with node(here, shift) as it:
                await ended(here, it)
                path = it.rig.driver.publish_path
                here.server.delete(here.path("secretproviderclasses", "app"))
                await until(lambda: len(path.held) == 0, "it to be forgotten")
                assert not it.rig.driver.volumes.uses(ClassRef("default", "app"))
                here.make_class(**LAB)
                it.away()
                assert (await pod(here, it, "second").failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)


def test_more_time_during_the_outage(here: FakeApiRig) -> None:
    """The outage takes longer than the class allows, and its author allows more → what is held is kept and served."""

    async def run() -> None:
        here.make_class(**{**LAB, "annotations": {LAST_KNOWN_GOOD_ANNOTATION: "1h"}})
        with hurried() as shift:
            async with node(here, shift) as it:
                await ended(here, it)
                held = it.rig.driver.publish_path.held
                it.away()
                it.pass_time(3000)
                here.make_class(**LAB)
                await until(lambda: [item.keep for item in held._replies.values()] == [6 * 3600], "the longer time")
                it.pass_time(3000)
                volume = pod(here, it, "second")
                await volume.publish()
                assert volume.read() == b"s3cret"
                status = here.api.get(here.status_path("second"))["status"]
                assert status["lastFailure"]["reason"] == "ServedLastKnownGood"
                await until(lambda: here.events("ServedLastKnownGood"), "the event")
                [event] = here.events("ServedLastKnownGood")
                assert re.search(r"fetched 1h40m(\d+s)? ago", event["message"]), event["message"]
                assert event["involvedObject"]["name"] == "second"

    run_async(run)


def test_a_newer_secret_stays(here: FakeApiRig) -> None:
    """Another node has fetched a newer value and written it to the Secret; then the store is away and a pod starts here
    with the old one → the Secret keeps the newer value. It is deleted → it is created with what there is, and has the
    fresh value when the store is back."""

    async def run() -> None:
        here.make_class(**LAB, secretObjects=[ENTRY])
        entry = {**ENTRY["data"][0]} if isinstance(ENTRY["data"], list) else {}
        key = str(entry["key"])
        with hurried() as shift:
            async with node(here, shift) as it, node(here, shift, "other") as other:
                await ended(here, it)
                it.pass_time(60)
                other.back(b"newer")
                await pod(here, other, "there").publish()
                await until(lambda: values(here.secret("synced")) == {key: b"newer"}, "the newer value")
                it.away()
                volume = pod(here, it, "here")
                await volume.publish()
                assert volume.read() == b"s3cret"
                check_now(it.rig)
                assert values(here.secret("synced")) == {key: b"newer"}
                await until(lambda: all(job.task is None or job.task.done() for job in _jobs(it)), "the check")
                assert values(here.secret("synced")) == {key: b"newer"}

                here.server.delete(here.path("secrets", "synced"))
                check_now(it.rig)
                await until(lambda: values(here.secret("synced")) == {key: b"s3cret"}, "the Secret")
                it.back(b"fresh")
                await until(lambda: values(here.secret("synced")) == {key: b"fresh"}, "the fresh value")

    run_async(run)


def _jobs(it: OutageRig) -> list[Any]:
    engine: Any = it.rig.driver.backend.sync
    return list(engine._table.jobs.values())
