"""What must hold at any time, seen from outside: by the mount table, and by the files."""

import asyncio
import os
from collections import Counter
from pathlib import Path

from driver.volume import mountinfo
from tests.faults.storm import content
from tests.faults.storm.pods import Pods, Volume
from tests.faults.storm.world import World

READ_SECONDS = 0.02


class Invariants:
    """``checks`` counts what was checked."""

    def __init__(self, world: World, pods: Pods) -> None:
        self.checks: Counter[str] = Counter()
        self._world, self._pods = world, pods

    async def after_step(self) -> None:
        """The volumes of living pods, and the mount table."""
        await self._volumes()
        await asyncio.to_thread(self._mount_table)

    async def read_on(self) -> None:
        """Read as pods do, until cancelled: a content that is broken for a moment is seen only in that moment."""
        while True:
            await self._volumes()
            await asyncio.sleep(READ_SECONDS)

    async def _volumes(self) -> None:
        async with self._pods.steady:
            mounted = [volume for volume in self._pods.living.values() if self._pods.is_mounted(volume)]
            for problem in await asyncio.to_thread(lambda: [self._volume(volume) for volume in mounted]):
                if problem:
                    self._world.complain(problem)

    def _volume(self, volume: Volume) -> str:
        """Whole, of one version, and not older than before."""
        self.checks["volume whole and of one version"] += 1
        where = f"pod {volume.pod.name}, class {volume.class_name}"
        try:
            generation = content.read_volume(volume.target, self._world.canary, volume.class_name)
        except content.Unwhole as problem:
            return f"{where}: {problem}"
        if generation < volume.generation:
            return f"{where}: the content became older, generation {volume.generation} → {generation}"
        volume.generation = generation
        return ""

    def _mount_table(self) -> None:
        """One mount for each volume at most, and none beyond kubelet's books."""
        self.checks["mount table"] += 1
        pods = self._world.pods_dir
        paths = [Path(entry.path) for entry in mountinfo.read()]
        found = Counter(path for path in paths if path.is_relative_to(pods) and path != pods)
        for path, number in found.items():
            if number > 1:
                self._world.complain(f"{number} mounts on top of each other: {path}")

    def disk(self) -> None:
        """No canary in any file that is not in a volume; blocks."""
        self.checks["disk searched for canaries"] += 1
        for path in self._files():
            try:
                text = path.read_bytes()
            except OSError:
                continue  # a socket, or gone
            for secret in self._world.forbidden:
                if secret in text:
                    self._world.complain(f"a canary is on a disk: {path}")

    def _files(self) -> list[Path]:
        world, found = self._world, []
        volumes = {entry.path for entry in mountinfo.read() if Path(entry.path).is_relative_to(world.pods_dir)}
        volumes.discard(str(world.pods_dir))
        for top in (world.host, world.inner):
            for directory, names, files in os.walk(top):
                names[:] = [name for name in names if os.path.join(directory, name) not in volumes]
                found += [Path(directory, name) for name in files]
        return found
