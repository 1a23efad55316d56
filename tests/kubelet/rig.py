"""A real node with our chart installed, the stub as provider, and pods that mount its secrets."""

import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Object
from tests.helm import chart
from tests.kubelet import images
from tests.kubelet.node import NAME, Node

NAMESPACE = "kube-system"
RELEASE = "csi-secrets-store"
DRIVER = "secrets-store.csi.k8s.io"
PROVIDERS = Path("/var/run/secrets-store-csi-providers")
TAINT = "secrets-store.csi.k8s.io/agent-not-ready"
GROUP = "secrets-store.csi.x-k8s.io"


class KubeletRig:
    """The installed driver, and the directory from which the stub serves secrets."""

    def __init__(self, node: Node, archive: Path) -> None:
        self.node = node
        self.store = node.directory / "store"
        self.store.mkdir()
        self.providers = PROVIDERS
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            self.repository, _, self.tag = json.load(manifest)[0]["RepoTags"][0].rpartition(":")

    def install(self) -> None:
        """Install the chart with its hooks, as a user would, on a node that came up with the startup taint: the driver
        is ready without a provider. Then the provider."""
        self.node.cluster.kubectl("taint", "nodes", NAME, f"{TAINT}:NoExecute")
        self.helm("install", RELEASE, str(chart.CHART), "--wait", "--timeout=90s", *self.values())
        self.install_provider()

    def install_provider(self) -> None:
        """Start the stub's pod."""
        self.node.apply(self._provider())
        self.node.until(lambda: (self.providers / "stub.sock").exists(), "the provider's socket")

    def remove_provider(self) -> None:
        """Delete it; its socket goes with it."""
        self.delete("provider", namespace=NAMESPACE)

    def values(self) -> list[str]:
        """Helm's arguments with the chart's values for this node."""
        values = {
            "linux": {"image": {"repository": self.repository, "tag": self.tag}},
            "syncSecret": {"enabled": True},
            "enableSecretRotation": True,
            "rotationPollInterval": "2s",
            "restartOnRotation": {"enabled": True},
            "startupTaint": {"enabled": True},
            "tokenRequests": [{"audience": "vault"}],
        }
        path = self.node.directory / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        return [f"--values={path}", f"--namespace={NAMESPACE}"]

    def helm(self, *arguments: str) -> str:
        """Run Helm; returns its output. A failure shows the cluster's pods, events and the driver's log."""
        done = subprocess.run(
            [str(chart.program()), *arguments, f"--kubeconfig={self.node.cluster.admin_kubeconfig}"],
            capture_output=True,
            text=True,
            timeout=150,
        )
        if done.returncode != 0:
            state = self.node.cluster.kubectl("get", "pods,events", "--all-namespaces", "-o", "wide")
            raise AssertionError(f"{done.stderr}\n{state}\n{self.logs()}")
        return done.stdout

    def put(self, name: str, content: str) -> None:
        """Write a secret into the store, atomically."""
        draft = self.store / f".{name}"
        draft.write_text(content)
        draft.rename(self.store / name)

    def driver_pod(self) -> Object:
        """The DaemonSet's pod on the node."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dsecrets-store-csi-driver"
        found: list[Object] = [
            item for item in self.node.cluster.api.get(path)["items"] if "deletionTimestamp" not in item["metadata"]
        ]
        assert len(found) == 1, [item["metadata"]["name"] for item in found]
        return found[0]

    def driver_ready(self, not_uid: str) -> bool:
        """Whether the DaemonSet has one ready pod, and not the one with this UID."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dsecrets-store-csi-driver"
        found = self.node.cluster.api.get(path)["items"]
        conditions = [item for pod in found for item in pod["status"].get("conditions", ()) if item["type"] == "Ready"]
        return [pod["metadata"]["uid"] for pod in found] != [not_uid] and [item["status"] for item in conditions] == [
            "True"
        ]

    def replace_driver_pod(self) -> None:
        """Delete the DaemonSet's pod and wait until another one is ready."""
        before = self.driver_pod()["metadata"]
        self.delete(before["name"], namespace=NAMESPACE)
        self.node.until(lambda: self.driver_ready(not_uid=before["uid"]), "the new pod to be ready")

    def uid_of(self, pod: str, namespace: str = "default") -> str:
        """A pod's UID."""
        return str(self.node.cluster.api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")["metadata"]["uid"])

    def mounts_of(self, uid: str) -> dict[str, str]:
        """The volumes of a pod in the node's mount table: mount point to mount id."""
        return {point: number for point, number in self.node.mounts().items() if uid in point}

    def logs(self) -> str:
        """The last lines of the driver's log."""
        try:
            return self.node.cluster.kubectl(
                "logs",
                "--namespace",
                NAMESPACE,
                "-l",
                "app=secrets-store-csi-driver",
                "-c",
                "secrets-store",
                "--tail=60",
            )
        except Exception as error:  # this text only adds to the report of another failure
            return f"(no logs: {error})"

    def apply_class(
        self,
        name: str,
        namespace: str = "default",
        objects: str = "- objectName: password\n",
        secret_objects: list[Object] | None = None,
        annotations: Mapping[str, str] | None = None,
        provider: str = "stub",
        **parameters: str,
    ) -> None:
        """Create or change a SecretProviderClass."""
        spec: dict[str, Any] = {"provider": provider, "parameters": {"objects": objects, **parameters}}
        if secret_objects:
            spec["secretObjects"] = secret_objects
        self.node.apply(
            {
                "apiVersion": f"{GROUP}/v1",
                "kind": "SecretProviderClass",
                "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
                "spec": spec,
            }
        )

    def pod_manifest(
        self,
        name: str,
        classes: Mapping[str, str],
        namespace: str = "default",
        env: Mapping[str, str] | None = None,
        security: Object | None = None,
    ) -> Object:
        """A pod that sleeps, with one volume for each class (volume name to class); ``env`` maps a variable to
        ``secret/key``."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": self.pod_spec(classes, env, security),
        }

    def pod_spec(
        self, classes: Mapping[str, str], env: Mapping[str, str] | None = None, security: Object | None = None
    ) -> Object:
        """The same pod's ``spec``, as for the template of a Deployment."""
        variables = [
            {"name": key, "valueFrom": {"secretKeyRef": dict(zip(("name", "key"), value.split("/"), strict=True))}}
            for key, value in (env or {}).items()
        ]
        return {
            "terminationGracePeriodSeconds": 0,
            "securityContext": security or {},
            "containers": [
                {
                    "name": "main",
                    "image": images.BUSYBOX,
                    "imagePullPolicy": "Never",
                    "env": variables,
                    "command": ["/bin/sleep", "3600"],
                    "volumeMounts": [{"name": key, "mountPath": f"/mnt/{key}", "readOnly": True} for key in classes],
                }
            ],
            "volumes": [
                {
                    "name": key,
                    "csi": {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"secretProviderClass": value}},
                }
                for key, value in classes.items()
            ],
        }

    def wait_running(self, name: str, namespace: str = "default", seconds: float = 60) -> None:
        """Wait until a pod's containers run."""

        def ready() -> bool:
            found = self.node.cluster.api.find(f"/api/v1/namespaces/{namespace}/pods/{name}") or {}
            states = found.get("status", {}).get("containerStatuses") or [{}]
            return all("running" in item.get("state", {}) for item in states)

        self.node.until(ready, f"pod {namespace}/{name} to run", seconds)

    def exec(self, *command: str, pod: str, namespace: str = "default") -> str:
        """Run a command in a pod; returns its output."""
        return self.node.cluster.kubectl("exec", "--namespace", namespace, pod, "--", *command)

    def read(self, pod: str, path: str, namespace: str = "default") -> str:
        """A file as the pod sees it."""
        return self.exec("cat", f"/mnt/{path}", pod=pod, namespace=namespace)

    def delete(self, *names: str, namespace: str = "default", kind: str = "pod") -> None:
        """Delete, if they exist, and wait until they are gone."""
        self.node.cluster.kubectl(
            "delete", kind, "--namespace", namespace, *names, "--wait=true", "--timeout=60s", "--ignore-not-found"
        )

    def secret(self, name: str, namespace: str = "default") -> Object | None:
        """A Kubernetes Secret, if it is there."""
        return self.node.cluster.api.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def events(self, pod: str, namespace: str = "default") -> list[str]:
        """A pod's events as ``reason: message``."""
        found = self.node.cluster.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return [f"{item['reason']}: {item['message']}" for item in found if item["involvedObject"].get("name") == pod]

    def _provider(self) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "provider", "namespace": NAMESPACE},
            "spec": {
                "tolerations": [{"operator": "Exists"}],
                "hostNetwork": True,
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "provider",
                        "image": f"{self.repository}:{self.tag}",
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["/app/bin/secrets-store-provider-stub"],
                        "args": [
                            "--endpoint=unix:///providers/stub.sock",
                            "--secrets-dir=/store",
                            "--allow-error-orders",
                        ],
                        "securityContext": {"privileged": True},
                        "volumeMounts": [
                            {"name": "providers", "mountPath": "/providers"},
                            {"name": "store", "mountPath": "/store"},
                            {
                                "name": "pods",
                                "mountPath": f"{self.node.kubelet_dir}/pods",
                                "mountPropagation": "HostToContainer",
                            },
                        ],
                    }
                ],
                "volumes": [
                    {"name": "providers", "hostPath": {"path": str(self.providers), "type": "DirectoryOrCreate"}},
                    {"name": "store", "hostPath": {"path": str(self.store), "type": "Directory"}},
                    {
                        "name": "pods",
                        "hostPath": {"path": f"{self.node.kubelet_dir}/pods", "type": "DirectoryOrCreate"},
                    },
                ],
            },
        }
