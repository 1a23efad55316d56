"""Registers the driver with kubelet: the job of node-driver-registrar."""
