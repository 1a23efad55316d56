"""Prometheus metrics: one registry a process, and the text that is scraped."""

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


def registry() -> CollectorRegistry:
    """A registry of its own: nothing is counted globally. ``_created`` series, which the Go programs do not have, are
    left out."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no hint here
    return CollectorRegistry()


def render(source: CollectorRegistry) -> bytes:
    """The text exposition of all series in ``source``."""
    return generate_latest(source)
