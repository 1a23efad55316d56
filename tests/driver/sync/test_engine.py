"""The queue's timing: back-off, checks, one run at a time, the bound of the first attempt; no API server."""

import asyncio
import base64
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driver.manifests import Manifests
from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Pod, PodEvent, ProviderClass, SecretObject, VolumeRecord
from driver.registry import VolumeRegistry
from driver.sync import engine, jobs
from driver.sync.merge import Outcome
from driver.sync.owners import Owners
from driver.sync.references import Owner
from driver.sync.wanted import Wanted
from driver.volume.workers import DiskWorkers
from runtime.errors import PreconditionFailed
from tests.support.waiting import until

REF = ClassRef("ns", "app")
APP = ProviderClass(REF, "stub", {"a": "b"}, (SecretObject("s", "Opaque", (("password", "k"),)),))


@dataclass
class Writer:
    """Records what it is asked; ``open`` lets calls pass, ``failing`` makes them fail, ``pods`` are there."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False
    gone: bool = False
    asked: list[Wanted] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    running: int = 0

    async def ensure(self, wanted: Wanted, owners: Owners) -> Outcome:
        """As the real one, without an API."""
        await owners.confirmed()
        self.asked.append(wanted)
        self.running += 1
        assert self.running == 1, "two runs of one job at a time"
        try:
            await self.open.wait()
            if self.failing:
                raise PreconditionFailed("no")
            return Outcome(written=True)
        finally:
            self.running -= 1

    async def release(self, class_ref: ClassRef, secret_name: str, owners: Owners) -> None:
        """As the real one, without an API."""
        await owners.confirmed()
        if self.failing:
            raise PreconditionFailed("no")
        self.released.append(secret_name)

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Owner] | None:
        """One owner, or none for a pod that is gone."""
        return None if self.gone else [Owner("v1", "Pod", pod.name, pod.uid)]


class FakeCluster(Manifests):
    """Records events; the class is ``current``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self.events: list[PodEvent] = []
        self.current = APP
        self.asked: list[float] = []

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """The class as a caching store returns it."""
        self.asked.append(asyncio.get_running_loop().time())
        return self.current

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether it is still the remembered one."""
        return provider_class == self.current

    async def event(self, event: PodEvent) -> None:
        """Record it."""
        self.events.append(event)


@dataclass
class SyncRig:
    """A sync engine with its surroundings."""

    engine: engine.SyncEngine
    writer: Writer
    cluster: FakeCluster
    record: VolumeRecord

    @property
    def job(self) -> jobs.Job:
        """The one job."""
        (job,) = self.engine._table.jobs.values()
        return job

    async def finished(self) -> None:
        """The job's run, if one is under way, has ended."""
        assert self.job.task is not None
        await self.job.task

    @property
    def wait(self) -> float:
        """Seconds until it is due."""
        return self.job.due - asyncio.get_running_loop().time()


@pytest.fixture
def run_in_rig(tmp_path: Path) -> Callable[[Callable[[SyncRig], Coroutine[Any, Any, None]]], None]:
    """Runs a test with a rig that has one volume."""
    target = tmp_path / "mount"
    (target / "..2026").mkdir(parents=True)
    (target / "..2026" / "password").write_bytes(b"v")
    (target / "..data").symlink_to("..2026")
    (target / "password").symlink_to("..data/password")
    record = VolumeRecord(Pod("ns", "pod", "uid"), REF, "v", str(target), {"password": "1"}, 1000.0)

    def run(test: Callable[[SyncRig], Coroutine[Any, Any, None]]) -> None:
        async def with_rig() -> None:
            writer, cluster, disk = Writer(), FakeCluster(tmp_path), DiskWorkers()
            writer.open.set()
            made = engine.SyncEngine(
                cluster, writer, disk, DriverMetrics(VolumeRegistry()), engine.Limits(1 << 20, first=20.0)
            )
            task = asyncio.create_task(made.run())
            try:
                await test(SyncRig(made, writer, cluster, record))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                disk.close()

        asyncio.run(with_rig())

    return run


Run = Callable[[Callable[[SyncRig], Coroutine[Any, Any, None]]], None]


def test_a_check_is_due_in_five_minutes(run_in_rig: Run) -> None:
    """After a publish the Secret was asked for once and is due in 300 s ± 10 %; an unchanged refresh asks nothing,
    a changed one at once."""

    async def test(rig: SyncRig) -> None:
        await rig.engine.published(rig.record, APP, True)
        assert len(rig.writer.asked) == 1 and 269 < rig.wait < 331
        await rig.engine.published(rig.record, APP, False)
        assert len(rig.writer.asked) == 1
        await rig.engine.published(rig.record, APP, True)
        assert len(rig.writer.asked) == 2

    run_in_rig(test)


@pytest.mark.parametrize("change", [False, True], ids=["waits", "class-changes"])
def test_classes_are_read_spread_after_a_restart(
    run_in_rig: Run, monkeypatch: pytest.MonkeyPatch, change: bool
) -> None:
    """Volumes are restored → their classes are not read at once, but when their time has come; if a class changes
    before, at once, and its jobs are planned once."""
    times = iter([0.2, 0.1])
    monkeypatch.setattr(engine, "random", SimpleNamespace(uniform=lambda low, high: next(times, (low + high) / 2)))

    async def test(rig: SyncRig) -> None:
        restored = asyncio.get_running_loop().time()
        rig.engine.restored([rig.record])
        if change:
            await until(lambda: not rig.engine._stale, "the class to wait for its time")
            rig.engine._class_changed(REF)
        await until(lambda: rig.writer.asked, "the Secret to be asked for")
        await until(lambda: not [task for task in rig.engine._tasks if not task.done()], "all to be done")
        after = [moment - restored for moment in rig.cluster.asked]
        assert len(after) == (2 if change else 1) and len(rig.writer.asked) == 1
        assert after[-1] >= 0.2

    run_in_rig(test)


def test_a_restored_volume_that_goes_before_its_class_is_read(run_in_rig: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume is unpublished in the seconds after a restart → its class is not read, which would put it into the cache
    for good."""
    monkeypatch.setattr(engine, "random", SimpleNamespace(uniform=lambda _, high: high / 100))

    async def test(rig: SyncRig) -> None:
        rig.engine.restored([rig.record])
        await until(lambda: rig.engine._tasks, "the class to wait for its time")
        rig.engine.forget(rig.record.target_path)
        await until(lambda: not rig.engine._tasks, "the end of the wait")
        assert rig.cluster.asked == [] and rig.writer.asked == []

    run_in_rig(test)


def test_back_off(run_in_rig: Run) -> None:
    """2 s, 4 s … 5 minutes ± 10 %, an event each time; success ends it and is told."""

    async def test(rig: SyncRig) -> None:
        rig.writer.failing = True
        for expected in (2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
            await rig.engine.published(rig.record, APP, True)
            assert expected * 0.85 < rig.wait < expected * 1.15
        assert [event.reason for event in rig.cluster.events] == [engine.FAILED] * 10
        rig.writer.failing = False
        await rig.engine.published(rig.record, APP, True)
        assert rig.cluster.events[-1].reason == engine.SYNCED and rig.wait > 269

    run_in_rig(test)


def test_a_slow_writer(run_in_rig: Run) -> None:
    """The publish does not wait longer than its bound; news that come meanwhile lead to one more run, never to two at a
    time."""

    async def test(rig: SyncRig) -> None:
        rig.writer.open.clear()
        rig.engine._limits = rig.engine._limits._replace(first=0.2)
        async with asyncio.timeout(2):
            for _ in range(3):
                await rig.engine.published(rig.record, APP, True)
        assert len(rig.writer.asked) == 1
        rig.writer.open.set()
        await rig.finished()
        assert len(rig.writer.asked) == 2

    run_in_rig(test)


def test_a_pod_that_is_gone(run_in_rig: Run) -> None:
    """No Secret without owner, no event, no further try, even if the pod, not quite gone, is published again."""

    async def test(rig: SyncRig) -> None:
        rig.writer.gone = True
        for _ in range(2):
            await rig.engine.published(rig.record, APP, True)
            assert rig.job.due == float("inf") and not rig.cluster.events

    run_in_rig(test)


def test_a_volume_on_its_way_out(run_in_rig: Run) -> None:
    """A class changes while the volume is being unpublished: no event on a pod that goes, and a look again soon."""

    async def test(rig: SyncRig) -> None:
        Path(rig.record.target_path, "..data").unlink()
        await rig.engine.published(rig.record, APP, True)
        assert not rig.writer.asked and not rig.cluster.events and rig.wait < 15

    run_in_rig(test)


def test_an_api_server_that_is_away(run_in_rig: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that gets no answer is followed by another soon, however often; no event, neither of that nor of its
    end."""
    monkeypatch.setattr(engine, "RUN_SECONDS", 0.05)

    async def test(rig: SyncRig) -> None:
        rig.writer.open.clear()
        for _ in range(5):
            await rig.engine.published(rig.record, APP, True)
            assert rig.wait < 15
        monkeypatch.setattr(engine, "RUN_SECONDS", 30.0)
        rig.writer.open.set()
        await rig.engine.published(rig.record, APP, True)
        assert rig.wait > 269 and not rig.cluster.events

    run_in_rig(test)


def test_a_class_that_changed_during_the_publish(run_in_rig: Run) -> None:
    """The volume was published with a class that is not the current one any more: the Secret becomes what that asks
    for."""

    async def test(rig: SyncRig) -> None:
        fresh = SecretObject("s", "Opaque", (("password", "other"),))
        rig.cluster.current = ProviderClass(REF, "stub", {"a": "b"}, (fresh,))
        await rig.engine.published(rig.record, APP, True)
        await until(lambda: "other" in rig.writer.asked[-1].data, "a Secret as the current class describes it")
        assert list(rig.writer.asked[0].data) == ["k"] and len(rig.writer.asked) == 2

    run_in_rig(test)


def test_the_last_volume_ends_the_jobs(run_in_rig: Run) -> None:
    """Forgotten volumes leave nothing behind, unknown ones do no harm."""

    async def test(rig: SyncRig) -> None:
        await rig.engine.published(rig.record, APP, True)
        rig.engine.forget("/unknown")
        assert rig.job
        rig.engine.forget(rig.record.target_path)
        assert not rig.engine._table.jobs and not rig.engine._stale and not rig.engine._table.members

    run_in_rig(test)


@pytest.mark.parametrize("encode", [bytes.decode, lambda data: base64.b64encode(data).decode(), repr, bytes.hex])
def test_an_api_server_that_repeats_the_secret(
    run_in_rig: Run, encode: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The refusal of a Secret contains its value, in some encoding → the event on the pod does not."""

    async def test(rig: SyncRig) -> None:
        (Path(rig.record.target_path) / "password").write_bytes(b"content-canary/77")

        async def refuse(wanted: Wanted, owners: Owners) -> Outcome:
            raise PreconditionFailed(f"admission webhook denied {encode(wanted.data['k'])}, sorry")

        monkeypatch.setattr(rig.writer, "ensure", refuse)
        await rig.engine.published(rig.record, APP, True)
        (event,) = rig.cluster.events
        assert encode(b"content-canary/77") not in event.message
        assert "admission webhook denied" in event.message and "sorry" in event.message

    run_in_rig(test)


def test_a_flood_delays_no_other_namespace(run_in_rig: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class has a thousand Secrets, whose writes all hang → a Secret of another namespace is written at once, and
    afterwards the engine remembers no namespace."""
    entries = tuple(SecretObject(f"s{number}", "Opaque", (("password", "k"),)) for number in range(1000))
    flood = ProviderClass(ClassRef("flood", "app"), "stub", {"a": "b"}, entries)
    hanging = asyncio.Event()
    written: list[str] = []

    async def ensure(wanted: Wanted, owners: Owners) -> Outcome:
        if wanted.namespace == "flood":
            await hanging.wait()
        written.append(wanted.namespace)
        return Outcome(written=True)

    async def test(rig: SyncRig) -> None:
        monkeypatch.setattr(rig.writer, "ensure", ensure)
        monkeypatch.setattr(rig.cluster, "is_current", lambda _: True)
        target = f"{rig.record.target_path}-flood"
        shutil.copytree(rig.record.target_path, target, symlinks=True)
        rig.engine._table.publish(replace(rig.record, class_ref=flood.class_ref, target_path=target), flood, True)
        for job in rig.engine._table.of_class(flood.class_ref):
            rig.engine._start(job)
        await asyncio.wait_for(rig.engine.published(rig.record, APP, True), 10)
        assert written == ["ns"]
        hanging.set()
        await until(lambda: len(rig.engine._namespace_slots) == 0, "the flood to end", 30)

    run_in_rig(test)


@pytest.mark.parametrize("asked", [3, 4, 5, 300])
def test_more_secrets_than_a_class_may_ask_for(run_in_rig: Run, asked: int) -> None:
    """A class asks for as many Secrets as it may, for one more, and for many → the first ones are synced, and one event
    says what to do about the others; when the class changes again, too."""

    async def test(rig: SyncRig) -> None:
        rig.engine._limits = rig.engine._limits._replace(of_class=4)
        rig.engine._table.most_of_class = 4
        many = tuple(replace(APP.secret_objects[0], secret_name=f"s{number}") for number in range(asked))
        rig.cluster.current = replace(APP, secret_objects=many)
        await rig.engine.published(rig.record, rig.cluster.current, True)
        synced = [f"s{number}" for number in range(min(asked, 4))]
        assert sorted(job.secret_name for job in rig.engine._table.jobs.values()) == synced
        told = [event.message for event in rig.cluster.events if "--max-secret-objects" in event.message]
        assert len(told) == (asked > 4)
        assert all(f"asks for {asked} Secrets; the first 4 are synced" in message for message in told)

    run_in_rig(test)


STAYING = replace(APP, secret_objects=(replace(APP.secret_objects[0], deletion_policy="WithClass"),), uid="class-1")


@pytest.mark.parametrize(
    ("uid", "policy", "released"),
    [("class-1", "WithClass", ["s"]), ("class-1", "WithPods", []), ("", "WithClass", [])],
    ids=["it stays", "it goes with its pods", "the class is deleted"],
)
def test_an_entry_is_removed(run_in_rig: Run, uid: str, policy: str, released: list[str]) -> None:
    """The class is taken from the owners of a Secret that would stay for ever, once, and after failures, too; then the
    job has ended."""

    async def test(rig: SyncRig) -> None:
        entry = replace(APP.secret_objects[0], deletion_policy=policy)
        rig.cluster.current = replace(STAYING, secret_objects=(entry,))
        await rig.engine.published(rig.record, rig.cluster.current, True)
        assert [secret.class_uid for secret in rig.writer.asked] == ["class-1" if policy == "WithClass" else ""]
        rig.cluster.current = replace(STAYING, secret_objects=(), uid=uid)
        rig.writer.failing = True
        rig.engine._class_changed(REF)
        if released:
            await until(lambda: any("no" in event.message for event in rig.cluster.events), "the failure")
            await until(lambda: rig.wait > 0 and rig.wait < 3, "the back-off")
            rig.writer.failing = False
            await rig.engine._start(rig.job)
        await until(lambda: not rig.engine._table.jobs, "the end of the job")
        assert rig.writer.released == released and len(rig.writer.asked) == 1

    run_in_rig(test)


def test_an_entry_comes_back(run_in_rig: Run) -> None:
    """It is removed, which fails, and added again → the job is what it was."""

    async def test(rig: SyncRig) -> None:
        rig.cluster.current = STAYING
        await rig.engine.published(rig.record, STAYING, True)
        rig.cluster.current, rig.writer.failing = replace(STAYING, secret_objects=()), True
        rig.engine._class_changed(REF)
        await until(lambda: any("no" in event.message for event in rig.cluster.events), "the failure")
        rig.cluster.current, rig.writer.failing = STAYING, False
        rig.engine._class_changed(REF)
        await until(lambda: len(rig.writer.asked) == 2, "the Secret to be asked for again")
        await rig.finished()
        assert rig.writer.released == [] and not rig.job.ending

    run_in_rig(test)
