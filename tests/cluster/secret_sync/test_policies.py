"""The controller with the chart's admission policies in force: its work succeeds, and what they refuse is a condition
with the API server's own text."""

import pytest

from driver.secretsync import schedule
from tests.cluster.secret_sync import policies
from tests.cluster.secret_sync.policies import PREFIX, refused_by
from tests.cluster.secret_sync.rig import RULES, SecretSyncRig
from tests.cluster.test_chart import normal, rules_of
from tests.support.waiting import run_async, until_blocking

pytestmark = pytest.mark.usefixtures("policies_in_force")


def test_rights_are_the_minimum() -> None:
    """The chart grants exactly the rights that the tests' account has; those for the Lease in its own
    namespace only."""
    found = policies.rendered()
    lease = "coordination.k8s.io"
    cluster_wide = [rule for rule in RULES if lease not in rule["apiGroups"]]
    assert rules_of(found, "ClusterRole", f"{PREFIX}manager-role") == normal(cluster_wide)
    rules = rules_of(found, "Role", f"{PREFIX}leader-election-role")
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "create", "update"}
    assert {group for rule in rules for group in rule["apiGroups"]} == {lease}


def test_all_of_its_work(sync_rig: SecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Secret is created with a token, changed by force, deleted and edited by others and repaired, and a failure is
    an event → no call is refused, and every right is used."""
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 0.1)
    sync_rig.make_sync()
    sync_rig.make_sync("no-class", secretProviderClassName="none")
    path = sync_rig.path("secrets", "app")
    mark = sync_rig.cluster.audit.mark()

    async def test() -> None:
        audiences = {"token_request_audience": policies.AUDIENCES, "leader_elect": True}
        async with sync_rig.provider() as stub, sync_rig.controller(**audiences):
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            stub.put("password", "n3w")
            sync_rig.make_sync(forceSynchronization="1")
            await sync_rig.until_secret({"pw": b"n3w"})
            sync_rig.api.delete(path)
            await sync_rig.until_secret({"pw": b"n3w"})
            sync_rig.api.patch(path, {"data": {"pw": "eA==", "more": "eA=="}})
            await until_blocking(lambda: (sync_rig.secret("app") or {})["data"]["pw"] == "bjN3", "the repair")
            await sync_rig.until_condition("SecretUpdated", "SecretUpToDate")
            await until_blocking(lambda: sync_rig.events("SecretProviderClassMisconfigured"), "an event")

    run_async(test)
    calls = sync_rig.cluster.audit.calls(mark, sync_rig.user)
    assert [call for call in calls if call.status in (403, 422)] == []
    used = {(call.verb, call.resource) for call in calls}
    assert {("patch", "secrets"), ("create", "serviceaccounts/token"), ("create", "events")} <= used
    assert not [call for call in used if call[1] == "secrets" and call[0] != "patch"]


@pytest.mark.parametrize(
    "kind, policy, sentence",
    [
        (
            "example.org/license",
            "create-update-policy",
            "The controller can only create or update secrets in the allowed types list with a single secretsync "
            "owner.",
        ),
        (
            "kubernetes.io/service-account-token",
            "create-update-token-deny-policy",
            "The controller is not allowed to create or update secrets with this type.",
        ),
        (
            "bootstrap.kubernetes.io/token",
            "create-update-token-deny-policy",
            "The controller is not allowed to create or update secrets with this type.",
        ),
    ],
)
def test_a_type_that_is_refused(sync_rig: SecretSyncRig, kind: str, policy: str, sentence: str) -> None:
    """A type that is not allowed, or is denied → the condition has the API server's text, word by word, and there is no
    Secret; the others are synced."""
    annotations = {"kubernetes.io/service-account.name": "default"}
    sync_rig.make_sync(secret={"type": kind, "annotations": annotations})
    sync_rig.make_sync("good")
    text = (
        f'failed to patch secret "app": secrets "app" is forbidden: {refused_by(policy)}'
        f"secrets-store-sync-controller has failed to CREATE secret with {kind} type in the "
        f"{sync_rig.namespace} namespace. {sentence}"
    )

    async def test() -> None:
        async with sync_rig.provider(), sync_rig.controller():
            found = await sync_rig.until_condition("SecretCreated", "ControllerPatchError")
            assert found["status"] == "False" and found["message"] == text
            assert sync_rig.secret("app") is None
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful", "good")

    run_async(test)


def test_a_foreign_secret_is_refused_by_the_policies(sync_rig: SecretSyncRig) -> None:
    """A Secret of that name is somebody else's → the question whose it is is refused already, and the condition has the
    text with which the API server refuses the write."""
    metadata = {"namespace": sync_rig.namespace, "name": "app"}
    sync_rig.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"mine": "x"}})
    sync_rig.make_sync()

    async def test() -> None:
        mark = sync_rig.cluster.audit.mark()
        async with sync_rig.provider(), sync_rig.controller():
            found = await sync_rig.until_condition("SecretCreated", "ControllerPatchError")
            beginning = 'failed to patch secret "app": secrets "app" is forbidden: ValidatingAdmissionPolicy'
            assert found["message"].startswith(f"{beginning} '{PREFIX}"), found["message"]
        calls = sync_rig.cluster.audit.calls(mark, sync_rig.user)
        assert {call.status for call in calls if call.resource == "secrets"} == {403}

    run_async(test)
