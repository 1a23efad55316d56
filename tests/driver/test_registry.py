"""The table of volumes: what is known of each target path, and its lock."""

import asyncio
import time

import pytest

from driver.ports import ClassRef, Pod, RefreshFailure
from driver.registry import Volume, VolumeRegistry
from driver.volume.target import Target
from runtime.errors import Aborted

APP, OTHER = ClassRef("ns", "app"), ClassRef("ns", "other")
POD = Pod("ns", "pod", "uid")


def target(name: str) -> Target:
    return Target.from_text(f"/p/pods/uid/volumes/kubernetes.io~csi/{name}/mount", "")


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


def test_volumes() -> None:
    """Volumes are added, replaced, found and removed by target path."""
    volumes = VolumeRegistry()
    first, second = Volume(target("a"), POD, APP), Volume(target("a"), POD, OTHER)
    path = first.target.path
    assert volumes.get(path) is None and volumes.remove(path) is None and len(volumes) == 0
    volumes.put(first)
    assert volumes.get(path) is first and volumes.uses(APP)
    volumes.put(second)
    assert list(volumes) == [second] and not volumes.uses(APP) and volumes.uses(OTHER)
    assert volumes.remove(path) is second
    assert list(volumes) == [] and not volumes.uses(OTHER)


def test_volumes_may_change_during_an_iteration() -> None:
    """A volume is removed while all are looped over: the loop ends as if it were still there."""
    volumes = VolumeRegistry()
    for name in "abc":
        volumes.put(Volume(target(name), POD, APP))
    assert [volumes.remove(volume.target.path) for volume in volumes] and len(volumes) == 0


def test_lock_is_of_one_path() -> None:
    """Two operations on one path run one after the other; one on another path does not wait."""

    async def run() -> None:
        volumes, order = VolumeRegistry(), list[str]()
        entered = asyncio.Event()

        async def second() -> None:
            async with volumes.exclusive("/a", soon()):
                order.append("second")

        async with volumes.exclusive("/a", soon()):
            waiting = asyncio.create_task(second())
            async with volumes.exclusive("/b", soon()):
                entered.set()
            await asyncio.sleep(0)
            order.append("first")
        await waiting
        assert order == ["first", "second"] and entered.is_set()

    asyncio.run(run())


def test_lock_is_awaited_until_the_deadline() -> None:
    """Whoever waits longer than its deadline gets Aborted; the lock itself is as it was."""

    async def run() -> None:
        volumes = VolumeRegistry()
        async with volumes.exclusive("/a", soon()):
            with pytest.raises(Aborted, match="another operation for /a is still running"):
                async with volumes.exclusive("/a", asyncio.get_running_loop().time() + 0.01):
                    raise AssertionError("the lock is held by another")
        async with volumes.exclusive("/a", soon()):
            pass

    asyncio.run(run())


@pytest.mark.parametrize("end", ["success", "failure", "cancelled"])
def test_nothing_is_kept_of_an_unused_path(end: str) -> None:
    """However an operation ends, a path without a volume is forgotten with it; one with a volume is not."""

    async def operate(volumes: VolumeRegistry) -> None:
        async with volumes.exclusive("/a", soon()):
            if end == "failure":
                raise ValueError
            if end == "cancelled":
                raise asyncio.CancelledError

    async def run() -> None:
        volumes = VolumeRegistry()
        kept = Volume(target("kept"), POD, APP)
        async with volumes.exclusive(kept.target.path, soon()):
            volumes.put(kept)
        await asyncio.gather(operate(volumes), return_exceptions=True)
        assert list(volumes._entries) == [kept.target.path]
        volumes.remove(kept.target.path)
        assert volumes._entries == {}

    asyncio.run(run())


def test_class_of_a_first_publish_is_in_use() -> None:
    """A class is in use from the beginning of a first publish, and after it only if there is a volume."""

    async def run() -> None:
        volumes, path = VolumeRegistry(), target("a").path
        async with volumes.exclusive(path, soon()):
            with volumes.publishing(path, APP):
                assert volumes.uses(APP) and not volumes.uses(OTHER)
            assert not volumes.uses(APP)
            with pytest.raises(ValueError), volumes.publishing(path, APP):
                raise ValueError
            assert not volumes.uses(APP)
            volumes.put(Volume(target("a"), POD, APP))
        assert volumes.uses(APP)

    asyncio.run(run())


def test_refreshed() -> None:
    """A successful refresh ends failures and back-off, and tells whether the versions changed."""
    volume = Volume(target("a"), POD, APP, failure=RefreshFailure("R", "m", 2, 1.0), retry_at=5.0)
    assert volume.refreshed("stub", {"a": "1"})
    assert (volume.provider, volume.objects, volume.failure, volume.retry_at) == ("stub", {"a": "1"}, None, 0.0)
    assert volume.last_refresh == pytest.approx(time.time(), abs=60) and volume.record.last_refresh is not None
    assert not volume.refreshed("stub", {"a": "1"})
    assert volume.refreshed("stub", {"a": "2"})
