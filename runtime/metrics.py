"""Prometheus metrics: one registry per process, and the text format that is scraped."""

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def registry() -> CollectorRegistry:
    """A new registry: nothing uses the library's global one. ``_created`` series are off, since the Go programs do not
    have them."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not annotate it
    return CollectorRegistry()


def render(source: CollectorRegistry) -> bytes:
    """All series of ``source`` in the text exposition format."""
    return generate_latest(source)
