"""The table of the volumes by target path, with a lock for each path."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from driver.ports import ClassRef
from driver.registry.volume import Volume
from runtime.errors import Aborted


@dataclass
class _Entry:
    """One target path: its volume if there is one, the class of a first publish in progress, and the lock with the
    number of operations that hold it or wait for it."""

    volume: Volume | None = None
    publishing: ClassRef | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    operations: int = 0


class VolumeRegistry:
    """Volumes by target path; iterates over the volumes."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        # Whether there is content of a class besides that in volumes (``publish.fetching.held``).
        self.also_used: Callable[[ClassRef], bool] = lambda _: False

    def __iter__(self) -> Iterator[Volume]:
        return iter([entry.volume for entry in self._entries.values() if entry.volume is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, path: str) -> Volume | None:
        """The volume at a target path; None if there is none, or it is not known yet."""
        entry = self._entries.get(path)
        return None if entry is None else entry.volume

    def put(self, volume: Volume) -> None:
        """Add a volume, or replace the one at its target path."""
        self._entries.setdefault(volume.target.path, _Entry()).volume = volume

    def remove(self, path: str) -> Volume | None:
        """Forget the volume at a target path and return it."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        volume, entry.volume = entry.volume, None
        self._discard_unused(path)
        return volume

    def uses(self, class_ref: ClassRef) -> bool:
        """Whether a class is in use by a volume or by a first publish in progress, or has content that is held."""
        return self.also_used(class_ref) or any(
            entry.publishing == class_ref or (entry.volume is not None and entry.volume.class_ref == class_ref)
            for entry in self._entries.values()
        )

    @contextmanager
    def publishing(self, path: str, class_ref: ClassRef) -> Iterator[None]:
        """Mark a class as used by a first publish, so that the end of its last volume does not make it forgotten
        meanwhile. Only inside ``exclusive`` for the same path."""
        entry = self._entries[path]
        entry.publishing = class_ref
        try:
            yield
        finally:
            entry.publishing = None

    @asynccontextmanager
    async def exclusive(self, path: str, deadline: float) -> AsyncIterator[None]:
        """Hold the lock of a target path, which need not have a volume; wait for it until ``deadline`` (event loop
        time).

        Raises Aborted after that: the CSI specification has this code for "operation pending for volume"
        (https://github.com/container-storage-interface/spec/blob/master/spec.md#error-scheme).
        """
        entry = self._entries.setdefault(path, _Entry())
        entry.operations += 1
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await entry.lock.acquire()
            except TimeoutError:
                raise Aborted(f"another operation for {path} is still running; it will be tried again") from None
            try:
                yield
            finally:
                entry.lock.release()
        finally:
            entry.operations -= 1
            self._discard_unused(path)

    def _discard_unused(self, path: str) -> None:
        entry = self._entries.get(path)
        if entry is not None and entry.volume is None and not entry.operations:
            del self._entries[path]
