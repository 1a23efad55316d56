"""The driver's metrics: those of the Go driver, with its names, labels and buckets, and our own.

The labels ``otel_scope_*`` are added by the Go driver's OpenTelemetry exporter; dashboards select on them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from driver import limits
from driver.metrics.api import ApiMetrics
from driver.metrics.fetches import FetchMetrics
from driver.metrics.labels import OWN_ERROR_TYPES, BoundedLabel, is_error_type, is_provider_label
from driver.metrics.providers import ProviderMetrics
from driver.metrics.volumes import VolumeMetrics
from driver.registry import Volume
from runtime import build_info, metrics
from runtime.version import build

_SCOPE = {
    "otel_scope_name": "sigs.k8s.io/secrets-store-csi-driver",
    "otel_scope_version": "",
    "otel_scope_schema_url": "",
}
_OS = {"os_type": "linux", **_SCOPE}
# From 0.1 to 2 seconds in ten geometric steps, with the same digits as the Go driver's series.
BUCKETS = (
    0.1,
    0.13492828476735633,
    0.18205642030260802,
    0.24564560522315804,
    0.3314454017339986,
    0.4472135954999578,
    0.6034176336545162,
    0.8141810630738084,
    1.0985605433061172,
    1.4822688982138947,
    1.9999999999999991,
)


class DriverMetrics:
    """Counts events; a series appears when it is first counted. ``rotation_interval`` is in seconds, None without
    rotation."""

    def __init__(
        self, volumes: Iterable[Volume], *, named_volumes: bool = True, rotation_interval: float | None = None
    ) -> None:
        self.registry = registry = metrics.registry()
        build_info.add(registry, "driver")
        self.api, self.providers = ApiMetrics(registry), ProviderMetrics(registry)
        self.fetches = FetchMetrics(registry)
        # Those that work have a set of their own: names in classes that never worked cannot fill it.
        self._working_provider = BoundedLabel(is_provider_label, limits.MAX_PROVIDER_LABELS)
        self._failed_provider = BoundedLabel(is_provider_label, limits.MAX_FAILED_PROVIDER_LABELS)
        self._error_type = BoundedLabel(is_error_type, limits.MAX_ERROR_TYPE_LABELS, OWN_ERROR_TYPES)
        scope = tuple(_OS)
        provider, failed = ("provider", *scope), ("provider", "error_type", *scope)
        rotated, rotation_failed = ("provider", "rotated", *scope), ("provider", "error_type", "rotated", *scope)

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._published = counter("node_publish_total", "Total number of node publish calls", provider)
        self._publish_failed = counter(
            "node_publish_error_total", "Total number of node publish calls with error", failed
        )
        self._unpublished = counter("node_unpublish_total", "Total number of node unpublish calls", scope)
        self._unpublish_failed = counter(
            "node_unpublish_error_total", "Total number of node unpublish calls with error", scope
        )
        self._rotated = counter("rotation_reconcile_total", "Total number of rotation reconciles", rotated)
        self._rotation_failed = counter(
            "rotation_reconcile_error_total", "Total number of rotation reconciles with error", rotation_failed
        )
        self._rotation_seconds = Histogram(
            "rotation_reconcile_duration_sec",
            "Distribution of how long it took to rotate secrets-store content for pods",
            scope,
            buckets=BUCKETS,
            registry=registry,
        )
        self._synced = counter("sync_k8s_secret_total", "Total number of k8s secrets synced", provider)
        self._sync_failed = counter(
            "sync_k8s_secret_error_total", "Total number of attempts to sync k8s secret with error", provider
        )
        self._sync_seconds = Histogram(
            "k8s_secret_duration_sec",
            "Distribution of how long it took to sync k8s secret",
            scope,
            buckets=BUCKETS,
            registry=registry,
        )
        self._publishing = Gauge(
            "secrets_store_publishes_in_flight",
            "Publishes of volumes that have begun and not ended",
            registry=registry,
        )
        self._task_failures = counter(
            "secrets_store_background_task_failures_total",
            "Background tasks of the driver that ended and were started again",
            ("task",),
        )
        info = Gauge("target_info", "Target metadata", ("service_name", "service_version"), registry=registry)
        info.labels("unknown_service:secrets-store-csi", build().version).set(1)
        self._volumes_bytes = Gauge(
            "secrets_store_volumes_bytes",
            "Memory that the node's volumes take, which is charged to the driver's container",
            registry=registry,
        )
        self._noswap = Gauge(
            "secrets_store_noswap",
            "Whether volumes are mounted with noswap: 0 means that their secrets may be swapped to disk",
            registry=registry,
        )
        registry.register(VolumeMetrics(volumes, named=named_volumes, interval=rotation_interval))

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """A publish is in flight while the context lasts."""
        with self._publishing.track_inprogress():
            yield

    def published(self, provider: str) -> None:
        """A publish was answered OK, with or without a call to the provider."""
        self._published.labels(provider=self._working_provider(provider), **_OS).inc()

    def publish_failed(self, provider: str, error_type: str) -> None:
        """A publish failed, or a refresh failed and kept the old content."""
        self._publish_failed.labels(**self._failure(provider, error_type), **_OS).inc()

    def unpublished(self) -> None:
        """An unpublish was answered OK."""
        self._unpublished.labels(**_OS).inc()

    def unpublish_failed(self) -> None:
        """An unpublish failed."""
        self._unpublish_failed.labels(**_OS).inc()

    def rotated(self, provider: str, seconds: float) -> None:
        """A mounted volume was refreshed, in so many seconds."""
        self._rotated.labels(provider=self._working_provider(provider), rotated="true", **_OS).inc()
        self._rotation_seconds.labels(**_OS).observe(seconds)

    def rotation_failed(self, provider: str, error_type: str) -> None:
        """The refresh of a mounted volume failed."""
        self._rotation_failed.labels(**self._failure(provider, error_type), rotated="true", **_OS).inc()

    def background_task_failed(self, task: str) -> None:
        """A background task ended and is started again."""
        self._task_failures.labels(task).inc()

    def noswap(self, in_force: bool) -> None:
        """Whether volumes are mounted with ``noswap``."""
        self._noswap.set(in_force)

    def volumes_measured(self, size: int) -> None:
        """The volumes take so many bytes in all."""
        self._volumes_bytes.set(size)

    def synced(self, provider: str, seconds: float) -> None:
        """A Kubernetes Secret was written, in so many seconds."""
        self._synced.labels(provider=self._provider(provider), **_OS).inc()
        self._sync_seconds.labels(**_OS).observe(seconds)

    def sync_failed(self, provider: str) -> None:
        """A Kubernetes Secret could not be written, for a reason that its pod's event says."""
        self._sync_failed.labels(provider=self._provider(provider), **_OS).inc()

    def _failure(self, provider: str, error_type: str) -> dict[str, str]:
        """The labels of a failure."""
        return {"provider": self._provider(provider), "error_type": self._error_type(error_type)}

    def _provider(self, provider: str) -> str:
        """The label of a provider of which this does not say that it works: a class may name another one at any
        time."""
        return provider if self._working_provider.knows(provider) else self._failed_provider(provider)
