"""The driver's Prometheus metrics (``driver_metrics``), and which values their labels may have (``labels``)."""

from driver.metrics.driver_metrics import DriverMetrics

__all__ = ["DriverMetrics"]
