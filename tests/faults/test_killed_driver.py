"""kill -9 of the driver at any moment: the next publish completes or removes what it left; OK is never returned for an
empty volume."""

import asyncio
import random
from pathlib import Path

import grpc
import grpc.aio
import pytest

from provider_stub.running import running
from tests.support.process_rig import ProcessRig
from tests.support.rig import Volume
from tests.support.waiting import until

KILLS = 25
VOLUMES = 4
LONGEST_LIFE = 0.15


@pytest.mark.timeout(300)  # 25 starts of a driver, on a machine that may be busy
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """The driver is killed again and again amid publishes, unpublishes and rotations → whenever a publish returns OK
    the secret is there and whole; at the end everything can be unpublished and nothing stays mounted."""
    random.seed(1)

    async def run() -> None:
        rig = ProcessRig(tmp_path, {})
        rig.write_class()
        async with running(rig.providers_dir / "stub.sock", rig.secrets_dir) as provider:
            provider.put("password", "0" * 1000)
            volumes = [rig.volume(f"pod-{number}") for number in range(VOLUMES)]
            for life in range(KILLS):
                answered: list[Volume] = []
                async with rig.process() as process:
                    work = [asyncio.create_task(keep_busy(volume, answered)) for volume in volumes]
                    await asyncio.sleep(random.uniform(0, LONGEST_LIFE))
                    # Every third life may end before anything is done.
                    await until(lambda: len(answered) >= life % 3, "some publishes")  # noqa: B023  # awaited at once
                    provider.put("password", str(life % 10) * 1000)
                    process.kill()
                    await asyncio.gather(*work)
                for volume in volumes:
                    check_whole(volume)
            async with rig.process():
                for volume in volumes:
                    await volume.publish()
                    assert_whole(volume)
                    await volume.unpublish()
                    assert not volume.mounted and not volume.target.exists()

    asyncio.run(run())


async def keep_busy(volume: Volume, answered: list[Volume]) -> None:
    """Publish and unpublish until the driver dies; a volume is added to ``answered`` for each publish that
    succeeded."""
    while True:
        try:
            await volume.publish(timeout=5)
            assert_whole(volume)
            answered.append(volume)
            if random.random() < 0.3:
                await volume.unpublish(timeout=5)
        except grpc.aio.AioRpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
            return


def check_whole(volume: Volume) -> None:
    """A committed volume that the dead driver left is whole."""
    if volume.mounted and (volume.target / "password").exists():
        assert_whole(volume)


def assert_whole(volume: Volume) -> None:
    """The secret is a thousand times one digit: neither empty nor a mixture."""
    content = volume.read()
    assert len(content) == 1000 and len(set(content)) == 1
