"""The build as a metric: which version runs where, and under which Python."""

import platform

from prometheus_client import CollectorRegistry, Gauge

from runtime.version import build


def add(registry: CollectorRegistry, component: str) -> None:
    """Add ``secrets_store_build_info``, which is always 1, to the registry of a process; ``component`` is what that
    process does, such as ``driver``."""
    info = Gauge(
        "secrets_store_build_info",
        "1; the labels say what is running",
        ("component", "version", "commit", "python"),
        registry=registry,
    )
    this = build()
    info.labels(component, this.version, this.commit, platform.python_version()).set(1)
