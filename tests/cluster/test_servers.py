"""The control plane itself: if these tests fail, no other result of this folder means anything."""

import datetime
import json
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from tests.cluster import build
from tests.cluster.api import Api, ApiError, Object
from tests.cluster.audit import service_account
from tests.cluster.commands import Settings
from tests.cluster.servers import ControlPlane
from tests.support.waiting import wait_until


def test_the_api_server_has_the_pinned_version(cluster: ControlPlane) -> None:
    """The API server is ready and reports the version of go.mod, which the linker has set."""
    assert cluster.api.get("/readyz") == {"text": "ok"}
    assert cluster.api.get("/version")["gitVersion"] == build.GROUPS["apiserver"].version


def test_a_service_account_is_who_its_token_says(cluster: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """kubectl uses a kubeconfig with a service account's token → the API server knows the account."""
    cluster.service_account(namespace, "driver")
    config = cluster.token_kubeconfig(tmp_path / "kubeconfig", namespace, "driver")
    done = subprocess.run(
        [build.path("kubectl"), "--kubeconfig", config, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == service_account(namespace, "driver")


def test_rbac_is_enforced(cluster: ControlPlane, namespace: str) -> None:
    """A service account without a role lists Secrets → refused; with a role for just that → allowed."""
    cluster.service_account(namespace, "driver")
    driver = cluster.api_as(namespace, "driver")
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    with pytest.raises(ApiError) as refused:
        driver.get(secrets)
    assert refused.value.status == 403
    metadata = {"namespace": namespace, "name": "lists-secrets"}
    group = "rbac.authorization.k8s.io"
    cluster.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
        }
    )
    cluster.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "lists-secrets"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "driver"}],
        }
    )

    def is_allowed() -> bool:
        try:
            return bool(driver.get(secrets)["items"] == [])
        except ApiError:  # the authorizer learns of a new role by its own watch
            return False

    wait_until(is_allowed, "the role to take effect")


def test_calls_are_counted_by_user_verb_and_resource(cluster: ControlPlane, namespace: str) -> None:
    """Two reads and a refused write of one account, among calls of others → exactly these three are counted for it."""
    cluster.service_account(namespace, "driver")
    driver = cluster.api_as(namespace, "driver")
    mark = cluster.audit.mark()
    for path in ("pods/a", "pods/b"):
        assert pytest.raises(ApiError, driver.get, f"/api/v1/namespaces/{namespace}/{path}").value.status == 403
    cluster.api.get(f"/api/v1/namespaces/{namespace}/pods")
    status = f"/api/v1/namespaces/{namespace}/pods/a/status"
    assert pytest.raises(ApiError, driver.patch, status, {}).value.status == 403
    user = service_account(namespace, "driver")
    assert cluster.audit.count(mark, user) == {("get", "pods"): 2, ("patch", "pods/status"): 1}
    everybody = cluster.audit.count_by_user(mark)
    assert everybody[user, "get", "pods"] == 2
    assert everybody["tests-admin", "list", "pods"] == 1


def test_an_open_watch_is_counted_once(cluster: ControlPlane, namespace: str) -> None:
    """A watch is opened, and later ends → one call both times."""
    mark = cluster.audit.mark()
    watch = cluster.api.open(f"/api/v1/namespaces/{namespace}/configmaps", watch="true", timeoutSeconds="1")
    assert cluster.audit.count(mark) == {("watch", "configmaps"): 1}
    watch.read()
    assert cluster.audit.count(mark) == {("watch", "configmaps"): 1}


def test_a_secret_goes_with_its_last_owner(cluster: ControlPlane, namespace: str) -> None:
    """The pod that owns a Secret is deleted → the garbage collector deletes the Secret."""
    pod = cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": namespace, "name": "owner"},
            "spec": {"containers": [{"name": "main", "image": "nothing"}], "nodeName": "nowhere"},
        }
    )
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": pod["metadata"]["uid"]}
    secret = {"namespace": namespace, "name": "owned", "ownerReferences": [owner]}
    path = cluster.api.path(cluster.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": secret}))
    cluster.api.delete(cluster.api.path(pod))
    cluster.api.until(path, lambda found: found is None)


def test_an_outage_ends_ready(cluster: ControlPlane, namespace: str) -> None:
    """The API server is killed, from a thread that ends → calls fail meanwhile, and afterwards nothing is lost."""

    def interrupt() -> None:
        with cluster.outage(), pytest.raises(OSError):
            cluster.api.get("/version")

    with ThreadPoolExecutor(1) as workers:
        workers.submit(interrupt).result()
    cluster.api_server.check()
    assert cluster.api.find(f"/api/v1/namespaces/{namespace}") is not None


def test_a_frozen_server_does_not_answer(cluster: ControlPlane) -> None:
    """The API server is stopped (SIGSTOP) → a call times out, no connection is refused; afterwards it answers."""
    impatient = Api(cluster.url, cluster.client_context(), timeout=0.3)
    with cluster.frozen(), pytest.raises(TimeoutError):
        impatient.get("/version")
    assert impatient.get("/version")["major"] == "1"


def test_an_expired_client_certificate_is_refused(cluster: ControlPlane) -> None:
    """A client certificate of the right CA expired a minute ago → 401."""
    expired = cluster.authority.client("late", ["system:masters"], datetime.timedelta(minutes=-1))
    late = Api(cluster.url, cluster.client_context(expired))
    assert pytest.raises(ApiError, late.get, "/api/v1/namespaces").value.status == 401


def test_a_bound_token_dies_with_its_secret(cluster: ControlPlane, namespace: str) -> None:
    """A token is bound to a Secret → it works; the Secret is deleted → it is refused."""
    cluster.service_account(namespace, "driver")
    secret = cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": namespace, "name": "life"},
        }
    )
    token = cluster.token(
        namespace,
        "driver",
        bound_to={
            "apiVersion": "v1",
            "kind": "Secret",
            "name": "life",
            "uid": secret["metadata"]["uid"],
        },
    )
    driver = Api(cluster.url, cluster.client_context(), token)
    whoami: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    assert driver.create(whoami)["status"]["userInfo"]["username"] == service_account(namespace, "driver")
    cluster.api.delete(cluster.api.path(secret))
    wait_until(lambda: _status(driver, whoami) == 401, "the token to be refused")


CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.tests.example.com"},
    "spec": {
        "group": "tests.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def other_cluster(cluster_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Another control plane, with a CA without keyUsage and a CRD from the start."""
    directory = tmp_path_factory.mktemp("other")
    manifest = directory / "crd.json"
    manifest.write_text(json.dumps(CRD))
    with ControlPlane(directory, Settings(lax_ca=True, manifests=(manifest,))) as running:
        yield running


def test_a_ca_without_key_usage_serves_go_and_us(other_cluster: ControlPlane) -> None:
    """The CA has no keyUsage → the control plane starts; kubectl and a TLS context that is not strict accept it."""
    assert other_cluster.kubectl("get", "--raw", "/readyz") == "ok"
    assert not other_cluster.client_context().verify_flags & ssl.VERIFY_X509_STRICT
    ca = x509.load_pem_x509_certificate(other_cluster.ca)
    assert [extension.oid for extension in ca.extensions] == [ExtensionOID.BASIC_CONSTRAINTS]


def test_a_custom_object_goes_with_its_owner(other_cluster: ControlPlane) -> None:
    """The CRD existed before the controller manager → an object of it is collected with its owner within seconds."""
    metadata = {"namespace": "default", "name": "owner"}
    owner = other_cluster.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    thing = other_cluster.api.create(
        {
            "apiVersion": "tests.example.com/v1",
            "kind": "Thing",
            "metadata": {"namespace": "default", "name": "owned", "ownerReferences": [reference]},
        }
    )
    other_cluster.api.delete(other_cluster.api.path(owner))
    other_cluster.api.until(other_cluster.api.path(thing), lambda found: found is None, seconds=15)


def _status(api: Api, body: Object) -> int:
    try:
        api.create(body)
    except ApiError as error:
        return error.status
    return 201
