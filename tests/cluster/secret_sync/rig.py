"""The controller of SecretSyncs with a real API server, and an account with its rights."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.api import Api, Object
from tests.cluster.rig import grant
from tests.cluster.servers import ControlPlane
from tests.support.namespace_rig import CLASS_GROUP
from tests.support.secret_sync_rig import SYNC_GROUP, SecretSyncRigBase

ACCOUNT = "secrets-store-sync-controller-manager"  # as in the chart, whose policies limit it

RULES: list[Object] = [
    {"apiGroups": [CLASS_GROUP], "resources": ["secretproviderclasses"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    {"apiGroups": [SYNC_GROUP], "resources": ["secretsyncs"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [SYNC_GROUP], "resources": ["secretsyncs/status"], "verbs": ["get", "patch", "update"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]


class SecretSyncRig(SecretSyncRigBase):
    """A namespace of the cluster, with a class ``app`` and a service account ``default``."""

    def __init__(
        self,
        cluster: ControlPlane,
        namespace: str,
        directory: Path,
        account: str = ACCOUNT,
        more_rules: Sequence[Object] = (),
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.directory = directory
        self.account = account
        self.user = grant(cluster, namespace, [*RULES, *more_rules], account)
        self.prepare()

    @property
    def api(self) -> Api:
        """As administrator."""
        return self.cluster.api

    def controllers_kubeconfig(self, path: Path) -> str:
        """Write a kubeconfig with a token of the account."""
        return str(self.cluster.token_kubeconfig(path, self.namespace, self.account))

    def count(self, since: int) -> Counter[tuple[str, str]]:
        """The controller's calls since a mark by verb and resource."""
        return self.cluster.audit.count(since, self.user)
