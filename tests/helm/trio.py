"""The Go trio's chart, as far as an upgrade from it is concerned: its default values, and a stand-in with the objects
that Helm will patch."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.helm import chart

Values = dict[str, Any]
RELEASE = "csi-secrets-store"
_FULL = f"{RELEASE}-secrets-store-csi-driver"
_CRDS_HOOK = "linux.crds.enabled; hook"

# The objects of the trio's chart, and when it creates them.
OBJECTS = {
    ("CSIDriver", "secrets-store.csi.k8s.io"): "always",
    ("ServiceAccount", "secrets-store-csi-driver"): "rbac.install",
    ("ClusterRole", "secretproviderclasses-role"): "rbac.install",
    ("ClusterRoleBinding", "secretproviderclasses-rolebinding"): "rbac.install",
    ("ClusterRole", "secretproviderclasses-admin-role"): "rbac.install",
    ("ClusterRole", "secretproviderclasses-viewer-role"): "rbac.install",
    ("ClusterRole", "secretproviderclasspodstatuses-viewer-role"): "rbac.install",
    ("ClusterRole", "secretprovidersyncing-role"): "syncSecret.enabled",
    ("ClusterRoleBinding", "secretprovidersyncing-rolebinding"): "syncSecret.enabled",
    **{
        (kind, f"{_FULL}-{hook}"): _CRDS_HOOK
        for hook in ("upgrade-crds", "keep-crds")
        for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    },
    ("Job", "secrets-store-csi-driver-upgrade-crds"): _CRDS_HOOK,
    ("Job", "secrets-store-csi-driver-keep-crds"): _CRDS_HOOK,
    ("DaemonSet", _FULL): "linux.enabled",
    ("DaemonSet", f"{_FULL}-windows"): "windows.enabled",
    ("PodSecurityPolicy", "secrets-store-csi-driver-psp"): "rbac.pspEnabled and Kubernetes below 1.25",
}


# The rights of the Go driver's account: (group, resource) and verbs.
RIGHTS = {
    ("", "events"): "create patch",
    ("", "pods"): "get list watch",
    ("secrets-store.csi.x-k8s.io", "secretproviderclasses"): "get list watch",
    ("secrets-store.csi.x-k8s.io", "secretproviderclasspodstatuses"): "create delete get list patch update watch",
    ("secrets-store.csi.x-k8s.io", "secretproviderclasspodstatuses/status"): "get patch update",
    ("storage.k8s.io", "csidrivers"): "get list watch",
    ("", "secrets"): "create delete get list patch update watch",  # with syncSecret.enabled
}


def rights(objects: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """What the rendered ClusterRoles of the driver's account grant, as (group, resource, verb)."""
    return {
        (group, resource, verb)
        for item in objects
        if item["kind"] == "ClusterRole"
        and item["metadata"]["name"] in ("secretproviderclasses-role", "secretprovidersyncing-role")
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def go_rights() -> set[tuple[str, str, str]]:
    """The Go driver's, in the same form."""
    return {(*resource, verb) for resource, verbs in RIGHTS.items() for verb in verbs.split()}


def values() -> Values:
    """The defaults that a release of the trio's chart carries, all of them."""
    return {
        "linux": {
            **_system(
                "/var/lib/kubelet",
                "/var/run/secrets-store-csi-providers",
                ("200m", "200Mi", "50m", "100Mi"),
                ("100m", "100Mi", "10m", "20Mi"),
            ),
            "enabled": True,
            "additionalProvidersDirs": ["/etc/kubernetes/secrets-store-csi-providers"],
            "crds": {
                "enabled": True,
                "image": _image("csi-secrets-store/driver-crds", "v1.6.0"),
                "resources": {},
                "annotations": {},
                "podLabels": {},
            },
        },
        "windows": {
            **_system(
                r"C:\var\lib\kubelet",
                r"C:\\k\\secrets-store-csi-providers",
                ("400m", "400Mi", "100m", "100Mi"),
                ("200m", "200Mi", "100m", "100Mi"),
            ),
            "enabled": False,
            "additionalProvidersDirs": None,
        },
        "logVerbosity": 0,
        "logFormatJSON": False,
        "livenessProbe": {"port": 9808, "logLevel": 2},
        "maxCallRecvMsgSize": 4194304,
        "rbac": {"install": True, "pspEnabled": False},
        "syncSecret": {"enabled": False},
        "enableSecretRotation": False,
        "rotationPollInterval": None,
        "providerHealthCheck": False,
        "providerHealthCheckInterval": "2m",
        "imagePullSecrets": [],
        "tokenRequests": [],
        "automountServiceAccountToken": True,
        "commonLabels": {},
    }


def write(directory: Path) -> Path:
    """A chart of the trio's name, values, and DaemonSet: three containers under the same name and selector."""
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": "secrets-store-csi-driver", "version": "1.6.0"})
    )
    (directory / "values.yaml").write_text(yaml.safe_dump(values()))
    name = "{{ .Release.Name }}-secrets-store-csi-driver"
    containers = [
        {"name": item, "image": "{{ .Values.linux.image.repository }}:{{ .Values.linux.image.tag }}"}
        for item in ("node-driver-registrar", "secrets-store", "liveness-probe")
    ]
    labels = {"app": "secrets-store-csi-driver"}
    daemon_set = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": "secrets-store.csi.k8s.io"},
        "spec": {
            "podInfoOnMount": True,
            "attachRequired": False,
            "volumeLifecycleModes": ["Ephemeral"],
            "requiresRepublish": False,
        },
    }
    (directory / "templates" / "objects.yaml").write_text(yaml.safe_dump_all([daemon_set, driver]))
    return directory


def reused(directory: Path) -> Path:
    """Our chart as Helm sees it under --reuse-values: the old release's values in place of our own defaults."""
    shutil.copytree(chart.CHART, directory)
    (directory / "values.yaml").write_text(yaml.safe_dump(values()))
    return directory


def _image(name: str, tag: str) -> Values:
    return {"repository": f"registry.k8s.io/{name}", "tag": tag, "pullPolicy": "IfNotPresent"}


def _resources(limit_cpu: str, limit_memory: str, cpu: str, memory: str) -> Values:
    return {"limits": {"cpu": limit_cpu, "memory": limit_memory}, "requests": {"cpu": cpu, "memory": memory}}


def _system(kubelet: str, providers: str, driver: tuple[str, ...], sidecar: tuple[str, ...]) -> Values:
    """What linux and windows share."""
    expression = {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {
        "image": _image("csi-secrets-store/driver", "v1.6.0"),
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "driver": {"resources": _resources(*driver)},
        "registrarImage": _image("sig-storage/csi-node-driver-registrar", "v2.16.0"),
        "registrar": {"resources": _resources(*sidecar), "logVerbosity": 5},
        "livenessProbeImage": _image("sig-storage/livenessprobe", "v2.18.0"),
        "livenessProbe": {"resources": _resources(*sidecar)},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "kubeletRootDir": kubelet,
        "providersDir": providers,
        "nodeSelector": {},
        "tolerations": [{"operator": "Exists"}],
        "metricsAddr": ":8095",
        "env": [],
        "priorityClassName": "",
        "daemonsetAnnotations": {},
        "podAnnotations": {},
        "podLabels": {},
        "volumes": None,
        "volumeMounts": None,
    }
