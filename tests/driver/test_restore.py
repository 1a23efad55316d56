"""What a driver knows after a restart."""

import asyncio
import os
from pathlib import Path

from tests.driver.publish.support import known, make_due
from tests.support.rig import rig


def test_volumes_are_known_after_a_restart(tmp_path: Path) -> None:
    """After a restart volumes that are not due are not fetched; the next fetch of a due one sends the versions of its
    content."""

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
            make_due(it, volumes[0])
            await volumes[0].publish()
            assert it.provider.last_request is not None and it.provider.last_request.current_versions == versions

    asyncio.run(run())
