"""A sync engine in its rig."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from driver.metrics import DriverMetrics
from driver.ports import Pod, VolumeRecord
from driver.registry import VolumeRegistry
from driver.sync import engine
from driver.volume.workers import DiskWorkers
from tests.driver.sync.sync_rig import REF, FakeCluster, SyncRig, Writer


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
