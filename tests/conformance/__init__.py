"""The CSI conformance suite against the driver."""
