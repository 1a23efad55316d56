"""The composition root: the one place that knows all three roles."""
