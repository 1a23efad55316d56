"""The Kubernetes objects of the secrets-store API group: names, paths, and conversion to and from the driver's own
types. No I/O: API server and files use the same code."""

GROUP = "secrets-store.csi.x-k8s.io"
GROUP_VERSION = f"{GROUP}/v1"
API_PATH = f"/apis/{GROUP_VERSION}"
