"""Tells kubelet where the driver is."""
