"""A provider's metrics and health over HTTP, for ``--metrics-addr``: the only module of the kit that needs the package
prometheus-client, and imported only for that flag.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge, Histogram

from provider_kit.provider import Provider
from provider_kit.service import Observer
from provider_kit.serving import Server
from runtime import http, metrics
from runtime.endpoints import parse_host_port

# From a store in the same cluster to what kubelet waits for.
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics(Observer):
    """How many volumes were fetched, with which results, and how long it took."""

    def __init__(self, provider: Provider) -> None:
        self.registry = metrics.registry()
        about = "The provider's name and version"
        info = Gauge("secrets_store_provider_info", about, ["name", "version"], registry=self.registry)
        info.labels(provider.name, provider.version).set(1)
        self._ended = Counter(
            "secrets_store_provider_mounts",
            "Volumes that were fetched or refused, by gRPC code; ERROR_CODE is the reply's own error.code",
            ["code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "secrets_store_provider_mount_seconds", "How long it took", buckets=BUCKETS, registry=self.registry
        )
        self._running = Gauge("secrets_store_provider_mounts_running", "Volumes being fetched", registry=self.registry)

    def started(self) -> None:
        """A call has arrived."""
        self._running.inc()

    def ended(self, code: str, seconds: float) -> None:
        """It was answered."""
        self._running.dec()
        self._ended.labels(code).inc()
        self._seconds.observe(seconds)


@asynccontextmanager
async def serving(address: str, server: Server, observed: Metrics) -> AsyncIterator[int]:
    """Serve ``/metrics`` and ``/healthz`` on ``host:port`` inside the context; yields the port.

    ``/healthz`` is answered by the event loop that the provider runs on, so that a provider that blocks it does not
    answer; it is 503 if the socket's path no longer leads to this process, since only a restart mends that. Whether
    the store can be reached is no part of it: restarting would not help.
    """

    async def health(_: http.Request) -> http.Response:
        if server.reachable:
            return http.text_response("ok")
        return http.text_response(f"{server.path} no longer leads to this provider: it was removed or replaced", 503)

    async def page(_: http.Request) -> http.Response:
        return http.text_response(metrics.render(observed.registry), content_type=metrics.CONTENT_TYPE)

    routes: dict[str, http.Handler] = {"/healthz": health, "/metrics": http.SharedPage(page)}
    async with http.serve(parse_host_port(address), routes) as port:
        yield port
