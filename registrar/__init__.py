"""Tells kubelet where the driver is: the node-driver-registrar's job."""
