"""Whoever has stolen the driver's token tries to take the cluster, with sync and the startup taint enabled: everything
that the driver does not do is refused, by its policies where its roles cannot tell the difference."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from driver.objects.workloads import CONTENT, RESTARTED_AT
from tests.cluster import build
from tests.cluster.api import APPLY, MERGE, Api, ApiError, Object
from tests.cluster.policies import WITH_RESTARTS, Installed, deployment, installed
from tests.cluster.servers import ControlPlane
from tests.support.rig import NODE

OTHER_NODE = "node-of-others"
MANAGED = {"secrets-store.csi.k8s.io/managed": "true"}
LEDGER = "secrets-store.csi.k8s.io/managed-keys"
OURS = {LEDGER: '{"adopted":false,"classes":{}}'}
NODE_LABEL = "internal.secrets-store.csi.k8s.io/node-name"
OWNER: Object = {"apiVersion": "v1", "kind": "Namespace", "name": "{ns}", "uid": "{uid}"}
CLASS: Object = {
    "apiVersion": "secrets-store.csi.x-k8s.io/v1",
    "kind": "SecretProviderClass",
    "name": "app",
    "uid": "{class}",
}
OTHERS_CLASS: Object = {**CLASS, "apiVersion": "example.org/v1"}
STATUSES = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{ns}/secretproviderclasspodstatuses"
CLASSES = STATUSES.replace("secretproviderclasspodstatuses", "secretproviderclasses")
TAINT: Object = {"key": "secrets-store.csi.k8s.io/agent-not-ready", "effect": "NoExecute"}
OTHER_TAINT: Object = {"key": "other", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Attempt:
    """One call, and what refuses it: a policy of the chart, "roles", or the API server's own rules ("server")."""

    refused_by: str
    method: str
    path: str
    body: Any = None
    content_type: str = MERGE
    headers: tuple[tuple[str, str], ...] = ()


def create(refused_by: str, path: str, **body: Any) -> Attempt:
    """A POST."""
    return Attempt(refused_by, "POST", path, body, "application/json")


def secret(
    refused_by: str = "secrets", namespace: str = "{ns}", *, metadata: Object | None = None, **body: Any
) -> Attempt:
    """A new Secret, as the driver would create it, but for what is given."""
    full = {"name": "new", "labels": MANAGED, "ownerReferences": [OWNER], **(metadata or {})}
    return create(refused_by, f"/api/v1/namespaces/{namespace}/secrets", metadata=full, **body)


def change(name: str, refused_by: str = "secrets", **body: Any) -> Attempt:
    """A patch of a Secret."""
    return Attempt(refused_by, "PATCH", f"/api/v1/namespaces/{{ns}}/secrets/{name}", body)


def status(**metadata: Any) -> Attempt:
    """A new pod status."""
    return create(
        "pod-statuses",
        STATUSES,
        apiVersion="secrets-store.csi.x-k8s.io/v1",
        kind="SecretProviderClassPodStatus",
        metadata={"name": "new", "ownerReferences": [POD], **metadata},
    )


def event(kind: str = "Pod", component: str = "secrets-store-csi-driver", host: str = NODE, **fields: Any) -> Attempt:
    """A new event."""
    source = {"component": component, "host": host}
    involved = {"kind": kind, "namespace": "{ns}", "name": "x"}
    return create(
        "events",
        "/api/v1/namespaces/{ns}/events",
        metadata={"name": "new"},
        involvedObject=involved,
        source=source,
        **fields,
    )


def node(name: str = NODE, **body: Any) -> Attempt:
    """A patch of a node."""
    return Attempt("nodes", "PATCH", f"/api/v1/nodes/{name}", body)


HASH = "0123456789abcdef" * 2
RESTART: Object = {
    "metadata": {"annotations": {RESTARTED_AT: "2026-01-02T03:04:05Z"}},
    "spec": {"template": {"metadata": {"annotations": {CONTENT: f"secrets={HASH}"}}}},
}


def restart(metadata: Object | None = None, template: Object | None = None, **spec: Any) -> Attempt:
    """A restart of a Deployment, with something else in the same patch; None removes a field."""
    body = json.loads(json.dumps(RESTART))
    for key, value in (metadata or {}).items():
        body["metadata"][key] = {**body["metadata"].get(key, {}), **value} if isinstance(value, dict) else value
    for key, value in (template or {}).items():
        body["spec"]["template"][key] = value
    body["spec"].update(spec)
    return Attempt("workloads", "PATCH", f"{APPS}/deployments/app", body)


def template_annotations(**annotations: str | None) -> Attempt:
    """A restart with other annotations in the pod template."""
    found = restart()
    found.body["spec"]["template"]["metadata"]["annotations"].update(annotations)
    return found


APPS = "/apis/apps/v1/namespaces/{ns}"
JSON_PATCH = "application/json-patch+json"
THEIRS: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}}
POD: Object = {"apiVersion": "v1", "kind": "Pod", "name": "pod-1", "uid": str(uuid.uuid4())}
ACCOUNT_TOKEN: Object = {"annotations": {"kubernetes.io/service-account.name": "clusterrole-aggregation-controller"}}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretproviderclasses.secrets-store.csi.x-k8s.io"
ATTEMPTS = {
    # Credentials of the cluster.
    "a service account's token": secret(
        namespace="kube-system", metadata=ACCOUNT_TOKEN, type="kubernetes.io/service-account-token"
    ),
    "the same by server-side apply": Attempt(
        "secrets",
        "PATCH",
        "/api/v1/namespaces/kube-system/secrets/new?fieldManager=x",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "new", "labels": MANAGED, "ownerReferences": [OWNER], **ACCOUNT_TOKEN},
            "type": "kubernetes.io/service-account-token",
        },
        APPLY,
    ),
    "a node's bootstrap token": secret(
        namespace="kube-system",
        metadata={"name": "bootstrap-token-abcdef"},
        type="bootstrap.kubernetes.io/token",
        stringData={"token-id": "abcdef", "token-secret": "0123456789abcdef"},
    ),
    "a Helm release": secret(metadata={"name": "sh.helm.release.v1.app.v2"}, type="helm.sh/release.v1"),
    "the next content of a Helm release": change("sh.helm.release.v1.app.v1", stringData={"release": "x"}),
    "a token by TokenRequest": create(
        "roles", "/api/v1/namespaces/kube-system/serviceaccounts/clusterrole-aggregation-controller/token"
    ),
    # New Secrets.
    "without the label": secret(metadata={"labels": {}}),
    "without an owner": secret(metadata={"ownerReferences": []}),
    "with a controller": secret(metadata={"ownerReferences": [{**OWNER, "controller": True}]}),
    "with an owner that it blocks": secret(metadata={"ownerReferences": [{**OWNER, "blockOwnerDeletion": True}]}),
    "immutable from the start": secret(immutable=True),
    "with a finalizer": secret(metadata={"finalizers": ["example.org/never"]}),
    "a generated name, without the label": secret(metadata={"name": None, "generateName": "x-", "labels": {}}),
    # Secrets of others.
    "their content": change("theirs", data={"key": "eA=="}),
    "their content, with the label": change("theirs", metadata={"labels": MANAGED}, data={"key": "eA=="}),
    "their content, with the permission": change(
        "theirs", metadata={"labels": MANAGED, "annotations": {"secrets-store.csi.k8s.io/adopt": "true"}}
    ),
    "their content, with a ledger": change(
        "theirs", metadata={"labels": MANAGED, "annotations": {LEDGER: '{"adopted":true,"classes":{}}'}}
    ),
    "an owner with which theirs is deleted": change("theirs", metadata={"labels": MANAGED, "ownerReferences": [OWNER]}),
    "an owner with which an adopted one is deleted": change("adopted", metadata={"ownerReferences": [OWNER]}),
    "an adopted one is not theirs any more": change(
        "adopted", metadata={"annotations": {LEDGER: '{"adopted":false,"classes":{}}'}}
    ),
    "an adoptable one gets an owner": change(
        "adoptable",
        metadata={
            "labels": MANAGED,
            "annotations": {LEDGER: '{"adopted":true,"classes":{}}'},
            "ownerReferences": [OWNER],
        },
    ),
    "an adoptable one without saying so": change("adoptable", metadata={"labels": MANAGED}),
    "theirs, read": change("theirs"),
    "theirs, read as JSON patch": Attempt("secrets", "PATCH", "/api/v1/namespaces/{ns}/secrets/theirs", [], JSON_PATCH),
    "theirs, read as server-side apply": Attempt(
        "secrets", "PATCH", "/api/v1/namespaces/{ns}/secrets/theirs?fieldManager=x", THEIRS, APPLY
    ),
    "theirs, read by a dry run": Attempt("secrets", "PATCH", "/api/v1/namespaces/{ns}/secrets/theirs?dryRun=All", {}),
    "theirs, read by name": Attempt("roles", "GET", "/api/v1/namespaces/{ns}/secrets/theirs"),
    "a Helm release, read": change("sh.helm.release.v1.app.v1"),
    # The driver's own.
    "the label goes": change("ours", metadata={"labels": {"secrets-store.csi.k8s.io/managed": None}}),
    "the owners go": change("ours", metadata={"ownerReferences": []}),
    "another owner instead": change("ours", metadata={"ownerReferences": [{**OWNER, "uid": str(uuid.uuid4())}]}),
    "the only owner, a class, goes": change("of-a-class", metadata={"ownerReferences": []}),
    "the owner beside the class goes": change("of-both", metadata={"ownerReferences": [CLASS]}),
    "another class instead of the owner": change("ours", metadata={"ownerReferences": [CLASS]}),
    "a class becomes the controller": change(
        "of-both", metadata={"ownerReferences": [OWNER, {**CLASS, "controller": True}]}
    ),
    "an owner becomes the controller": change("ours", metadata={"ownerReferences": [{**OWNER, "controller": True}]}),
    "an owner of another group goes": change("of-others", metadata={"ownerReferences": [OWNER]}),
    "a second owner that is the controller": change(
        "ours", metadata={"ownerReferences": [OWNER, {**OWNER, "uid": str(uuid.uuid4()), "controller": True}]}
    ),
    "immutable": change("ours", immutable=True),
    "a finalizer": change("ours", metadata={"finalizers": ["example.org/never"]}),
    "another type": change("ours", "server", type="kubernetes.io/basic-auth"),
    "a token as its new type": change("ours", "server", type="kubernetes.io/service-account-token"),
    "a deletion": Attempt("roles", "DELETE", "/api/v1/namespaces/{ns}/secrets/ours"),
    "a replacement": Attempt("roles", "PUT", "/api/v1/namespaces/{ns}/secrets/ours", {}, "application/json"),
    "a list of Secrets": Attempt("roles", "GET", "/api/v1/secrets"),
    "a watch of Secrets": Attempt("roles", "GET", "/api/v1/namespaces/kube-system/secrets?watch=true"),
    # Pod statuses and events.
    "a pod status of another node": status(labels={NODE_LABEL: OTHER_NODE}),
    "a pod status of no node": status(),
    "a pod status without an owner": status(labels={NODE_LABEL: NODE}, ownerReferences=[]),
    "a pod status of another owner": status(labels={NODE_LABEL: NODE}, ownerReferences=[OWNER]),
    "a pod status with a finalizer": status(labels={NODE_LABEL: NODE}, finalizers=["example.org/never"]),
    "another node's pod status": Attempt("pod-statuses", "PATCH", STATUSES + "/theirs", {"status": {"mounted": False}}),
    "another node's pod status, taken": Attempt(
        "pod-statuses", "PATCH", STATUSES + "/theirs", {"metadata": {"labels": {NODE_LABEL: NODE}}}
    ),
    "a deletion of a pod status": Attempt("roles", "DELETE", STATUSES + "/theirs"),
    "an event on a node": event(kind="Node"),
    "an event of kubelet": event(component="kubelet"),
    "an event that kubelet reports": event(reportingComponent="kubelet", reportingInstance=NODE),
    "an event that nobody knows reports": event(reportingComponent="Secrets-Store-CSI-Driver", reportingInstance="x"),
    "an event of another node": event(host=OTHER_NODE),
    "somebody's event": Attempt("events", "PATCH", "/api/v1/namespaces/{ns}/events/theirs", {"message": "all is well"}),
    # Nodes.
    "another node's taint": node(OTHER_NODE, spec={"taints": [OTHER_TAINT]}),
    "another taint": node(spec={"taints": [TAINT]}),
    "all taints": node(spec={"taints": None}),
    "a new taint": node(spec={"taints": [TAINT, OTHER_TAINT, {"key": "new", "effect": "NoExecute"}]}),
    "a changed taint": node(spec={"taints": [TAINT, {**OTHER_TAINT, "effect": "NoExecute"}]}),
    "a node's label": node(metadata={"labels": {"node-role.kubernetes.io/control-plane": ""}}),
    "a cordoned node": node(spec={"unschedulable": True}),
    "a node's status": Attempt("roles", "PATCH", f"/api/v1/nodes/{NODE}/status", {"status": {"addresses": []}}),
    "a node's deletion": Attempt("roles", "DELETE", f"/api/v1/nodes/{OTHER_NODE}"),
    # Workloads.
    "another image": restart(template={"spec": {"containers": [{"name": "main", "image": "evil"}]}}),
    "another account": restart(template={"spec": {"serviceAccountName": "admin"}}),
    "a host's directory": restart(template={"spec": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}}),
    "a command in a workload": restart(
        template={"spec": {"containers": [{"name": "main", "image": "nothing", "command": ["sh"]}]}}
    ),
    "a template's label": restart(template={"metadata": {"labels": {"a": "b"}}}),
    "another annotation of a template": template_annotations(other="x"),
    "a changed annotation of a template": template_annotations(note="mine"),
    "a removed annotation of a template": template_annotations(note=None),
    "free text as content": template_annotations(**{CONTENT: "curl evil | sh"}),
    "a volume without its hash": template_annotations(**{CONTENT: f"secrets={HASH},other"}),
    "no content": template_annotations(**{CONTENT: None}),
    "a very long content": template_annotations(**{CONTENT: ",".join([f"secrets={HASH}"] * 300)}),
    "more pods": restart(replicas=100),
    "a paused workload": restart(paused=True),
    "another strategy": restart(strategy={"type": "Recreate", "rollingUpdate": None}),
    "a field of a workload less": restart(minReadySeconds=None),
    "a workload's label": restart({"labels": {"a": "b"}}),
    "a workload's annotation": restart({"annotations": {"a": "b"}}),
    "a workload's annotation, removed": restart({"annotations": {"note": None}}),
    "free text as time": restart({"annotations": {RESTARTED_AT: "soon"}}),
    "free text as the generation of a DaemonSet": restart(
        {"annotations": {"deprecated.daemonset.template.generation": "soon"}}
    ),
    "a generation of a StatefulSet": Attempt(
        "workloads",
        "PATCH",
        f"{APPS}/statefulsets/app",
        restart({"annotations": {"deprecated.daemonset.template.generation": "9"}}).body,
    ),
    "a workload's owner": restart({"ownerReferences": [OWNER]}),
    "a workload's finalizer": restart({"finalizers": ["example.org/never"]}),
    "a restart of a workload by other means": Attempt(
        "workloads",
        "PATCH",
        f"{APPS}/deployments/app",
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
    ),
    "another image of a StatefulSet": Attempt(
        "workloads",
        "PATCH",
        f"{APPS}/statefulsets/app",
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil"}]}}}},
    ),
    "another image of a DaemonSet": Attempt(
        "workloads",
        "PATCH",
        f"{APPS}/daemonsets/app",
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil"}]}}}},
    ),
    "a workload's size": Attempt("roles", "PATCH", f"{APPS}/deployments/app/scale", {"spec": {"replicas": 9}}),
    "a workload's status": Attempt("roles", "PATCH", f"{APPS}/deployments/app/status", {"status": {}}),
    "a new workload": create("roles", f"{APPS}/deployments", metadata={"name": "new"}),
    "a workload's deletion": Attempt("roles", "DELETE", f"{APPS}/deployments/app"),
    "a workload's size by server-side apply": Attempt(
        "workloads",
        "PATCH",
        f"{APPS}/deployments/app?fieldManager=x&force=true",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {"replicas": 7}},
        APPLY,
    ),
    "a ReplicaSet": Attempt("roles", "PATCH", f"{APPS}/replicasets/app", {"spec": {"replicas": 9}}),
    "a list of workloads": Attempt("roles", "GET", "/apis/apps/v1/deployments"),
    # Everything else.
    "its own token, by TokenRequest": create(
        "roles", "/api/v1/namespaces/{ns}/serviceaccounts/secrets-store-csi-driver/token"
    ),
    "kubelet's API": Attempt("roles", "GET", f"/api/v1/nodes/{NODE}/proxy/pods"),
    "a pod's log": Attempt("roles", "GET", "/api/v1/namespaces/{ns}/pods/the-driver/log"),
    "a pod's eviction": create("roles", "/api/v1/namespaces/{ns}/pods/the-driver/eviction"),
    "a container in a running pod": Attempt(
        "roles", "PATCH", "/api/v1/namespaces/{ns}/pods/the-driver/ephemeralcontainers", {}
    ),
    "a certificate": create(
        "roles", "/apis/certificates.k8s.io/v1/certificatesigningrequests", metadata={"name": "new"}
    ),
    "a part of the API": create("roles", "/apis/apiregistration.k8s.io/v1/apiservices", metadata={"name": "new"}),
    "a pod": create("roles", "/api/v1/namespaces/kube-system/pods", metadata={"name": "new"}),
    "a command in a pod": create("roles", "/api/v1/namespaces/{ns}/pods/the-driver/exec?command=sh"),
    "an administrator's name": Attempt(
        "roles", "GET", "/api/v1/secrets", headers=(("Impersonate-User", "system:admin"),)
    ),
    "more rights": create("roles", f"{RBAC}/clusterrolebindings", metadata={"name": "new"}),
    "a larger role": Attempt("roles", "PATCH", f"{RBAC}/clusterroles/secretprovidersyncing-role", {"rules": []}),
    "a policy": Attempt("roles", "DELETE", f"{POLICIES}/validatingadmissionpolicies/x"),
    "a policy's binding": Attempt("roles", "DELETE", f"{POLICIES}/validatingadmissionpolicybindings/x"),
    "a webhook": create("roles", f"{POLICIES}/mutatingwebhookconfigurations", metadata={"name": "new"}),
    "the CRD": Attempt("roles", "PATCH", CRD, {"spec": {"scope": "Cluster"}}),
    "a class": create("roles", CLASSES, metadata={"name": "new"}),
    "a driver's token requests": Attempt(
        "roles", "PATCH", "/apis/storage.k8s.io/v1/csidrivers/secrets-store.csi.k8s.io", {"spec": {}}
    ),
    "a namespace's label": Attempt("roles", "PATCH", "/api/v1/namespaces/{ns}", {"metadata": {"labels": {"a": "b"}}}),
}


@pytest.fixture(scope="module")
def stolen(cluster: ControlPlane) -> Iterator[Installed]:
    """The chart's account, its token, and somebody's objects in its namespace."""
    if build.GROUPS["helm"].missing:
        pytest.skip("no helm: make test-cluster builds it")
    namespace = cluster.namespace(f"stolen-{uuid.uuid4().hex[:6]}")
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in (NODE, OTHER_NODE)]
    for item in nodes:
        cluster.api.apply({**item, "spec": {"taints": [TAINT, OTHER_TAINT]}})
    for item in objects(namespace):
        cluster.api.create(_placed(cluster, item, namespace))
    with installed(cluster, namespace, *WITH_RESTARTS) as found:
        yield found
    for item in nodes:
        cluster.api.delete(cluster.api.path(item))
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")


def objects(namespace: str) -> list[Object]:
    """What is there before."""

    def made(kind: str, name: str, version: str = "v1", **metadata: Any) -> Object:
        return {"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name, **metadata}}

    ledger = '{"adopted":%s,"classes":{}}'
    group = "secrets-store.csi.x-k8s.io/v1"
    involved = {"kind": "Pod", "namespace": namespace, "name": "pod-1"}
    return [
        made("SecretProviderClass", "app", group),
        made("Secret", "theirs"),
        made("Secret", "adoptable", annotations={"secrets-store.csi.k8s.io/adopt": "true"}),
        made("Secret", "adopted", labels=MANAGED, annotations={LEDGER: ledger % "true"}),
        made("Secret", "ours", labels=MANAGED, annotations=OURS, ownerReferences=[OWNER]),
        made("Secret", "of-a-class", labels=MANAGED, annotations=OURS, ownerReferences=[CLASS]),
        made("Secret", "of-both", labels=MANAGED, annotations=OURS, ownerReferences=[OWNER, CLASS]),
        made("Secret", "of-others", labels=MANAGED, annotations=OURS, ownerReferences=[OWNER, OTHERS_CLASS]),
        {**made("Secret", "sh.helm.release.v1.app.v1"), "type": "helm.sh/release.v1"},
        made("SecretProviderClassPodStatus", "theirs", group, labels={NODE_LABEL: OTHER_NODE}),
        *workloads(namespace),
        {**made("Event", "theirs"), "involvedObject": involved, "source": {"component": "kubelet", "host": NODE}},
    ]


def workloads(namespace: str) -> list[Object]:
    """One of each kind, without pods."""
    app = deployment(namespace, "app")
    app["metadata"]["annotations"] = {"note": "theirs"}
    app["spec"]["minReadySeconds"] = 5
    without_replicas = {key: value for key, value in app["spec"].items() if key != "replicas"}
    # No node has this label.
    template = {**app["spec"]["template"]}
    template["spec"] = {**template["spec"], "nodeSelector": {"no": "node"}}
    return [
        app,
        {**app, "kind": "StatefulSet"},
        {**app, "kind": "DaemonSet", "spec": {**without_replicas, "template": template}},
    ]


def attempt(cluster: ControlPlane, api: Api, tried: Attempt, namespace: str) -> str:
    """Make the call; returns why it was refused, empty if it was not."""
    body = None if tried.body is None else _placed(cluster, tried.body, namespace)
    try:
        api.request(
            tried.method,
            tried.path.replace("{ns}", namespace),
            body,
            content_type=tried.content_type,
            headers=dict(tried.headers),
        )
    except ApiError as error:
        return str(error)
    return ""


def _placed(cluster: ControlPlane, body: Any, namespace: str) -> Any:
    """With the namespace, and the UIDs of what owns that which must not be collected: it, and its class."""
    owners = {"{uid}": f"/api/v1/namespaces/{namespace}", "{class}": CLASSES.replace("{ns}", namespace) + "/app"}
    text = json.dumps(body).replace("{ns}", namespace)
    for placeholder, path in owners.items():
        if placeholder in text:
            text = text.replace(placeholder, cluster.api.get(path)["metadata"]["uid"])
    return json.loads(text)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_refused(cluster: ControlPlane, stolen: Installed, name: str) -> None:
    """The call is refused, by the policy or the role that is meant to."""
    tried = ATTEMPTS[name]
    refusal = attempt(cluster, stolen.api, tried, stolen.namespace)
    if tried.refused_by == "server":
        assert refusal.startswith("422 "), refusal
    elif tried.refused_by == "roles":
        assert refusal.startswith("403 ") and "ValidatingAdmissionPolicy" not in refusal, refusal
    else:
        assert f"'{stolen.policy(tried.refused_by)}'" in refusal and refusal.startswith("403 "), refusal


def test_others_are_not_limited(cluster: ControlPlane, stolen: Installed) -> None:
    """An administrator may write all of this, and so may another account with the same rights."""
    assert attempt(cluster, cluster.api, ATTEMPTS["a Helm release"], stolen.namespace) == ""
    assert attempt(cluster, cluster.api, ATTEMPTS["their content"], stolen.namespace) == ""


@pytest.mark.parametrize("plural", ["deployments", "statefulsets", "daemonsets"])
def test_a_restart_is_all_that_is_left(cluster: ControlPlane, stolen: Installed, plural: str) -> None:
    """The driver's own two annotations are accepted, in each kind of workload: whoever has the token can restart it."""
    tried = Attempt("", "PATCH", f"{APPS}/{plural}/app", RESTART)
    assert attempt(cluster, stolen.api, tried, stolen.namespace) == ""
