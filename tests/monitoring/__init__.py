"""What Prometheus sees: the metrics of all programs at work, against the alerts, the dashboard and the
documentation."""
