"""Whoever has stolen the sync controller's token tries to take the cluster: everything that the controller does not
do is refused, by the policies where the roles cannot tell the difference.

The thief's account may do more than the chart's roles grant, so that the policies alone refuse. All attempts are dry
runs: admission treats them as it treats writes.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import APPLY, MERGE, Api, ApiError, Object
from tests.cluster.rig import grant
from tests.cluster.secret_sync.policies import PREFIX
from tests.cluster.secret_sync.rig import ACCOUNT, SecretSyncRig
from tests.cluster.servers import ControlPlane
from tests.support.secret_sync_rig import KEYS, SYNC_GROUP
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("policies_in_force")

LABEL = {"secrets-store.sync.x-k8s.io": ""}
MORE_RIGHTS: list[Object] = [
    {"apiGroups": [""], "resources": ["secrets", "events"], "verbs": ["create", "patch", "update", "delete"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
]
WRITE, DENIED, DELETE = "create-update-policy", "create-update-token-deny-policy", "delete-policy"
OLD, UNLABELLED, TOKEN, EVENT = (
    "update-check-oldobject-policy",
    "update-label-policy",
    "validate-token-policy",
    "events-policy",
)


def owner(name: str = "new", **changes: Any) -> Object:
    """An owner reference as the controller's, but for what is given."""
    return {"apiVersion": f"{SYNC_GROUP}/v1alpha1", "kind": "SecretSync", "name": name, "uid": UID, **changes}


UID = str(uuid.uuid4())
FOREIGN = owner(apiVersion="v1", kind="Namespace")


@dataclass(frozen=True)
class Attempt:
    """One call, and the policies of which any may refuse it; none: the roles do."""

    refused_by: tuple[str, ...]
    method: str
    path: str
    body: Any = None
    content_type: str = MERGE


def secret(policy: str = WRITE, *, metadata: Object | None = None, **body: Any) -> Attempt:
    """A new Secret, as the controller would create it, but for what is given."""
    full = {"name": "new", "labels": LABEL, "ownerReferences": [owner()], **(metadata or {})}
    return Attempt((policy,), "POST", "/api/v1/namespaces/{ns}/secrets", {"metadata": full, **body}, "application/json")


def change(name: str, *policies: str, **body: Any) -> Attempt:
    """A merge patch of a Secret."""
    return Attempt(policies, "PATCH", f"/api/v1/namespaces/{{ns}}/secrets/{name}", body)


def token(**spec: Any) -> Attempt:
    """A token, as the controller requests it, but for what is given."""
    full = {"audiences": ["vault"], "expirationSeconds": 600, **spec}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": full}
    return Attempt((TOKEN,), "POST", "/api/v1/namespaces/{ns}/serviceaccounts/default/token", body, "application/json")


def event(kind: str, component: str) -> Attempt:
    """A new event."""
    involved = {"kind": kind, "namespace": "{ns}", "name": "x"}
    body = {"metadata": {"name": "new"}, "involvedObject": involved, "source": {"component": component}}
    return Attempt((EVENT,), "POST", "/api/v1/namespaces/{ns}/events", body, "application/json")


ACCOUNT_TOKEN = {"kubernetes.io/service-account.name": "default"}
BY_POLICIES = {
    # Credentials.
    "a service account's token": secret(
        DENIED, metadata={"annotations": ACCOUNT_TOKEN}, type="kubernetes.io/service-account-token"
    ),
    "a node's bootstrap token": secret(DENIED, type="bootstrap.kubernetes.io/token"),
    "a Helm release": secret(DENIED, type="helm.sh/release.v1"),
    "a type that is not allowed": secret(type="example.org/license"),
    "a token for another audience": token(audiences=["https://kubernetes.default.svc"]),
    "a token for the API server": token(audiences=[]),
    "a token for two audiences": token(audiences=["vault", "other"]),
    "a longer token": token(expirationSeconds=3600),
    "a token of the default length": token(expirationSeconds=None),
    # New Secrets.
    "without an owner": secret(metadata={"ownerReferences": []}),
    "with an owner of another kind": secret(metadata={"ownerReferences": [FOREIGN]}),
    "with another SecretSync as its owner": secret(metadata={"ownerReferences": [owner("other")]}),
    "with a SecretSync of another group": secret(metadata={"ownerReferences": [owner(apiVersion="example.org/v1")]}),
    "with a second owner": secret(metadata={"ownerReferences": [owner(), {**FOREIGN, "uid": str(uuid.uuid4())}]}),
    "immutable": secret(immutable=True),
    "with a finalizer": secret(metadata={"finalizers": ["example.org/never"]}),
    "without an owner, by server-side apply": Attempt(
        (WRITE,),
        "PATCH",
        "/api/v1/namespaces/{ns}/secrets/new?fieldManager=x",
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new", "labels": LABEL}},
        APPLY,
    ),
    # Secrets of others.
    "theirs, read": change("theirs", WRITE, OLD, UNLABELLED),
    "theirs, read as server-side apply": Attempt(
        (WRITE, OLD, UNLABELLED),
        "PATCH",
        "/api/v1/namespaces/{ns}/secrets/theirs?fieldManager=x",
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}},
        APPLY,
    ),
    "their content": change("theirs", WRITE, OLD, UNLABELLED, data={"key": "eA=="}),
    "theirs, taken over": change(
        "theirs", OLD, UNLABELLED, metadata={"labels": LABEL, "ownerReferences": [owner("theirs")]}
    ),
    "theirs with the label, taken over": change("labelled", OLD, metadata={"ownerReferences": [owner("labelled")]}),
    "one of another SecretSync": change("others", WRITE, OLD),
    "one without the label": change("unlabelled", UNLABELLED, data={"key": "eA=="}),
    "theirs, deleted": Attempt((DELETE,), "DELETE", "/api/v1/namespaces/{ns}/secrets/theirs"),
    # The controller's own.
    "its own, deleted": Attempt((DELETE,), "DELETE", "/api/v1/namespaces/{ns}/secrets/ours"),
    "its own without an owner": change("ours", WRITE, metadata={"ownerReferences": []}),
    "its own with another owner": change("ours", WRITE, metadata={"ownerReferences": [FOREIGN]}),
    "its own made immutable": change("ours", WRITE, immutable=True),
    "its own with a finalizer": change("ours", WRITE, metadata={"finalizers": ["example.org/never"]}),
    # Events.
    "an event on a pod": event("Pod", "secrets-store-sync-controller"),
    "an event of kubelet": event("SecretSync", "kubelet"),
}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYNCS = f"/apis/{SYNC_GROUP}/v1alpha1/namespaces/{{ns}}/secretsyncs"
BY_ROLES = {
    "a Secret, read": Attempt((), "GET", "/api/v1/namespaces/{ns}/secrets/theirs"),
    "all Secrets": Attempt((), "GET", "/api/v1/secrets"),
    "a watch of Secrets": Attempt((), "GET", "/api/v1/namespaces/{ns}/secrets?watch=true"),
    "a Secret replaced": Attempt((), "PUT", "/api/v1/namespaces/{ns}/secrets/theirs", {}, "application/json"),
    "a Secret deleted": Attempt((), "DELETE", "/api/v1/namespaces/{ns}/secrets/theirs"),
    "a SecretSync of its own": Attempt((), "POST", SYNCS, {"metadata": {"name": "x"}}, "application/json"),
    "a SecretSync changed": Attempt((), "PATCH", SYNCS + "/app", {"spec": {}}),
    "a class changed": Attempt(
        (), "PATCH", "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{ns}/secretproviderclasses/app", {"spec": {}}
    ),
    "a pod": Attempt((), "POST", "/api/v1/namespaces/{ns}/pods", {"metadata": {"name": "x"}}, "application/json"),
    "more rights": Attempt((), "POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "x"}}, "application/json"),
    "a policy": Attempt(
        (), "DELETE", f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{PREFIX}{WRITE}"
    ),
    "the CRD": Attempt(
        (), "PATCH", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretsyncs.{SYNC_GROUP}", {"spec": {}}
    ),
}


@pytest.fixture(scope="module")
def thief(cluster: ControlPlane, limited: bool) -> Iterator[tuple[str, Api]]:
    """A namespace with somebody's Secrets, and the controller's token there, with more rights than it has."""
    namespace = cluster.namespace(f"stolen-{uuid.uuid4().hex[:6]}")
    cluster.service_account(namespace, "default")
    grant(cluster, namespace, MORE_RIGHTS, ACCOUNT)
    secrets: dict[str, Object] = {
        "theirs": {},
        "labelled": {"labels": LABEL},
        "others": {"labels": LABEL, "ownerReferences": [_sync(cluster, namespace, "another")]},
        "unlabelled": {"ownerReferences": [_sync(cluster, namespace, "unlabelled")]},
        "ours": {"labels": LABEL, "ownerReferences": [_sync(cluster, namespace, "ours")]},
    }
    for name, metadata in secrets.items():
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name, **metadata}}
        cluster.api.create(body)
    yield namespace, cluster.api_as(namespace, ACCOUNT)
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")


def _sync(cluster: ControlPlane, namespace: str, name: str) -> Object:
    """A SecretSync that no controller takes care of, as an owner: without one the Secret would be collected."""
    made = cluster.api.create(
        {
            "apiVersion": f"{SYNC_GROUP}/v1alpha1",
            "kind": "SecretSync",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "secretProviderClassName": "app",
                "serviceAccountName": "default",
                "secretSyncControllerName": namespace,
                "secretObject": {"type": "Opaque", "data": KEYS},
            },
        }
    )
    return owner(name, uid=made["metadata"]["uid"])


def refusal(api: Api, tried: Attempt, namespace: str) -> str:
    """Make the call as a dry run; returns why it was refused, empty if it was not."""
    path, _, query = tried.path.replace("{ns}", namespace).partition("?")
    options = dict(item.split("=") for item in query.split("&") if item)
    if tried.method != "GET":
        options["dryRun"] = "All"
    body = None if tried.body is None else json.loads(json.dumps(tried.body).replace("{ns}", namespace))
    try:
        api.request(tried.method, path, body, content_type=tried.content_type, query=options)
    except ApiError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", BY_POLICIES)
def test_refused_by_a_policy(thief: tuple[str, Api], name: str) -> None:
    """The call is refused by the policy that is meant to, although the account has the right."""
    namespace, api = thief
    tried, found = BY_POLICIES[name], ""

    def refused() -> bool:
        nonlocal found
        found = refusal(api, tried, namespace)
        return any(f"'{PREFIX}{policy}'" in found for policy in tried.refused_by)

    # The API server learns of a policy with a delay.
    wait_until(refused, lambda: f"the refusal, not {found!r}", 20, pause=0.1)
    assert found.startswith("403 ")


@pytest.mark.parametrize("name", BY_ROLES)
def test_refused_by_the_roles(sync_rig: SecretSyncRig, name: str) -> None:
    """With the chart's rights → everything else is refused by the roles."""
    api = sync_rig.cluster.api_as(sync_rig.namespace, ACCOUNT)
    found = refusal(api, BY_ROLES[name], sync_rig.namespace)
    assert found.startswith("403 ") and "ValidatingAdmissionPolicy" not in found, found


def test_what_the_controller_does_is_not_refused(thief: tuple[str, Api]) -> None:
    """The same calls as the controller makes them → nothing refuses them; so the attempts above fail for what
    differs."""
    namespace, api = thief
    unchanged = secret()
    for tried in (unchanged, token(), event("SecretSync", "secrets-store-sync-controller")):
        assert refusal(api, tried, namespace) == ""


def test_others_are_not_limited(cluster: ControlPlane, thief: tuple[str, Api], tmp_path: Path) -> None:
    """An administrator may do all of it, except what the API server itself refuses."""
    namespace, _ = thief
    for name in ("a type that is not allowed", "without an owner", "their content", "theirs, deleted"):
        assert refusal(cluster.api, BY_POLICIES[name], namespace) == ""
