"""One Secret is created, patched or left alone, also while others write it; each rejection says what to do."""

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from driver.cluster.api import Api
from driver.cluster.secrets import SecretWriter
from driver.cluster.statuses import StatusStore
from driver.ports import Pod
from driver.sync.merge import Owner
from driver.sync.wanted import Wanted
from runtime.errors import Aborted, Failure, PermissionDenied, PreconditionFailed
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, ApiError, Object
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import DRIVER, NODE

WANTED = Wanted("default", "synced", "Opaque", "app", {"pw": b"v1"}, {"team": "a"}, {"note": "b"}, 1000.0)
OWNERS = [Owner("apps/v1", "ReplicaSet", "web", "uid-1")]
Test = Callable[[SecretWriter, StatusStore], Coroutine[Any, Any, None]]


def run_writer(rig: FakeApiRig, test: Test) -> None:
    """Run a test with a writer."""

    async def with_writer(api: Api) -> None:
        store = StatusStore(api, NODE, DRIVER)
        await test(SecretWriter(api, store), store)

    run(rig.kubeconfig(), with_writer)


def secret(rig: FakeApiRig) -> Object:
    """The Secret, which must exist."""
    found = rig.secret("synced")
    assert found is not None
    return found


def owner_uids(rig: FakeApiRig) -> list[str]:
    """The UIDs of the Secret's owners."""
    return [item["uid"] for item in secret(rig)["metadata"].get("ownerReferences") or ()]


CANNOT_OWN = Answer(403, message="secrets is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>")
POLICY = Answer(422, message="ValidatingAdmissionPolicy 'owners' with binding 'owners' denied request: no")


@pytest.mark.parametrize("refusal", [CANNOT_OWN, POLICY], ids=["strict owners", "a policy"])
@pytest.mark.parametrize("drift", [True, False], ids=["content too", "owners only"])
def test_refused_owners(rig: FakeApiRig, refusal: Answer, drift: bool) -> None:
    """Another owner is refused → what else has changed is written all the same, and the outcome says what to do."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        await writer.ensure(WANTED, OWNERS)
        rig.server.on("PATCH", "secrets", refusal, times=1)
        wanted = replace(WANTED, data={"pw": b"v2"}, last_refresh=2000.0) if drift else WANTED
        outcome = await writer.ensure(wanted, [*OWNERS, replace(OWNERS[0], uid="uid-2")])
        assert outcome.owners_refused and outcome.written is drift
        assert secret(rig)["data"] == {"pw": "djI=" if drift else "djE="} and owner_uids(rig) == ["uid-1"]
        assert rig.count()["patch", "secrets"] == (2 if drift else 1)
        assert not (await writer.ensure(wanted, [*OWNERS, replace(OWNERS[0], uid="uid-2")])).owners_refused
        assert owner_uids(rig) == ["uid-1", "uid-2"]

    run_writer(rig, test)


@pytest.mark.parametrize("message", ["User cannot patch resource", CANNOT_OWN.message], ids=["rights", "owners"])
def test_what_is_refused_without_owners_too(rig: FakeApiRig, message: str) -> None:
    """The rights to patch are missing, or a patch without owners is refused → a failure, as ever."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        await writer.ensure(WANTED, OWNERS)
        rig.server.on("PATCH", "secrets", Answer(403, message=message))
        more = OWNERS if message == CANNOT_OWN.message else [*OWNERS, replace(OWNERS[0], uid="uid-2")]
        with pytest.raises(PermissionDenied):
            await writer.ensure(replace(WANTED, data={"pw": b"v2"}, last_refresh=2000.0), more)
        assert rig.count()["patch", "secrets"] == 1

    run_writer(rig, test)


def test_create_and_patch(rig: FakeApiRig) -> None:
    """Write a new Secret → GET and POST. Again → GET only. After drift of data, labels and owners → one PATCH that
    keeps what others added."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        assert (await writer.ensure(WANTED, OWNERS)).written
        made = secret(rig)
        assert {key: b64decode(value) for key, value in made["data"].items()} == {"pw": b"v1"}
        labels = made["metadata"]["labels"]
        assert labels == {"team": "a", "secrets-store.csi.k8s.io/managed": "true"} and owner_uids(rig) == ["uid-1"]
        assert not (await writer.ensure(WANTED, OWNERS)).written
        assert rig.count() == {("get", "secrets"): 2, ("create", "secrets"): 1}
        rig.api.patch(rig.path("secrets", "synced"), {"data": {"pw": "eA==", "own": "eA=="}})
        rig.api.patch(rig.path("secrets", "synced"), {"metadata": {"labels": {"team": None, "own": "x"}}})
        assert (await writer.ensure(WANTED, [*OWNERS, replace(OWNERS[0], uid="uid-2")])).written
        assert secret(rig)["data"] == {"pw": "djE=", "own": "eA=="} and owner_uids(rig) == ["uid-1", "uid-2"]
        assert secret(rig)["metadata"]["labels"] == {**labels, "own": "x"}

    run_writer(rig, test)


def test_foreign_secret(rig: FakeApiRig) -> None:
    """The Secret exists without our label → it is adopted: its keys stay and it gets no owner. Another class writes the
    same key → it is reported as taken."""
    rig.make_adoptable_secret(data={"own": "eA=="})

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        assert (await writer.ensure(WANTED, OWNERS)).adopted
        assert secret(rig)["data"] == {"own": "eA==", "pw": "djE="} and owner_uids(rig) == []
        outcome = await writer.ensure(replace(WANTED, class_name="other", data={"pw": b"v2"}), OWNERS)
        assert list(outcome.taken) == [("pw", "app")] and not outcome.adopted

    run_writer(rig, test)


def test_concurrent_writers(rig: FakeApiRig) -> None:
    """Five writers create the Secret concurrently → it has the owners of all, and no writer fails."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        owners = [[replace(OWNERS[0], uid=f"uid-{number}")] for number in range(5)]
        await asyncio.gather(*(writer.ensure(WANTED, mine) for mine in owners))
        assert sorted(owner_uids(rig)) == [f"uid-{number}" for number in range(5)]

    run_writer(rig, test)


@pytest.mark.parametrize(("method", "status"), [("POST", 409), ("PATCH", 409), ("PATCH", 404)])
def test_conflict(rig: FakeApiRig, method: str, status: int) -> None:
    """The write gets a 409, or a 404 because the Secret was deleted → it is read again and written."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        if method == "PATCH":
            await writer.ensure(WANTED, OWNERS)
        rule = rig.server.on(method, "secrets", Answer(status), times=2)
        await writer.ensure(replace(WANTED, data={"pw": b"v2"}, last_refresh=2000.0), OWNERS)
        assert rule.hits == 2 and secret(rig)["data"] == {"pw": "djI="}

    run_writer(rig, test)


def test_endless_conflicts(rig: FakeApiRig) -> None:
    """Each write gets a 409 → Aborted after some tries; nothing is written."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        rule = rig.server.on("POST", "secrets", Answer(409))
        with pytest.raises(Aborted, match="default/synced"):
            await writer.ensure(WANTED, OWNERS)
        assert rule.hits == 8 and rig.secret("synced") is None

    run_writer(rig, test)


REFUSALS: dict[str, tuple[ApiError, type[Failure], str]] = {
    "no right": (ApiError(403, 'secrets is forbidden: User "x" cannot create'), PermissionDenied, "syncSecret.enabled"),
    "quota": (ApiError(403, "secrets is forbidden: exceeded quota: q"), PermissionDenied, "raise the quota"),
    "a webhook": (
        ApiError(403, 'admission webhook "w.example" denied the request: s3cret'),
        PermissionDenied,
        'admission webhook "w.example"',
    ),
    "invalid": (ApiError(422, "s3cret", fields=["data[x]"]), PreconditionFailed, r"data\[x\].*class app"),
    "too large": (ApiError(413, "s3cret"), PreconditionFailed, "spec.secretObjects of class app"),
}


@pytest.mark.parametrize(("error", "expected", "sentence"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_rejected_writes(rig: FakeApiRig, method: str, error: ApiError, expected: type[Failure], sentence: str) -> None:
    """The server rejects the write → a Failure that says what to do and does not quote the object; no retry."""

    def refuse(_: Any) -> None:
        raise error

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        if method == "PATCH":
            await writer.ensure(WANTED, OWNERS)
        rig.server.admit("secrets", refuse)
        mark = rig.server.calls.mark()
        with pytest.raises(expected, match=sentence) as raised:
            await writer.ensure(replace(WANTED, data={"pw": b"v2"}, last_refresh=2000.0), OWNERS)
        assert "s3cret" not in str(raised.value) and len(rig.server.calls.calls(mark)) == 2

    run_writer(rig, test)


@pytest.mark.parametrize("resource", ["secrets", "pods"])
def test_forbidden_reads(rig: FakeApiRig, resource: str) -> None:
    """A permission for syncing is missing → PermissionDenied that says how to grant it."""
    pod = rig.make_pod()

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        rig.server.on("GET", resource, Answer(403))
        with pytest.raises(PermissionDenied, match="syncSecret.enabled=true"):
            await (writer.owners(pod, "/target") if resource == "pods" else writer.ensure(WANTED, OWNERS))

    run_writer(rig, test)


def test_owners_of_a_pod(rig: FakeApiRig) -> None:
    """A controlled pod → its controller. A bare pod → its pod status, once it is written. A pod that is gone, replaced
    or being deleted → None."""
    controlled = rig.make_pod("web-1", [rig.make_owner()])
    bare, going = rig.make_pod("bare"), rig.make_pod("going")
    rig.api.patch(rig.path("pods", "going"), {"metadata": {"finalizers": ["example.com/x"]}})
    rig.api.delete(rig.path("pods", "going"))

    async def test(writer: SecretWriter, store: StatusStore) -> None:
        (owner,) = await writer.owners(controlled, "/a") or ()
        assert (owner.kind, owner.name) == ("ConfigMap", "owner")
        record = rig.record(bare)
        asking = asyncio.create_task(writer.owners(bare, record.target_path))
        await store.record(record)
        (owner,) = await asking or ()
        status = rig.api.get(rig.status_path("bare"))["metadata"]
        assert (owner.kind, owner.uid) == ("SecretProviderClassPodStatus", status["uid"])
        for pod in (going, replace(controlled, uid="another"), Pod(rig.namespace, "gone", "uid")):
            assert await writer.owners(pod, "/a") is None

    run_writer(rig, test)
