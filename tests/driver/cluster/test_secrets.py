"""One Secret is created, patched or left alone, also while others write it; each rejection says what to do."""

import asyncio
import json
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from driver.cluster.api import Api
from driver.cluster.secrets import SecretWriter
from driver.cluster.statuses.store import StatusStore
from driver.objects import GROUP_VERSION, pod_status
from driver.ports import ClassRef, Pod
from driver.sync.jobs import Member
from driver.sync.merge import LEDGER
from driver.sync.owners import NoOwnerYet, Owners, PodsGone
from driver.sync.references import Owner
from driver.sync.wanted import Wanted
from runtime import clock
from runtime.errors import Aborted, Failure, PermissionDenied, PreconditionFailed, Unavailable
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, ApiError, Object
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import DRIVER, NODE

WANTED = Wanted("default", "synced", "Opaque", "app", {"pw": b"v1"}, {"team": "a"}, {"note": "b"}, None, "content")
OWNERS = [Owner("apps/v1", "ReplicaSet", "web", "uid-1")]
Test = Callable[[SecretWriter, StatusStore], Coroutine[Any, Any, None]]


class Pods:
    """Pods with a volume of the class, whose owners can change; ``reads`` counts how often each was read."""

    def __init__(self, *owners: Sequence[Owner]) -> None:
        self.of: dict[int, Sequence[Owner] | None] = dict(enumerate(owners))
        self.reads = Counter[int]()
        pods = [Pod("default", str(number), "uid") for number in self.of]
        self.members = [Member(pod, ClassRef("default", "app"), f"/{pod.name}", None) for pod in pods]

    async def read(self, pod: Pod, _: str) -> Sequence[Owner] | None:
        """The owners of one pod, now."""
        self.reads[int(pod.name)] += 1
        return self.of[int(pod.name)]

    def run(self) -> Owners:
        """For one run of the job."""
        return Owners(self.members, self.read)


def owned(*owners: Owner) -> Owners:
    """The owners of one pod."""
    return Pods(owners or OWNERS).run()


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
        await writer.ensure(WANTED, owned())
        rig.server.on("PATCH", "secrets", refusal, times=1)
        wanted = replace(WANTED, data={"pw": b"v2"}, refreshed_at=clock.now()) if drift else WANTED
        outcome = await writer.ensure(wanted, owned(*OWNERS, OWNERS[0]._replace(uid="uid-2")))
        assert outcome.owners_refused and outcome.written is drift
        assert secret(rig)["data"] == {"pw": "djI=" if drift else "djE="} and owner_uids(rig) == ["uid-1"]
        assert rig.count()["patch", "secrets"] == (2 if drift else 1)
        assert not (await writer.ensure(wanted, owned(*OWNERS, OWNERS[0]._replace(uid="uid-2")))).owners_refused
        assert owner_uids(rig) == ["uid-1", "uid-2"]

    run_writer(rig, test)


@pytest.mark.parametrize("message", ["User cannot patch resource", CANNOT_OWN.message], ids=["rights", "owners"])
def test_what_is_refused_without_owners_too(rig: FakeApiRig, message: str) -> None:
    """The rights to patch are missing, or a patch without owners is refused → a failure, as ever."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        await writer.ensure(WANTED, owned())
        rig.server.on("PATCH", "secrets", Answer(403, message=message))
        more = owned() if message == CANNOT_OWN.message else owned(*OWNERS, OWNERS[0]._replace(uid="uid-2"))
        with pytest.raises(PermissionDenied):
            await writer.ensure(replace(WANTED, data={"pw": b"v2"}, refreshed_at=clock.now()), more)
        assert rig.count()["patch", "secrets"] == 1

    run_writer(rig, test)


def test_read_by_patch(rig: FakeApiRig) -> None:
    """The account may not get Secrets → they are read by patches that change nothing: one that is missing is created,
    one that is as it should be stays as it is, drift is repaired; a conflict is tried again."""

    async def test(api: Api) -> None:
        writer = SecretWriter(api, StatusStore(api, NODE, DRIVER), read_by_patch=True)
        rig.server.on("GET", "/secrets", Answer(403))
        rig.server.on("PATCH", "/secrets/", Answer(409), times=1)
        assert (await writer.ensure(WANTED, owned())).written
        made = secret(rig)
        assert not (await writer.ensure(WANTED, owned())).written and secret(rig) == made
        rig.api.patch(rig.path("secrets", "synced"), {"data": {"pw": "eA==", "own": "eA=="}})
        assert (await writer.ensure(WANTED, owned())).written
        assert secret(rig)["data"] == {"pw": "djE=", "own": "eA=="} and rig.count()["get", "secrets"] == 0

    run(rig.kubeconfig(), test)


@pytest.mark.parametrize("status", [403, 422])
@pytest.mark.parametrize(
    "message, failure, sentence",
    [
        ("ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no", PreconditionFailed, "by somebody else"),
        ("User cannot patch resource", Failure, ""),
        ('admission webhook "w" denied the request: no', Failure, '(admission webhook "w")'),
    ],
)
def test_read_refused(rig: FakeApiRig, status: int, message: str, failure: type[Failure], sentence: str) -> None:
    """A policy refuses the read, as the chart's does for Secrets of others → the failure says that, and what to do;
    other refusals keep their own sentences."""
    rig.make_adoptable_secret(data={"own": "eA=="})

    async def test(api: Api) -> None:
        writer = SecretWriter(api, StatusStore(api, NODE, DRIVER), read_by_patch=True)
        rig.server.on("PATCH", "/secrets/", Answer(status, message=message))
        with pytest.raises(failure) as refusal:
            await writer.ensure(WANTED, owned())
        text = str(refusal.value)
        assert sentence in text and ("by somebody else" in text) is (sentence == "by somebody else")

    run(rig.kubeconfig(), test)


def test_create_and_patch(rig: FakeApiRig) -> None:
    """Write a new Secret → GET and POST. Again → GET only. After drift of data, labels and owners → one PATCH that
    keeps what others added."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        assert (await writer.ensure(WANTED, owned())).written
        made = secret(rig)
        assert {key: b64decode(value) for key, value in made["data"].items()} == {"pw": b"v1"}
        labels = made["metadata"]["labels"]
        assert labels == {"team": "a", "secrets-store.csi.k8s.io/managed": "true"} and owner_uids(rig) == ["uid-1"]
        assert not (await writer.ensure(WANTED, owned())).written
        assert rig.count() == {("get", "secrets"): 2, ("create", "secrets"): 1}
        rig.api.patch(rig.path("secrets", "synced"), {"data": {"pw": "eA==", "own": "eA=="}})
        rig.api.patch(rig.path("secrets", "synced"), {"metadata": {"labels": {"team": None, "own": "x"}}})
        assert (await writer.ensure(WANTED, owned(*OWNERS, OWNERS[0]._replace(uid="uid-2")))).written
        assert secret(rig)["data"] == {"pw": "djE=", "own": "eA=="} and owner_uids(rig) == ["uid-1", "uid-2"]
        assert secret(rig)["metadata"]["labels"] == {**labels, "own": "x"}

    run_writer(rig, test)


def test_foreign_secret(rig: FakeApiRig) -> None:
    """The Secret exists without our label → it is adopted: its keys stay and it gets no owner. Another class writes the
    same key → it is reported as taken."""
    rig.make_adoptable_secret(data={"own": "eA=="})

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        assert (await writer.ensure(WANTED, owned())).adopted
        assert secret(rig)["data"] == {"own": "eA==", "pw": "djE="} and owner_uids(rig) == []
        outcome = await writer.ensure(replace(WANTED, class_name="other", data={"pw": b"v2"}), owned())
        assert list(outcome.taken) == [("pw", "app")] and not outcome.adopted

    run_writer(rig, test)


def test_concurrent_writers(rig: FakeApiRig) -> None:
    """Five writers create the Secret concurrently → it has the owners of all, and no writer fails."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        owners = [owned(OWNERS[0]._replace(uid=f"uid-{number}")) for number in range(5)]
        await asyncio.gather(*(writer.ensure(WANTED, mine) for mine in owners))
        assert sorted(owner_uids(rig)) == [f"uid-{number}" for number in range(5)]

    run_writer(rig, test)


@pytest.mark.parametrize(("method", "status"), [("POST", 409), ("PATCH", 409), ("PATCH", 404)])
def test_conflict(rig: FakeApiRig, method: str, status: int) -> None:
    """The write gets a 409, or a 404 because the Secret was deleted → it is read again and written."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        if method == "PATCH":
            await writer.ensure(WANTED, owned())
        rule = rig.server.on(method, "secrets", Answer(status), times=2)
        await writer.ensure(replace(WANTED, data={"pw": b"v2"}, refreshed_at=clock.now()), owned())
        assert rule.hits == 2 and secret(rig)["data"] == {"pw": "djI="}

    run_writer(rig, test)


def test_endless_conflicts(rig: FakeApiRig) -> None:
    """Each write gets a 409 → Aborted after some tries; nothing is written."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        rule = rig.server.on("POST", "secrets", Answer(409))
        with pytest.raises(Aborted, match="default/synced"):
            await writer.ensure(WANTED, owned())
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
    "a webhook that is away": (
        ApiError(500, 'Internal error occurred: failed calling webhook "w.example": Post "https://10.0.0.1/s3cret"'),
        Unavailable,
        'failed calling webhook "w.example".*see its pods',
    ),
    "a webhook that fails": (
        ApiError(503, 'admission webhook "w.example" denied the request: s3cret'),
        Unavailable,
        'admission webhook "w.example".*see its pods',
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
            await writer.ensure(WANTED, owned())
        rig.server.admit("secrets", refuse)
        mark = rig.server.calls.mark()
        with pytest.raises(expected, match=sentence) as raised:
            await writer.ensure(replace(WANTED, data={"pw": b"v2"}, refreshed_at=clock.now()), owned())
        assert "s3cret" not in str(raised.value) and len(rig.server.calls.calls(mark)) == 2

    run_writer(rig, test)


@pytest.mark.parametrize("resource", ["secrets", "pods"])
def test_forbidden_reads(rig: FakeApiRig, resource: str) -> None:
    """A permission for syncing is missing → PermissionDenied that says how to grant it."""
    pod = rig.make_pod()

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        rig.server.on("GET", resource, Answer(403))
        with pytest.raises(PermissionDenied, match="syncSecret.enabled=true"):
            await (writer.owners(pod, "/target") if resource == "pods" else writer.ensure(WANTED, owned()))

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


NEW = [OWNERS[0]._replace(uid="uid-new")]


@pytest.mark.parametrize("written", ["created", "data", "labels", "nothing", "another owner"])
def test_owners_are_read_again(rig: FakeApiRig, written: str) -> None:
    """The pod has got another owner since it was read, as after `--cascade=orphan` → the former one is not written any
    more, whatever is about to be written. Nothing is → no pod is read. Only the owner of another pod is → only that
    one is read."""
    wanted = replace(WANTED, refreshed_at=clock.now())

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        pods = Pods(OWNERS, [OWNERS[0]._replace(uid="uid-2")])
        await writer.ensure(wanted, Owners(pods.members[:1], pods.read))
        pods.of[0] = NEW
        pods.reads.clear()
        path = rig.path("secrets", "synced")
        if written == "created":
            rig.api.delete(path)
        elif written == "data":
            rig.api.patch(path, {"data": {"pw": "eA=="}})
        elif written == "labels":
            rig.api.patch(path, {"metadata": {"labels": {"team": "b"}}})
        both = written == "another owner"
        await writer.ensure(wanted, pods.run() if both else Owners(pods.members[:1], pods.read))
        expected = {
            "created": ["uid-new"],
            "data": ["uid-1", "uid-new"],
            "labels": ["uid-1", "uid-new"],
            "nothing": ["uid-1"],
            "another owner": ["uid-1", "uid-2"],
        }
        assert owner_uids(rig) == expected[written]
        assert pods.reads == {"nothing": {}, "another owner": {1: 1}}.get(written, {0: 1})

    run_writer(rig, test)


def test_a_pod_whose_owner_does_not_exist_yet(rig: FakeApiRig) -> None:
    """The pod status of one of two pods cannot be written → the Secret is, for the other one; it is written later → it
    becomes an owner. Of the only pod → no Secret yet."""
    late = [Owner(GROUP_VERSION, pod_status.KIND, "late", "uid-2")]

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        pods = Pods([], OWNERS)
        for of_first, uids, complete in (([], ["uid-1"], False), (late, ["uid-1", "uid-2"], True)):
            pods.of[0] = of_first
            run = pods.run()
            await writer.ensure(WANTED, run)
            found = rig.secret("synced") or {}
            assert sorted(owner["uid"] for owner in found["metadata"]["ownerReferences"]) == uids
            assert run.complete == complete
        rig.api.delete(rig.path("secrets", "synced"))
        alone = Pods([])
        with pytest.raises(NoOwnerYet):
            await writer.ensure(WANTED, alone.run())
        assert rig.secret("synced") is None and not alone.members[0].gone

    run_writer(rig, test)


def test_the_last_pod_ends_before_the_write(rig: FakeApiRig) -> None:
    """The Secret is gone and so is its pod → it is not written for the owner that is remembered."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        pods = Pods(OWNERS)
        await writer.ensure(WANTED, pods.run())
        rig.api.delete(rig.path("secrets", "synced"))
        pods.of[0] = None
        with pytest.raises(PodsGone):
            await writer.ensure(WANTED, pods.run())
        assert rig.secret("synced") is None and pods.members[0].gone

    run_writer(rig, test)


@pytest.mark.parametrize("fate", ["there", "deleted", "deleted, and created again"])
def test_identity_of_a_pod_status(rig: FakeApiRig, fate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod status that owns a bare pod's Secret is looked at again before it is named: still there, deleted, or
    restored from a backup with a new UID → its present UID, of an object that exists and says the same."""
    bare = rig.make_pod("bare")

    async def test(writer: SecretWriter, store: StatusStore) -> None:
        record = rig.record(bare)
        await store.record(record)
        before = rig.api.get(rig.status_path("bare"))
        if fate != "there":
            rig.api.delete(rig.status_path("bare"))
        if fate == "deleted, and created again":
            metadata = {key: before["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
            rig.api.create({**before, "metadata": metadata})
        assert await store.identity(record.target_path) == (before["metadata"]["name"], before["metadata"]["uid"])
        monkeypatch.setattr("driver.cluster.statuses.written_status.IDENTITY_SECONDS", -1.0)
        (owner,) = await writer.owners(bare, record.target_path) or ()
        now = rig.api.get(rig.status_path("bare"))
        assert owner.uid == now["metadata"]["uid"] and now["status"] == before["status"]
        assert (owner.uid == before["metadata"]["uid"]) == (fate == "there")

    run_writer(rig, test)


@pytest.mark.parametrize(("date", "known"), [("Thu, 26 Nov 2020 06:00:00 GMT", True), ("soon", False), ("", False)])
def test_times_are_by_the_servers_clock(rig: FakeApiRig, date: str, known: bool) -> None:
    """The server's clock is years behind the node's → the ledger's time is by the server's clock; a server that does
    not tell the time → by ours."""

    async def test(writer: SecretWriter, _: StatusStore) -> None:
        rig.server.on("GET", "secrets", Answer(404, date=date))
        await writer.ensure(replace(WANTED, refreshed_at=clock.now() - 600), owned())
        ledger = json.loads(secret(rig)["metadata"]["annotations"][LEDGER])
        expected = 1606370400.0 if known else time.time()
        assert ledger["classes"]["app"]["fetched"] == pytest.approx(expected - 600, abs=60)

    run_writer(rig, test)
