"""``share-fetch``: pods of one class and one service account that start together share one call to the provider."""

import asyncio
from pathlib import Path

import grpc
import pytest

from driver.ports import SHARE_ANNOTATION
from tests.driver.publish.fetching.test_known_good import OTHERS
from tests.driver.publish.support import known, make_due
from tests.support.outage_rig import SHARED, outage_rig, version_of
from tests.support.waiting import run_async, until


def test_one_call(tmp_path: Path) -> None:
    """Thirty pods start together, and one a little later → one call; all have the content, and their pod statuses its
    versions."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(SHARED)
            volumes = [it.volume(f"pod-{number}") for number in range(30)]
            await asyncio.gather(*(volume.publish() for volume in volumes))
            late = it.volume("pod-late")
            await late.publish()
            assert it.calls == 1
            assert {volume.read() for volume in [*volumes, late]} == {b"s3cret"}
            assert {known(it.rig, volume).objects["password"] for volume in volumes} == {version_of(b"s3cret")}
            labels = {"provider": "lab"}
            found = it.rig.driver.metrics.registry.get_sample_value("secrets_store_shared_fetches_total", labels)
            assert found == 30

    run_async(run)


def test_without_the_annotation(tmp_path: Path) -> None:
    """The class does not ask for it → a call for each pod."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class({})
            await asyncio.gather(*(it.volume(f"pod-{number}").publish() for number in range(5)))
            assert it.calls == 5

    run_async(run)


@pytest.mark.parametrize("what", [name for name in OTHERS if "annotation" not in name])
def test_never_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A pod that differs in anything that may matter starts at the same time → a call of its own, during that of the
    first and after it."""
    monkeypatch.setattr("tests.driver.publish.fetching.test_known_good.KNOWN_GOOD", SHARED)

    async def run() -> None:
        async with outage_rig(tmp_path, apply_volume_mount_group=True) as it:
            it.write_class(SHARED)
            it.lab.open.clear()
            first = asyncio.create_task(it.volume("pod-1").publish())
            await it.served.wait_for_calls(1)
            other = OTHERS[what](it)
            second = asyncio.create_task(other.publish())
            await it.served.wait_for_calls(2)
            it.back(b"other")
            await asyncio.gather(first, second)
            before = it.calls
            await OTHERS[what](it).unpublish()
            await OTHERS[what](it).publish()
            assert it.calls == before + (what in ("no token", "token of another pod", "token of another namespace"))

    run_async(run)


def test_not_longer_than_asked_for(tmp_path: Path) -> None:
    """A pod starts after the time → it gets what the store has now."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(SHARED)
            await it.volume("pod-1").publish()
            it.back(b"new")
            it.pass_time(29)
            early, late = it.volume("pod-2"), it.volume("pod-3")
            await early.publish()
            it.pass_time(2)
            await late.publish()
            assert (early.read(), late.read(), it.calls) == (b"s3cret", b"new", 2)

    run_async(run)


def test_true_age(tmp_path: Path) -> None:
    """A pod gets content that is 20 s old → its last refresh was then, so that it is due when the content is."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(SHARED)
            first, second = it.volume("pod-1"), it.volume("pod-2")
            await first.publish()
            it.pass_time(20)
            await second.publish()
            one, other = known(it.rig, first).refreshed_at, known(it.rig, second).refreshed_at
            assert one is not None and other is not None and other <= one

    run_async(run)


def test_rotation(tmp_path: Path) -> None:
    """The volumes of a class are due together → one call for all; and never content that is older than their own."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(SHARED)
            volumes = [it.volume(f"pod-{number}") for number in range(10)]
            await asyncio.gather(*(volume.publish() for volume in volumes))
            it.back(b"new")
            for volume in volumes:
                make_due(it.rig, volume)
                known(it.rig, volume).refreshed_at = None
            it.pass_time(31)
            await asyncio.gather(*(volume.publish() for volume in volumes))
            assert it.calls == 2 and {volume.read() for volume in volumes} == {b"new"}
            it.back(b"newer")
            it.write_class({**SHARED, "secrets-store.csi.k8s.io/rotation-poll-interval": "1s"})
            it.pass_time(5)
            for volume in volumes:
                await volume.publish()
            assert it.calls == 3 and {volume.read() for volume in volumes} == {b"newer"}

    run_async(run)


def test_failure(tmp_path: Path) -> None:
    """The store refuses → all who wait are told, each with its own pod in the text, after one call; who comes then asks
    again and gets it."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(SHARED)
            it.refuse(grpc.StatusCode.PERMISSION_DENIED)
            it.lab.open.clear()
            volumes = [it.volume(f"pod-{number}") for number in range(5)]
            tasks = [asyncio.create_task(volume.failure()) for volume in volumes]
            await it.served.wait_for_calls(1)
            flights = it.rig.driver.publish_path.replies._flights._flights
            await until(lambda: sum(flight.users for flight in flights.values()) == 5, "all to wait")
            it.lab.open.set()
            for volume, (code, text) in zip(volumes, await asyncio.gather(*tasks), strict=True):
                assert code == grpc.StatusCode.PERMISSION_DENIED
                assert text.count("for pod") == 1 and f"for pod default/{volume.pod}," in text
            assert it.calls == 1 and not any(volume.mounted for volume in volumes)
            it.back()
            await volumes[0].publish()
            assert volumes[0].read() == b"new"

    run_async(run)


def test_a_provider_that_writes_the_files(tmp_path: Path) -> None:
    """The provider replies without files, as it has written them to the volume → a call for each pod."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(SHARED)
            it.lab.writes = True
            volumes = [it.volume(f"pod-{number}") for number in range(5)]
            await asyncio.gather(*(volume.publish() for volume in volumes))
            assert it.calls == 5
            targets = {request.target_path for request in it.served.requests}
            assert targets == {str(volume.target) for volume in volumes}

    run_async(run)


def test_away(tmp_path: Path) -> None:
    """The store is away, and the class has only this annotation → a new pod does not start, except within the time."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class({SHARE_ANNOTATION: "10s"})
            await it.volume("pod-1").publish()
            it.away()
            await it.volume("pod-2").publish()
            it.pass_time(11)
            assert (await it.volume("pod-3").failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)
