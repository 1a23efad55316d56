"""The metrics of the controller of SecretSyncs."""

from prometheus_client import Counter, Gauge, Histogram

from driver import limits
from driver.metrics.api import ApiMetrics
from driver.metrics.labels import BoundedLabel, is_provider_label
from driver.metrics.providers import ProviderMetrics
from runtime import build_info, metrics

BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)


class SyncMetrics:
    """Counts syncs. ``reason`` is that of a condition, so there are few; providers' names are bounded."""

    def __init__(self) -> None:
        self.registry = metrics.registry()
        build_info.add(self.registry, "sync-controller")
        self.api, self.providers = ApiMetrics(self.registry), ProviderMetrics(self.registry)
        self._working_provider = BoundedLabel(is_provider_label, limits.MAX_PROVIDER_LABELS)
        self._failed_provider = BoundedLabel(is_provider_label, limits.MAX_FAILED_PROVIDER_LABELS, [""])
        self._syncs = Counter(
            "secrets_store_sync_total", "Syncs that succeeded", ("provider", "written"), registry=self.registry
        )
        self._failures = Counter(
            "secrets_store_sync_failures_total", "Syncs that failed", ("provider", "reason"), registry=self.registry
        )
        self._seconds = Histogram(
            "secrets_store_sync_duration_seconds",
            "How long a sync takes, the provider's part included",
            ("provider",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._task_failures = Counter(
            "secrets_store_background_task_failures_total",
            "Background tasks that ended and were started again",
            ("task",),
            registry=self.registry,
        )
        self._objects = Gauge("secrets_store_sync_objects", "SecretSyncs that exist", registry=self.registry)
        self._leader = Gauge("secrets_store_sync_leader", "Whether this replica is the leader", registry=self.registry)

    def synced(self, provider: str, seconds: float, *, written: bool) -> None:
        """A sync succeeded, in so many seconds."""
        label = self._working_provider(provider)
        self._syncs.labels(label, str(written).lower()).inc()
        self._seconds.labels(label).observe(seconds)

    def failed(self, provider: str, reason: str) -> None:
        """A sync failed with a condition of this reason."""
        # A class may name any provider: those that do not exist must not take the places of those that do.
        known = self._working_provider.knows(provider)
        self._failures.labels(provider if known else self._failed_provider(provider), reason).inc()

    def background_task_failed(self, task: str) -> None:
        """A background task ended and is started again."""
        self._task_failures.labels(task).inc()

    def count(self, objects: int) -> None:
        """So many SecretSyncs exist."""
        self._objects.set(objects)

    def leads(self, leading: bool) -> None:
        """Whether this replica is the leader."""
        self._leader.set(leading)
