"""A driver's background tasks: one that ends is noticed, and the driver says when it cannot go on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.class_store import ClassStore
from driver.cluster.events import EventRecorder
from driver.sync.engine import SyncEngine
from protos import csi_pb2
from runtime import tasks
from tests.support.fake_api_rig import fake_api_rig
from tests.support.waiting import until

FAILURES = "secrets_store_background_task_failures_total"


async def _cancelled_future(*_: Any) -> None:
    """A library cancels what the task waits for."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def _bug(*_: Any) -> None:
    raise KeyError("missing")


async def _return(*_: Any) -> None:
    return


@pytest.mark.parametrize("end", [_cancelled_future, _bug, _return])
@pytest.mark.parametrize(
    ("owner", "task"), [(ClassStore, "class watch"), (EventRecorder, "events"), (SyncEngine, "Secret sync")]
)
def test_a_task_that_ends_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type[Any], task: str, end: Any
) -> None:
    """Scenario: a background task ends three times, however it may. Expected: it runs again, the failures are counted,
    Probe stays ready, publishes succeed meanwhile."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.01)
    real, runs = owner.run, 0

    async def run(self: Any) -> None:
        nonlocal runs
        runs += 1
        await (end() if runs <= 3 else real(self))

    monkeypatch.setattr(owner, "run", run)

    async def test() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class()
            async with here.driver() as rig:
                await here.volume(rig, here.make_pod()).publish()
                await until(lambda: runs == 4, f"the fourth run of {task}")
                assert rig.driver.metrics.registry.get_sample_value(FAILURES, {"task": task}) == 3
                assert (await rig.identity.Probe(csi_pb2.ProbeRequest())).ready.value

    asyncio.run(test())


def test_a_task_that_cannot_be_kept_makes_the_driver_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: the class watch fails again and again. Expected: Probe is not ready, and the status says which task and
    why; the volumes stay."""
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(ClassStore, "run", _bug)

    async def test() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class()
            async with here.driver() as rig:
                volume = here.volume(rig, here.make_pod())
                await volume.publish()

                async def not_ready() -> bool:
                    return not (await rig.identity.Probe(csi_pb2.ProbeRequest())).ready.value

                await until(not_ready, "Probe to report the failing task")
                assert "class watch" in str(rig.driver.snapshot()["reason"])
                assert volume.read() == b"s3cret"

    asyncio.run(test())
