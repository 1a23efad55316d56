"""Metrics of the API server as this process sees it, of the driver and of the controller of SecretSyncs alike."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class ApiMetrics(Collector):
    """Counts requests as client-go does, and knows whether the last one was answered. Without an API server, or before
    the first request, there is no series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reachable: bool | None = None
        self._clock_offset: Callable[[], float | None] = lambda: None
        self._requests = Counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ("code", "method", "host"),
            registry=registry,
        )
        registry.register(self)

    def requested(self, code: str, method: str, host: str) -> None:
        """A request to the API server was answered with a status, or with none (``<error>``)."""
        self._requests.labels(code, method, host).inc()
        # Refused credentials are as bad as no answer: nothing can be asked until they are renewed.
        self._reachable = code.isdecimal() and int(code) < 500 and code != "401"

    def compare_clocks(self, offset: Callable[[], float | None]) -> None:
        """Show by how many seconds the node's clock is ahead of the API server's; None while that is unknown."""
        self._clock_offset = offset

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Whether the API server is reachable, and how wrong the node's clock is."""
        reachable = GaugeMetricFamily(
            "secrets_store_api_reachable",
            "1 if the API server answered the last request, 0 if it did not, failed or refused the credentials",
        )
        ahead = GaugeMetricFamily(
            "secrets_store_clock_offset_seconds",
            "By how much the node's clock is ahead of the API server's; the server's has a resolution of a second",
        )
        if self._reachable is not None:
            reachable.add_metric([], self._reachable)
        if (offset := self._clock_offset()) is not None:
            ahead.add_metric([], offset)
        yield from (reachable, ahead)
