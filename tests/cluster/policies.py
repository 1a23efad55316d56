"""The chart's ValidatingAdmissionPolicies in a cluster of the tests: for the account of each rig, or with the chart's
roles for an account of its own."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import build, kubeconfig, releases
from tests.cluster.api import Api, ApiError, Object
from tests.cluster.servers import ControlPlane
from tests.support.rig import NODE
from tests.support.waiting import wait_until

CHART = Path(__file__).resolve().parent.parent.parent / "helm"
ACCOUNT = "secrets-store-csi-driver"
ALL_OF_IT = ("syncSecret.enabled=true", "startupTaint.enabled=true")
WITH_RESTARTS = (*ALL_OF_IT, "enableSecretRotation=true", "restartOnRotation.enabled=true")
# What the account needs and what limits it; the DaemonSet and the hooks are not installed.
KINDS = (
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)


def rendered(release: str, namespace: str, values: Sequence[str]) -> list[Object]:
    """The chart's objects of these kinds, without its hooks."""
    command = [str(build.path("helm")), "template", release, str(CHART), f"--namespace={namespace}", "--no-hooks"]
    done = subprocess.run(
        [*command, f"--kube-version={releases.version()}", *(f"--set={value}" for value in values)],
        check=True,
        capture_output=True,
        text=True,
    )
    return [item for item in yaml.safe_load_all(done.stdout) if item and item["kind"] in KINDS]


def limit_every_rig(cluster: ControlPlane) -> None:
    """Apply the policies to the account ``driver`` of every namespace, so that all tests run with them."""
    if build.GROUPS["helm"].missing:
        return
    for item in rendered("rigs", "rigs", WITH_RESTARTS):
        if item["kind"] == "ValidatingAdmissionPolicy":
            (condition,) = item["spec"]["matchConditions"]
            condition["expression"] = "request.userInfo.username.endsWith(':driver')"
        if item["kind"].startswith("ValidatingAdmissionPolicy"):
            cluster.api.apply(item)


@dataclass
class Installed:
    """The chart's account in a namespace of its own, and a pod of it on the node of the rigs, for whose token kubelet
    asked."""

    cluster: ControlPlane
    release: str
    namespace: str
    token: str

    @property
    def user(self) -> str:
        """The account's name in the audit log."""
        return f"system:serviceaccount:{self.namespace}:{ACCOUNT}"

    @property
    def api(self) -> Api:
        """With the account's token, as somebody who has stolen it."""
        return Api(self.cluster.url, self.cluster.client_context(), self.token)

    def kubeconfig(self, path: Path) -> str:
        """Write a kubeconfig for the account; returns its path."""
        return str(kubeconfig.write(path, self.cluster.url, self.cluster.ca, self.token))

    def policy(self, name: str) -> str:
        """The full name of one of the chart's policies."""
        return f"{self.release}-{ACCOUNT}-{name}"


@contextmanager
def installed(cluster: ControlPlane, namespace: str, *values: str) -> Iterator[Installed]:
    """The chart's roles and policies while the context lasts; they are in force when it begins."""
    release = f"r-{namespace}"
    objects = rendered(release, namespace, values)
    try:
        for item in objects:
            cluster.api.apply(item)
        found = Installed(cluster, release, namespace, _token(cluster, namespace))
        wait_until(lambda: _in_force(found, objects), "the roles and policies to take effect", pause=0.1)
        yield found
    finally:
        for item in objects:
            cluster.api.delete(cluster.api.path(item))


def deployment(namespace: str, name: str) -> Object:
    """A Deployment without pods."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"note": "theirs"}},
                "spec": {"containers": [{"name": "main", "image": "nothing"}]},
            },
        },
    }


def _token(cluster: ControlPlane, namespace: str) -> str:
    pod = cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": namespace, "name": "the-driver"},
            "spec": {
                "serviceAccountName": ACCOUNT,
                "nodeName": NODE,
                "containers": [{"name": "main", "image": "nothing"}],
            },
        }
    )
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "the-driver", "uid": pod["metadata"]["uid"]}
    return cluster.token(namespace, ACCOUNT, bound_to=bound)


def _in_force(found: Installed, objects: Sequence[Object]) -> bool:
    """Whether the last of the roles and policies is known to the API server: each refuses something."""
    node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"probe-{found.namespace}"}}
    path = found.cluster.api.path(node)
    if found.cluster.api.find(path) is None:
        found.cluster.api.create(node)
    metadata = {"namespace": found.namespace, "name": "probe"}
    probes: dict[str, tuple[str, str, Object]] = {
        "secrets": ("POST", "/api/v1/namespaces/{}/secrets", {}),
        "events": ("POST", "/api/v1/namespaces/{}/events", {"involvedObject": {"namespace": found.namespace}}),
        "pod-statuses": (
            "POST",
            "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{}/secretproviderclasspodstatuses",
            {"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus"},
        ),
        "nodes": ("PATCH", path, {"metadata": {"labels": {"a": "b"}}}),
    }
    if any(item["metadata"]["name"] == found.policy("workloads") for item in objects):
        workload = deployment(found.namespace, "probe")
        if found.cluster.api.find(found.cluster.api.path(workload)) is None:
            found.cluster.api.create(workload)
        probes["workloads"] = ("PATCH", found.cluster.api.path(workload), {"spec": {"replicas": 1}})
    for name, (method, where, body) in probes.items():
        body = body if method == "PATCH" else {"metadata": metadata, **body}
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            found.api.request(
                method, where.format(found.namespace), body, content_type=content_type, query={"dryRun": "All"}
            )
            return False
        except ApiError as error:
            if f"'{found.policy(name)}'" not in str(error):
                return False
    found.cluster.api.delete(path)
    return True
