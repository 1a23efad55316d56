"""The Kubernetes objects of the demo: a class with two stored and two generated secrets, and a pod that mounts it."""

from typing import Any

import yaml

DRIVER = "secrets-store.csi.k8s.io"
PUBLISH_SECRET = "store-credentials"
STUB_OBJECTS = yaml.safe_dump(
    [
        {"objectName": "db-password", "filePermission": "0400"},
        {"objectName": "api/key"},
        {"objectName": "tls.crt", "generate": "certificate"},
        {"objectName": "tls.key", "generate": "certificate", "filePermission": "0400"},
    ]
)
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "app-1", "namespace": "demo", "uid": "5a0c2a3e-0000-4000-8000-000000000001"},
    "spec": {
        "serviceAccountName": "app",
        "volumes": [
            {
                "name": "secrets",
                "csi": {
                    "driver": DRIVER,
                    "readOnly": True,
                    "volumeAttributes": {"secretProviderClass": "app"},
                    "nodePublishSecretRef": {"name": PUBLISH_SECRET},
                },
            }
        ],
    },
}


def provider_class(provider: str, parameters: dict[str, str]) -> dict[str, Any]:
    """The class, of a provider and its parameters."""
    return {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "app", "namespace": "demo"},
        "spec": {"provider": provider, "parameters": parameters},
    }
