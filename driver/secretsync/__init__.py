"""Kubernetes Secrets from a SecretProviderClass without a pod that mounts it: the program ``secrets-store-csi-sync``.

It is a Deployment's, not a node's: no mounts, no privileges. It takes the driver's provider pool, class store, TLS
parser and events, and adds the SecretSync objects, a schedule for each, and leader election. Nothing but ``server``
knows the API server: the other modules call the interfaces in ``ports``.
"""
