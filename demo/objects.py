"""The Kubernetes objects of the demo: a class with two stored and two generated secrets, and a pod that mounts it."""

from typing import Any

import yaml

DRIVER = "secrets-store.csi.k8s.io"
PUBLISH_SECRET = "store-credentials"


class _Dumper(yaml.SafeDumper):
    """Writes YAML as people do: lists indented, texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  # PyYAML calls it
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def manifest(value: Any) -> str:
    """An object as YAML, its fields in the order in which they were set."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def objects_text(objects: list[dict[str, Any]]) -> str:
    """The parameter ``objects``: YAML within a text, an object a line."""
    return "".join("- " + yaml.safe_dump(item, default_flow_style=True, width=75, sort_keys=False) for item in objects)


STUB_OBJECTS = objects_text(
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
