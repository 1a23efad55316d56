"""Metrics of the volumes on this node. They are computed at each scrape, so that ages are never out of date and an
unpublished volume leaves no series."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from driver.registry import Volume
from runtime import clock

LABELS = ("namespace", "pod", "volume", "provider")


class VolumeMetrics(Collector):
    """The age of each volume's content and the failures of its refresh; if volumes are not ``named``, the worst of each
    provider. ``interval`` is the rotation interval in seconds of classes without their own; None without rotation."""

    def __init__(self, volumes: Iterable[Volume], *, named: bool, interval: float | None) -> None:
        self._volumes = volumes
        self._named = named
        self._interval = interval

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics of volumes."""
        volumes, now = list(self._volumes), clock.now()
        yield GaugeMetricFamily("secrets_store_volumes", "Volumes that are mounted", value=len(volumes))
        yield from self._of_each(volumes, now)
        yield from self._of_the_oldest(volumes, now)
        yield GaugeMetricFamily(
            "secrets_store_volumes_last_known_good",
            "Volumes with content that was fetched before the provider went away, and that wait for fresh content",
            value=sum(volume.stale for volume in volumes),
        )
        yield GaugeMetricFamily(
            "secrets_store_volumes_refreshed_in_future",
            "Volumes whose age is unknown: they were refreshed while the node's clock was ahead of what it is now",
            value=sum(volume.in_future for volume in volumes),
        )

    def _of_each(self, volumes: Sequence[Volume], now: float) -> Iterator[GaugeMetricFamily]:
        ages = GaugeMetricFamily(
            "secrets_store_volume_age_seconds", "Seconds since the last successful refresh of a volume", labels=LABELS
        )
        failures = GaugeMetricFamily(
            "secrets_store_volume_refresh_failures",
            "Failed refreshes of a volume since the last successful one",
            labels=LABELS,
        )
        oldest: dict[tuple[str, str, str, str], float] = {}
        worst: dict[tuple[str, str, str, str], int] = {}
        for volume in volumes:
            name = (volume.pod.namespace, volume.pod.name, volume.target.volume_name) if self._named else ("", "", "")
            values = (*name, volume.provider)
            if volume.refreshed_at is not None:
                oldest[values] = max(oldest.get(values, -inf), now - volume.refreshed_at)
            worst[values] = max(worst.get(values, 0), volume.failure.count if volume.failure else 0)
        for values, age in oldest.items():
            ages.add_metric(values, age)
        for values, count in worst.items():
            failures.add_metric(values, count)
        yield from (ages, failures)

    def _of_the_oldest(self, volumes: Sequence[Volume], now: float) -> Iterator[GaugeMetricFamily]:
        """Two figures of the whole node, whatever its volumes are called; without a volume neither has a value."""
        oldest = GaugeMetricFamily(
            "secrets_store_oldest_content_age_seconds",
            "Seconds since the last successful refresh of the mounted volume for which that is longest ago",
        )
        overdue = GaugeMetricFamily(
            "secrets_store_content_overdue_seconds",
            "By how much the oldest content exceeds the rotation interval of its class; 0 if none does",
        )
        known = [(volume, now - volume.refreshed_at) for volume in volumes if volume.refreshed_at is not None]
        if known:
            oldest.add_metric([], max(age for _, age in known))
        if known and self._interval is not None:
            late = max(age - (self._interval if v.interval is None else v.interval) for v, age in known)
            overdue.add_metric([], max(0.0, late))
        yield from (oldest, overdue)
