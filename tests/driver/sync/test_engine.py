"""When jobs run: at once, checks, after a restart, one run at a time, the bound of the first attempt."""

import asyncio
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from driver.ports import ClassRef, ProviderClass, SecretObject
from driver.sync import engine
from driver.sync.merge import Outcome
from driver.sync.owners import Owners
from driver.sync.wanted import Wanted
from tests.driver.sync.sync_rig import APP, REF, Run, SyncRig
from tests.support.waiting import until


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


def test_a_slow_writer(run_in_rig: Run) -> None:
    """The publish does not wait longer than its bound; news that come meanwhile lead to one more run, never to two at a
    time."""

    async def test(rig: SyncRig) -> None:
        rig.writer.open.clear()
        rig.engine._limits = rig.engine._limits._replace(first=0.2)
        async with asyncio.timeout(10):
            for _ in range(3):
                await rig.engine.published(rig.record, APP, True)
        assert len(rig.writer.asked) == 1
        rig.writer.open.set()
        await rig.finished()
        assert len(rig.writer.asked) == 2

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
