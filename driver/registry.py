"""The volumes of this node: what the driver knows of each while it runs, and a lock for each target path.

Nothing here survives a restart: it is restored from the mount table, the volumes themselves and the pod statuses.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord
from driver.volume.target import Target
from runtime.errors import Aborted


@dataclass
class Volume:
    """One published volume; times are Unix seconds.

    ``objects`` are the versions of the content that is in it now, ``fingerprint`` that of the class at the last try,
    ``recorded`` whether the pod status tells of the content (None: not known yet), ``retry_at`` the end of the
    back-off.
    """

    target: Target
    pod: Pod
    class_ref: ClassRef
    provider: str = ""
    objects: Mapping[str, str] = field(default_factory=dict)
    last_refresh: float | None = None
    fingerprint: str = ""
    failure: RefreshFailure | None = None
    retry_at: float = 0.0
    recorded: bool | None = None

    @property
    def record(self) -> VolumeRecord:
        """What its pod status should say."""
        return VolumeRecord(
            self.pod,
            self.class_ref,
            self.target.volume_name,
            self.target.path,
            self.objects,
            self.last_refresh,
            self.failure,
        )


class VolumeRegistry:
    """Volumes by target path."""

    def __init__(self) -> None:
        self._volumes: dict[str, Volume] = {}
        self._coming: Counter[ClassRef] = Counter()
        self._locks: dict[str, _Lock] = {}

    def __iter__(self) -> Iterator[Volume]:
        return iter(list(self._volumes.values()))

    def __len__(self) -> int:
        return len(self._volumes)

    def get(self, path: str) -> Volume | None:
        """The volume at this target path, if it is known."""
        return self._volumes.get(path)

    def put(self, volume: Volume) -> None:
        """Remember a volume in place of what was known of its target."""
        self._volumes[volume.target.path] = volume

    def remove(self, path: str) -> Volume | None:
        """Forget a volume; returns what was known of it."""
        return self._volumes.pop(path, None)

    def users(self, class_ref: ClassRef) -> list[Volume]:
        """The volumes that use a class."""
        return [volume for volume in self._volumes.values() if volume.class_ref == class_ref]

    def uses(self, class_ref: ClassRef) -> bool:
        """Whether any volume uses a class, or is about to: asked in each publish and unpublish, so the first one found
        is enough."""
        return self._coming[class_ref] > 0 or any(volume.class_ref == class_ref for volume in self._volumes.values())

    @contextmanager
    def coming(self, class_ref: ClassRef) -> Iterator[None]:
        """A volume of a class is on its way: whoever goes meanwhile must not let the class be forgotten."""
        self._coming[class_ref] += 1
        try:
            yield
        finally:
            self._coming[class_ref] -= 1
            self._coming += Counter()  # drops what is zero

    @asynccontextmanager
    async def exclusive(self, path: str, deadline: float) -> AsyncIterator[None]:
        """One caller for each target path at a time; a second one waits until ``deadline`` (loop time), then ends
        with ABORTED, as CSI wants it for an operation that is still pending ("Operation pending for volume" in the
        CSI specification)."""
        lock = self._locks.setdefault(path, _Lock())
        lock.users += 1
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await lock.mutex.acquire()
            except TimeoutError:
                raise Aborted(f"another operation for {path} is still running; it will be tried again") from None
            try:
                yield
            finally:
                lock.mutex.release()
        finally:
            lock.users -= 1
            if not lock.users:
                self._locks.pop(path, None)


class _Lock:
    """A mutex that is dropped with its last user."""

    def __init__(self) -> None:
        self.mutex = asyncio.Lock()
        self.users = 0
