"""Secrets that cannot be synced: an event says what to do, and the other Secrets are synced."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import grpc
import pytest

from driver.cluster.statuses import written_status
from tests.cluster.api import ApiError, Object
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import BASE_RULES, SYNC_RULES, ClusterRig, grant, may
from tests.support.fake_api.faults import Answer
from tests.support.namespace_rig import CLASS_GROUP
from tests.support.rig import Volume
from tests.support.syncing import ENTRY, values
from tests.support.waiting import run_async, until, until_blocking, wait_until

BAD: dict[str, tuple[Object, str]] = {
    "no such file": ({"data": [{"objectName": "nothing", "key": "k"}]}, "file matching objectName nothing not found"),
    "no type": ({"type": ""}, "secret type is empty"),
    "no data": ({"data": []}, "data is empty"),
    "a bad key": ({"data": [{"objectName": "password", "key": "a b"}]}, "key a b must be"),
    "a bad name": ({"secretName": "Not_DNS"}, "secretName must be a DNS name"),
    "a bad label": ({"labels": {"a": "not a label"}}, "422 Invalid (metadata.labels)"),
    "the cluster's own": ({"type": "kubernetes.io/service-account-token"}, "is refused"),
    "the cluster's token": ({"type": "bootstrap.kubernetes.io/token"}, "is refused"),
    "not what its type needs": ({"type": "kubernetes.io/dockerconfigjson"}, "422 Invalid (data[.dockerconfigjson])"),
    "no certificate": (
        {"type": "kubernetes.io/tls", "data": [{"objectName": "password", "key": "tls.crt"}]},
        "no certificate",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_entry_does_not_stop_the_others(cluster_rig: ClusterRig, case: str) -> None:
    """One of two entries is bad → a Warning event says what is wrong, the publish succeeds, the other Secret exists."""
    change, sentence = BAD[case]
    cluster_rig.make_class(secretObjects=[{**ENTRY, "secretName": "bad", **change}, ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            assert values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert sentence in event["message"] and "s3cret" not in event["message"], event["message"]
            assert event["involvedObject"]["name"] == pod.name and event["type"] == "Warning"
            assert cluster_rig.secret("bad") is None

    run_async(test)


@pytest.mark.parametrize(
    "secret, sentence",
    [
        ({"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}, "cannot be changed"),
        ({"immutable": True, "stringData": {"pw": "old"}}, "is immutable"),
    ],
)
def test_unchangeable_secret(cluster_rig: ClusterRig, secret: Object, sentence: str) -> None:
    """A Secret of another type, or an immutable one → an event says what to do, and the Secret stays as it is; it is
    deleted → it is recreated, with a Normal event."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    cluster_rig.make_adoptable_secret(**secret)
    before = cluster_rig.secret("synced")
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert sentence in event["message"] and "delete the Secret" in event["message"]
            assert cluster_rig.secret("synced") == before
            cluster_rig.api.delete(cluster_rig.path("secrets", "synced"))
            await until_blocking(lambda: values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}, "the Secret")
            await until_blocking(lambda: cluster_rig.events("SyncedSecret"), "the event of the recovery")

    run_async(test)


def test_without_the_right(cluster_rig: ClusterRig) -> None:
    """The rights for Secrets are missing, as without syncSecret.enabled → the publish succeeds, the event names the
    chart's value; they are granted → the Secret is created."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()
    grant(cluster_rig.cluster, cluster_rig.namespace, BASE_RULES)

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert "syncSecret.enabled=true" in event["message"]
            grant(cluster_rig.cluster, cluster_rig.namespace, cluster_rig.rules)
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret")

    run_async(test)


def test_refused_by_a_policy(cluster_rig: ClusterRig) -> None:
    """A ValidatingAdmissionPolicy refuses the Secret → the event names the policy without its message, which may quote
    the secret."""
    group = "admissionregistration.k8s.io"
    name = f"no-secrets-{cluster_rig.namespace}"
    cluster_rig.api.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
                    ]
                },
                "validations": [{"expression": "false", "messageExpression": "'not ' + string(object.data.pw)"}],
            },
        }
    )
    cluster_rig.api.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster_rig.namespace}}
                },
            },
        }
    )
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    def refuses() -> bool:
        try:
            cluster_rig.api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "data": {"pw": "eA=="},
                    "metadata": {"namespace": cluster_rig.namespace, "name": "probe"},
                },
                dryRun="All",
            )
        except ApiError:
            return True
        return False

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert name in event["message"] and "czNjcmV0" not in event["message"], event["message"]

    try:
        wait_until(refuses, "the policy to take effect")
        run_async(test)
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            cluster_rig.api.delete(f"/apis/{group}/v1/{kind}/{name}")


def test_refused_by_a_webhook(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """An admission webhook refuses the Secret → the event names the webhook, not missing rights, and quotes nothing of
    it."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()
    refusal = Answer(403, message='admission webhook "policy.example" denied the request: s3cret is no password')

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            proxy.on("POST", r"/secrets$", refusal)
            await cluster_rig.volume(rig, pod).publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert 'admission webhook "policy.example"' in event["message"], event["message"]
            assert "syncSecret" not in event["message"] and "s3cret" not in event["message"]

    run_async(test)


@contextlib.contextmanager
def webhook_away(cluster_rig: ClusterRig, group: str, resource: str) -> Iterator[Callable[[], None]]:
    """The API server cannot call a webhook for objects that are created; yields what removes the webhook."""
    name = f"away-{cluster_rig.namespace}"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    webhook = {
        "name": "away.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster_rig.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    configuration = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": name}, "webhooks": [webhook]}
    cluster_rig.api.create({"apiVersion": "admissionregistration.k8s.io/v1", **configuration})

    def remove() -> None:
        with contextlib.suppress(ApiError):
            path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
            cluster_rig.api.delete(f"{path}/{name}")

    def fails() -> bool:
        probe = {"metadata": {"namespace": cluster_rig.namespace, "name": "probe"}}
        kind = "Secret" if resource == "secrets" else "SecretProviderClassPodStatus"
        version = f"{group}/v1".lstrip("/")
        try:
            cluster_rig.api.create({"apiVersion": version, "kind": kind, **probe}, dryRun="All")
        except ApiError:
            return True
        return False

    try:
        wait_until(fails, "the webhook to take effect")
        yield remove
    finally:
        remove()


def test_a_webhook_that_is_away(cluster_rig: ClusterRig) -> None:
    """The API server cannot call a webhook for Secrets → the publish succeeds, and an event names the webhook; it is
    removed → the Secret is created."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test(remove: Callable[[], None]) -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            (event,) = await until_blocking(lambda: cluster_rig.events("FailedToCreateSecret"), "the event")
            assert '(failed calling webhook "away.example.com")' in event["message"], event["message"]
            remove()
            await until_blocking(lambda: values(cluster_rig.secret("synced")) == {"pw": b"s3cret"}, "the Secret")

    with webhook_away(cluster_rig, "", "secrets") as remove:
        run_async(partial(test, remove))


def test_a_webhook_of_pod_statuses_that_is_away(cluster_rig: ClusterRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for pod statuses → the publish fails, and its sentence names the webhook; it is removed → the next one
    succeeds."""
    monkeypatch.setattr(written_status, "WEBHOOK_SECONDS", 1.0)
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test(remove: Callable[[], None]) -> None:
        async with cluster_rig.driver() as rig:
            volume = cluster_rig.volume(rig, pod)
            code, sentence = await volume.failure()
            assert code.name == "UNAVAILABLE" and '(failed calling webhook "away.example.com")' in sentence, sentence
            remove()
            await until(partial(published, volume), "a publish that succeeds")

    async def published(volume: Volume) -> bool:
        try:
            await volume.publish()
        except grpc.aio.AioRpcError:  # the API server has not noticed yet
            return False
        return True

    with webhook_away(cluster_rig, CLASS_GROUP, "secretproviderclasspodstatuses") as remove:
        run_async(partial(test, remove))


def test_rights_in_named_namespaces_only(cluster_rig: ClusterRig) -> None:
    """A Role in one namespace instead of the ClusterRole → it works there; elsewhere the event says what to do."""
    grant(cluster_rig.cluster, cluster_rig.namespace, BASE_RULES)
    group = "rbac.authorization.k8s.io"
    metadata = {"namespace": cluster_rig.namespace, "name": "sync"}
    cluster_rig.api.apply({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": SYNC_RULES})
    cluster_rig.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "sync"},
            "subjects": [{"kind": "ServiceAccount", "namespace": cluster_rig.namespace, "name": "driver"}],
        }
    )
    wait_until(
        lambda: may(cluster_rig.cluster, cluster_rig.user, SYNC_RULES[1], cluster_rig.namespace),
        "the Role to take effect",
    )
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()
    other = ClusterRig(
        cluster_rig.cluster,
        cluster_rig.cluster.namespace(f"{cluster_rig.namespace}-2"),
        cluster_rig.directory,
        BASE_RULES,
    )
    other.make_class(secretObjects=[ENTRY])
    stranger = other.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.volume(rig, pod).publish()
            await other.volume(rig, stranger).publish()
            assert values(cluster_rig.secret("synced")) == {"pw": b"s3cret"} and other.secret("synced") is None
            (event,) = await until_blocking(lambda: other.events("FailedToCreateSecret"), "the event")
            assert "syncSecret.namespaces" in event["message"] and other.namespace in event["message"]

    run_async(test)
    cluster_rig.api.delete(f"/api/v1/namespaces/{other.namespace}")
