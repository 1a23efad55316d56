"""A driver with a real API server: its service account with exactly the chart's rights, makers of classes and pods, and
a whole driver in process."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driver.ports import ClassRef, Cluster, ProviderClass
from tests.cluster.api import Api, Object
from tests.cluster.audit import service_account
from tests.cluster.proxy import FaultProxy
from tests.cluster.servers import ControlPlane
from tests.support.namespace_rig import CLASS_GROUP, NamespaceRig
from tests.support.rig import Rig
from tests.support.waiting import until, until_blocking, wait_until

ACCOUNT = "driver"

BASE_RULES: list[Object] = [
    {"apiGroups": [CLASS_GROUP], "resources": ["secretproviderclasses"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [CLASS_GROUP], "resources": ["secretproviderclasspodstatuses"], "verbs": ["create", "list", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
]
SYNC_RULES: list[Object] = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
]
RESTART_RULES: list[Object] = [
    {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "patch"]},
]
TAINT_RULES: list[Object] = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["csinodes"], "verbs": ["get"]},
]


def grant(cluster: ControlPlane, namespace: str, rules: list[Object], account: str = ACCOUNT) -> str:
    """Create the service account and bind the rules to it cluster-wide; returns its user name in the audit log."""
    cluster.service_account(namespace, account)
    name, group = f"{namespace}-{account}", "rbac.authorization.k8s.io"
    cluster.api.apply({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
    cluster.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
        }
    )
    user = service_account(namespace, account)
    all_rules = rules if account != ACCOUNT else (*BASE_RULES, *SYNC_RULES, *RESTART_RULES, *TAINT_RULES)
    wait_until(
        lambda: all(may(cluster, user, rule) == (rule in rules) for rule in all_rules),
        f"the authorizer to know the rights of {user}",
        pause=0.05,
    )
    return user


def may(cluster: ControlPlane, user: str, rule: Object, namespace: str = "") -> bool:
    """Whether a user has the first of a rule's rights already: the authorizer learns of roles with a delay."""
    resource, _, subresource = rule["resources"][0].partition("/")
    attributes = {"group": rule["apiGroups"][0], "resource": resource, "verb": rule["verbs"][0]}
    if subresource:
        attributes["subresource"] = subresource
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": user, "resourceAttributes": {**attributes, "namespace": namespace}},
    }
    return bool(cluster.api.create(review)["status"]["allowed"])


@dataclass
class ClusterRig(NamespaceRig):
    """A namespace of the real cluster and the driver's account."""

    cluster: ControlPlane
    namespace: str
    directory: Path
    rules: list[Object] = field(default_factory=lambda: [*BASE_RULES, *SYNC_RULES])
    user: str = ""

    def __post_init__(self) -> None:
        self.user = grant(self.cluster, self.namespace, self.rules)

    @property
    def api(self) -> Api:
        """As administrator."""
        return self.cluster.api

    def kubeconfig(self, proxy: FaultProxy | None = None) -> str:
        """Write a kubeconfig for the driver's account, with the API server's address or a proxy's; returns its path."""
        path = self.directory / f"kubeconfig-{uuid.uuid4().hex[:6]}"
        if proxy is None:
            return str(self.cluster.token_kubeconfig(path, self.namespace, ACCOUNT))
        return str(self.cluster.token_kubeconfig(path, self.namespace, ACCOUNT, server=proxy.url, ca=proxy.ca))

    def count(self, since: int) -> Counter[tuple[str, str]]:
        """The driver's calls since a mark by verb and resource, without those that open its connections."""
        counted = self.cluster.audit.count(since, self.user)
        return Counter({key: number for key, number in counted.items() if key[1] != "/version"})

    async def watch_open(self, since: int = 0) -> None:
        """Wait until the driver has opened its watch of the classes, since a mark."""
        await until_blocking(lambda: self.count(since)["watch", "secretproviderclasses"], "the watch to be open")

    @asynccontextmanager
    async def driver(self, proxy: FaultProxy | None = None, name: str = "rig", **config: Any) -> AsyncIterator[Rig]:
        """A whole driver of this node, with a provider on its socket and kubelet's directories."""
        config.setdefault("read_secrets_by_patch", True)
        if "kubeconfig" not in config:  # it takes a running API server to make one
            config["kubeconfig"] = self.kubeconfig(proxy)
        async with self.driver_at(name, **config) as running:
            yield running


async def until_class(cluster: Cluster, class_ref: ClassRef, condition: Callable[[ProviderClass], bool]) -> None:
    """Wait until the driver, which watches the classes that it uses, has a class as it should be."""

    async def changed() -> bool:
        return condition(await cluster.get_class(class_ref))

    await until(changed, f"a change of {class_ref}", 30, pause=0.05)
