"""Metrics of the providers on this node, of the driver and of the controller of SecretSyncs alike."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from driver import limits
from driver.metrics.labels import BoundedLabel, is_provider_label

# From a store in the same cluster to kubelet's deadline of two minutes.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class ProviderMetrics(Collector):
    """Calls to providers, and which of them are there. A provider is called only if it has a socket on the node, so its
    name is no invention of a class; the number of names is bounded all the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._provider = BoundedLabel(is_provider_label, limits.MAX_PROVIDER_LABELS)
        self._seconds = Histogram(
            "secrets_store_provider_call_duration_seconds",
            "How long calls to a provider take, failed ones included",
            ("provider", "method"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "secrets_store_provider_call_errors_total",
            "Calls to a provider that failed, by gRPC code; ErrorInReply is a reply with an error of its own",
            ("provider", "method", "code"),
            registry=registry,
        )
        self._found: tuple[int, Mapping[str, bool]] | None = None
        registry.register(self)

    def called(self, provider: str, method: str, code: str, seconds: float) -> None:
        """A call ended with a gRPC code, in Go's spelling, or with ``ErrorInReply``."""
        label = self._provider(provider)
        self._seconds.labels(label, method).observe(seconds)
        if code != "OK":
            self._errors.labels(label, method, code).inc()

    def found(self, installed: int, up: Mapping[str, bool]) -> None:
        """So many providers have a socket on the node; of those that volumes use, whether they can be reached."""
        self._found = installed, up

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What was found last; no series before."""
        installed = GaugeMetricFamily(
            "secrets_store_providers_installed", "Providers that have a socket in the node's provider directories"
        )
        up = GaugeMetricFamily(
            "secrets_store_provider_up",
            "1 if a process listens on the socket of a provider that mounted volumes use, 0 if none does",
            labels=["provider"],
        )
        if self._found is not None:
            count, states = self._found
            installed.add_metric([], count)
            worst: dict[str, bool] = {}
            for name, is_up in states.items():
                label = self._provider(name)
                worst[label] = worst.get(label, True) and is_up
            for label, is_up in worst.items():
                up.add_metric([label], is_up)
        yield from (installed, up)
