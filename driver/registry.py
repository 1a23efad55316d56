"""The volumes of this node: one table by target path, with a lock for each path and what is known of its volume.

Nothing here survives a restart: it is restored from the mount table and the record in each volume.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

from driver.objects.volume_details import VolumeDetails
from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord
from driver.volume.target import Target
from runtime import clock
from runtime.errors import Aborted


@dataclass
class WantedRestart:
    """The restart of its workload that a volume wants because it has new content. ``former`` are the digests of the
    versions that it had before (``objects.workloads``); without any, no restart is wanted. It is asked for when the
    moment ``not_before`` has come. ``said`` is the last event about it."""

    former: tuple[str, ...] = ()
    not_before: float = 0.0
    said: str = ""


@dataclass
class Volume:
    """A published volume.

    ``objects`` are the versions of its content by object id, ``fingerprint`` is that of the class at the last attempt
    to fetch. ``refreshed_at`` is the last refresh and ``retry_at`` the end of the back-off after failures: moments of
    ``runtime.clock``. Without the first the volume is due; it is unknown if the volume says that it was refreshed
    ``in_future``. ``provider_away`` is whether the provider's socket did not answer at the last attempt. ``recorded``
    is whether a pod status exists for the volume; None means unknown. ``status_name`` is its name, ``status_current``
    whether it says the same as this. ``restart`` is the restart that it wants. ``interval`` is the rotation interval of
    its class in seconds, None before the first republish. ``stale`` is whether its content was served because the
    provider was away, and fresh content is asked for in the background.
    """

    target: Target
    pod: Pod
    class_ref: ClassRef
    provider: str = ""
    objects: Mapping[str, str] = field(default_factory=dict)
    refreshed_at: float | None = None
    in_future: bool = False
    fingerprint: str = ""
    failure: RefreshFailure | None = None
    retry_at: float = 0.0
    provider_away: bool = False
    recorded: bool | None = None
    status_name: str = ""
    status_current: bool = False
    restart: WantedRestart = field(default_factory=WantedRestart)
    interval: float | None = None
    stale: bool = False

    def refreshed(
        self,
        provider: str,
        objects: Mapping[str, str],
        fetched_at: float | None = None,
        failure: RefreshFailure | None = None,
    ) -> bool:
        """Note new content; returns whether the versions changed. It is that of just now, unless it was ``fetched_at``
        an earlier moment; with the ``failure`` that was the reason to serve old content."""
        changed = dict(objects) != dict(self.objects)
        self.provider, self.objects, self.in_future = provider, objects, False
        self.refreshed_at = clock.now() if fetched_at is None else fetched_at
        self.failure, self.retry_at, self.stale = failure, 0.0, failure is not None
        return changed

    def found_refreshed(self, last_refresh: float | None) -> None:
        """Take the last refresh (Unix time) from the volume itself, as after a restart. One in the future is not
        believed: the clock was an hour ahead, say, and the volume would not be refreshed for an hour."""
        self.refreshed_at = None if last_refresh is None else clock.moment_of(last_refresh)
        self.in_future = last_refresh is not None and self.refreshed_at is None

    @property
    def last_refresh(self) -> float | None:
        """The last refresh in Unix time, for people; None if it is unknown."""
        return None if self.refreshed_at is None else clock.wall_time(self.refreshed_at)

    def after_refresh(
        self, provider: str, objects: Mapping[str, str], failure: RefreshFailure | None = None
    ) -> VolumeDetails:
        """The details of this volume as ``refreshed`` will make them, before its pod status is written: the present one
        stays current only if there is nothing new to say."""
        same = self.failure is None and failure is None and dict(objects) == dict(self.objects)
        current = self.status_current and same
        return replace(self.details, provider=provider, objects=objects, failure=failure, status_current=current)

    def has_status(self, name: str) -> None:
        """Note that the pod status ``name`` says the same as this; empty if it is written later."""
        self.recorded, self.status_name = True, name or self.status_name
        self.status_current = bool(name)

    @property
    def details(self) -> VolumeDetails:
        """What the record in the volume should say."""
        return VolumeDetails(
            self.pod,
            self.class_ref,
            self.target.volume_name,
            self.provider,
            self.objects,
            self.fingerprint,
            self.failure,
            self.status_name,
            self.status_current,
            self.restart.former,
        )

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
            self.refreshed_at,
        )


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
