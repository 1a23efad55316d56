"""The driver's Prometheus metrics: ``driver_metrics`` has them all, those of ``volumes``, ``providers`` and the ``api``
server in modules of their own; ``labels`` bounds the values of a label."""

from driver.metrics.driver_metrics import DriverMetrics

__all__ = ["DriverMetrics"]
