"""The driver takes over a node from the Go driver, whose volumes have no record, and is restarted again later."""

import asyncio
import os
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import restore
from driver.ports import Pod
from tests.support.fake_api import Answer
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.rig import Volume
from tests.support.waiting import until

ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}
STATUSES = "secretproviderclasspodstatuses"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A fake cluster with a class that syncs a Secret."""
    with fake_api_rig(tmp_path) as made:
        made.make_class(secretObjects=[ENTRY])
        yield made


def as_go_does(volume: Volume, written_by_provider: bool) -> None:
    """Make it a volume of the Go driver; with a provider that writes its files itself, those are no content of ours."""
    volume.remove_record()
    if written_by_provider:
        content = volume.read()
        for name in os.listdir(volume.target):
            path = volume.target / name
            if path.is_symlink():
                path.unlink()
        (volume.target / "password").write_bytes(content)


def value(here: FakeApiRig) -> bytes | None:
    """What the synced Secret holds."""
    secret = here.secret("synced")
    return None if secret is None else b64decode(secret["data"]["pw"])


@pytest.mark.parametrize("written_by_provider", [False, True])
def test_a_volume_of_the_go_driver(here: FakeApiRig, written_by_provider: bool) -> None:
    """Its pod status, confirmed by its pod, says whose it is; its Secret is checked again. The next restart asks
    nothing any more, and the volume can be unpublished."""
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            volume = here.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            as_go_does(volume, written_by_provider)
            here.api.delete(here.path("secrets", "synced"))
            await rig.start()
            await until(lambda: value(here) == b"s3cret", "the Secret to come back")
            (known,) = rig.driver.volumes
            assert (known.pod, known.class_ref.name, known.recorded) == (pod, "app", True)
            assert (known.last_refresh is None) == written_by_provider
            mark = here.server.calls.mark()
            await rig.restart()
            (known,) = rig.driver.volumes
            assert (known.pod, known.class_ref.name, known.recorded) == (pod, "app", True)
            await until(lambda: here.count(mark)["get", "secrets"], "the Secret to be checked")
            assert here.count(mark)["list", STATUSES] == 0
            await volume.unpublish()
            assert not volume.mounted and list(rig.driver.volumes) == []

    asyncio.run(run())


def test_before_the_api_server_is_back(here: FakeApiRig) -> None:
    """The pod status cannot be read at first: the driver is ready, the volume keeps its content, and it is known as
    soon as the server answers. A volume that is unpublished meanwhile does not come back."""
    pods = [here.make_pod(name) for name in ("pod-1", "pod-2")]

    async def run() -> None:
        async with here.driver() as rig:
            volumes = [here.volume(rig, pod) for pod in pods]
            for volume in volumes:
                await volume.publish()
            await rig.stop()
            for volume in volumes:
                as_go_does(volume, written_by_provider=True)
            with here.server.away():
                await rig.start()
                assert rig.driver.health.ready and list(rig.driver.volumes) == []
                await volumes[1].unpublish()
            await until(lambda: len(rig.driver.volumes), "the volume to be known")
            (known,) = rig.driver.volumes
            assert known.pod == pods[0] and volumes[0].read() == b"s3cret"

    asyncio.run(run())


@pytest.mark.parametrize("denied", [1, 4])
def test_pods_that_must_not_be_read_yet(here: FakeApiRig, monkeypatch: pytest.MonkeyPatch, denied: int) -> None:
    """An API server that has just started denies the first reads: they are tried again."""
    monkeypatch.setattr(restore, "FIRST_PAUSE", 0.01)
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver(sync_secrets=False) as rig:
            volume = here.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            as_go_does(volume, written_by_provider=False)
            rule = here.server.on("GET", "/pods/", Answer(403), times=denied)
            await rig.start()
            (known,) = rig.driver.volumes
            await until(lambda: known.recorded is not None, "the restart to be complete")
            assert known.recorded and known.pod == pod and rule.hits == denied

    asyncio.run(run())


def test_pods_that_must_not_be_read(
    here: FakeApiRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier chart's role: the status is not believed, a warning says what to grant, and the next publish makes the
    volume known."""
    monkeypatch.setattr(restore, "FIRST_PAUSE", 0.01)
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver(sync_secrets=False) as rig:
            volume = here.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            as_go_does(volume, written_by_provider=False)
            here.server.on("GET", "/pods/", Answer(403))
            await rig.start()
            (known,) = rig.driver.volumes
            await until(lambda: known.recorded is False, "the restart to be complete")
            assert known.pod == Pod("", "", pod.uid) and "grant the driver get on pods" in caplog.text
            await volume.publish()
            assert known.recorded and known.pod == pod

    asyncio.run(run())


def test_a_volume_that_nobody_knows(here: FakeApiRig) -> None:
    """Its pod status is gone: nothing is known of it, its Secret is left alone, and its next publish records it."""
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            volume = here.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            as_go_does(volume, written_by_provider=False)
            here.api.delete(here.status_path())
            await rig.start()
            (known,) = rig.driver.volumes
            await until(lambda: known.recorded is False, "the restart to be complete")
            await volume.publish()
            assert known.recorded and known.pod == pod and here.api.find(here.status_path()) is not None

    asyncio.run(run())
