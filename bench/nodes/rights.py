"""The rights of the drivers' accounts: ours as in the chart, the trio's as in its chart."""

from typing import Any

from bench.nodes.result import OURS
from tests.cluster.rig import BASE_RULES, SYNC_RULES
from tests.support.namespace_rig import CLASS_GROUP

Object = dict[str, Any]

# https://github.com/kubernetes-sigs/secrets-store-csi-driver, charts: secretproviderclasses-role and
# secretprovidersyncing-role of v1.6.0.
TRIO_RULES: list[Object] = [
    {"apiGroups": [CLASS_GROUP], "resources": ["secretproviderclasses"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": [CLASS_GROUP],
        "resources": ["secretproviderclasspodstatuses"],
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    },
]


def rules_of(kind: str) -> list[Object]:
    """Those of a kind of driver. Reading a Secret by GET, which is the driver's default, is a right of its own."""
    if kind == OURS:
        return [*BASE_RULES, *SYNC_RULES, {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    return TRIO_RULES
