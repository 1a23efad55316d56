"""OpenBao beside a real API server: it trusts the service accounts' tokens in both of the ways that it has."""

from pathlib import Path

from tests.cluster.commands import ISSUER
from tests.cluster.rig import may
from tests.cluster.servers import ControlPlane
from tests.stores.openbao import OpenBao
from tests.support.waiting import wait_until

REVIEWER = ("kube-system", "openbao")


def trust(bao: OpenBao, cluster: ControlPlane) -> None:
    """auth/kubernetes, which asks the API server about each token (TokenReview) as a service account with no other
    right, and auth/jwt, which has the API server's key and asks nobody."""
    namespace, name = REVIEWER
    cluster.service_account(namespace, name)
    group = "rbac.authorization.k8s.io"
    cluster.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "openbao-reviews-tokens"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        }
    )
    review = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    user = f"system:serviceaccount:{namespace}:{name}"
    wait_until(lambda: may(cluster, user, review), "the right to review tokens", pause=0.05)
    bao.write("sys/auth/kubernetes", type="kubernetes")
    bao.write(
        "auth/kubernetes/config",
        kubernetes_host=cluster.url,
        kubernetes_ca_cert=cluster.ca.decode(),
        token_reviewer_jwt=cluster.token(namespace, name),
        disable_local_ca_jwt=True,
    )
    key = Path(cluster.directory / "accounts.pub").read_text()
    bao.write("sys/auth/jwt", type="jwt")
    bao.write("auth/jwt/config", jwt_validation_pubkeys=[key], bound_issuer=ISSUER)


def allow(bao: OpenBao, role: str, namespace: str, account: str, *rules: str) -> None:
    """A role of this name in both auth methods, for one service account, with a policy of ``rules``."""
    bao.policy(role, *rules)
    bao.write(
        f"auth/kubernetes/role/{role}",
        bound_service_account_names=[account],
        bound_service_account_namespaces=[namespace],
        token_policies=[role],
        audience="vault",
    )
    bao.write(
        f"auth/jwt/role/{role}",
        role_type="jwt",
        bound_audiences=["vault"],
        bound_subject=f"system:serviceaccount:{namespace}:{account}",
        user_claim="sub",
        token_policies=[role],
    )
