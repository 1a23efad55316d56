"""What is known of one volume."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from driver.objects.volume_details import VolumeDetails
from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord
from driver.volume.target import Target
from runtime import clock


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
    """A published volume. Moments are those of ``runtime.clock``."""

    target: Target
    pod: Pod
    class_ref: ClassRef
    provider: str = ""

    objects: Mapping[str, str] = field(default_factory=dict)
    """The versions of its content by object id."""
    refreshed_at: float | None = None
    """The moment of the last refresh. Without it the volume is due."""
    in_future: bool = False
    """Whether the volume says that it was refreshed in the future, so that the last refresh is unknown."""
    fingerprint: str = ""
    """That of the class at the last attempt to fetch."""
    interval: float | None = None
    """The rotation interval of its class in seconds; None before the first republish."""

    failure: RefreshFailure | None = None
    retry_at: float = 0.0
    """The moment at which the back-off after failures ends."""
    provider_away: bool = False
    """Whether the provider's socket did not answer at the last attempt."""
    stale: bool = False
    """Whether its content was served because the provider was away; fresh content is asked for in the background."""

    recorded: bool | None = None
    """Whether it has a pod status; None if that is unknown."""
    status_name: str = ""
    """The name of its pod status."""
    status_current: bool = False
    """Whether its pod status says the same as this."""
    restart: WantedRestart = field(default_factory=WantedRestart)

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
