"""The composition root: the one place that knows the three roles."""
