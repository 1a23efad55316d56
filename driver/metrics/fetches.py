"""Metrics of content that comes from somewhere else than a call of the volume's own: ``publish.fetching``."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from driver import limits
from driver.metrics.labels import BoundedLabel, is_provider_label


class FetchMetrics:
    """A provider has replied before it is counted here; the number of names is bounded all the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._provider = BoundedLabel(is_provider_label, limits.MAX_PROVIDER_LABELS)
        self._last_known_good = Counter(
            "secrets_store_last_known_good_total",
            "Volumes of new pods that got what was fetched before the provider went away",
            ("provider",),
            registry=registry,
        )
        self._shared = Counter(
            "secrets_store_shared_fetches_total",
            "Publishes and refreshes that got the reply to another pod's request",
            ("provider",),
            registry=registry,
        )
        self._held_replies = Gauge(
            "secrets_store_held_replies",
            "Replies of providers that are held in memory for other pods",
            registry=registry,
        )
        self._held_bytes = Gauge("secrets_store_held_bytes", "Memory that they take", registry=registry)

    def served_last_known_good(self, provider: str) -> None:
        """A new pod got what this node had fetched before the provider went away."""
        self._last_known_good.labels(self._provider(provider)).inc()

    def shared(self, provider: str) -> None:
        """A volume got the reply to another pod's request."""
        self._shared.labels(self._provider(provider)).inc()

    def measure_held(self, replies: Callable[[], float], size: Callable[[], float]) -> None:
        """At each scrape, how many replies are held, and their bytes."""
        self._held_replies.set_function(replies)
        self._held_bytes.set_function(size)
