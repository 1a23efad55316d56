"""The CSI driver: Identity and Node, volumes, providers, the cluster."""
