"""What a driver knows after a restart."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.driver.publish.support import known
from tests.support.rig import Rig, Volume, rig


def test_volumes_are_known_after_a_restart(tmp_path: Path) -> None:
    """After a restart volumes that are not due are not fetched, and their versions are known."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volumes = [it.volume(f"pod-{number}") for number in range(5)]
            for volume in volumes:
                await volume.publish()
            before = [os.readlink(volume.target / "..data") for volume in volumes]
            versions = dict(known(it, volumes[0]).objects)
            await it.restart()
            for volume in volumes:
                await volume.publish()
            assert it.provider.calls == 5
            assert [os.readlink(volume.target / "..data") for volume in volumes] == before
            assert known(it, volumes[0]).objects == versions

    asyncio.run(run())


def refreshed_ago(volume: Volume, seconds: float) -> None:
    """Make a volume say that it was refreshed ``seconds`` ago by the clock as it is set now."""
    moment = time.time() - seconds
    os.utime(volume.target / os.readlink(volume.target / "..data"), (moment, moment))


def ages(it: Rig) -> tuple[list[float], float]:
    """The ages of the volumes that the metrics show, and how many have none because they are from the future."""
    samples = [sample for family in it.driver.metrics.registry.collect() for sample in family.samples]
    shown = [sample.value for sample in samples if sample.name == "secrets_store_volume_age_seconds"]
    [unknown] = [item.value for item in samples if item.name == "secrets_store_volumes_refreshed_in_future"]
    return shown, unknown


@pytest.mark.parametrize("ahead", [1.0, 3600.0, 10 * 365 * 86400.0])
def test_clock_set_back_before_a_restart(tmp_path: Path, ahead: float, caplog: pytest.LogCaptureFixture) -> None:
    """The clock was a second, an hour or ten years ahead at the last refresh, was set right, and the driver restarts →
    the volume is due now; until it is refreshed a metric counts it, and it has no age instead of the age 0."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=7200.0) as it:
            volume = it.volume()
            await volume.publish()
            refreshed_ago(volume, -ahead - 600)
            await it.restart()
            assert "The node's clock was set back" in caplog.text
            assert ages(it) == ([], 1.0) and it.driver.snapshot()["volumes"][0]["last_refresh"] is None
            await volume.publish()
            await volume.publish()
            [age], unknown = ages(it)
            assert it.provider.calls == 2 and 0 <= age < 600 and unknown == 0

    asyncio.run(run())


@pytest.mark.parametrize(("seconds", "calls"), [(600.0, 1), (1300.0, 2)])
def test_age_across_a_restart(tmp_path: Path, seconds: float, calls: int) -> None:
    """The volume says that its last refresh was less, or more, than the interval of 1,000 s ago → it is not due, or
    due."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=1000.0) as it:
            volume = it.volume()
            await volume.publish()
            refreshed_ago(volume, seconds)
            await it.restart()
            [age], unknown = ages(it)
            assert seconds <= age < seconds + 600 and unknown == 0
            await volume.publish()
            assert it.provider.calls == calls

    asyncio.run(run())
