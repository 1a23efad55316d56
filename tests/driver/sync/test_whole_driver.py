"""Synced Secrets of a whole driver with the fake API server: their content, owners and events."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.cluster.statuses import store as statuses
from driver.cluster.statuses import written_status
from driver.ports import Pod
from driver.sync import engine
from driver.sync.runs import AWAY_SECONDS
from tests.support.clocks import clock_set
from tests.support.fake_api import Answer, Fault, Silence
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.rig import Rig, Volume
from tests.support.syncing import ENTRY, check_now, engine_of, owners, values
from tests.support.waiting import until

STATUSES = "secretproviderclasspodstatuses"
WRONG = {**ENTRY, "data": [{"objectName": "nothing", "key": "pw"}]}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A fake cluster."""
    with fake_api_rig(tmp_path) as made:
        yield made


async def publish(here: FakeApiRig, rig: Rig, pod: Pod, **options: str) -> Volume:
    """Publish a volume of the pod."""
    volume = here.volume(rig, pod, **options)
    await volume.publish()
    return volume


def messages(here: FakeApiRig, reason: str) -> list[str]:
    """The messages of all events with this reason."""
    return [item["message"] for item in here.events(reason)]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([WRONG], "file matching objectName nothing not found"),
        ([{**ENTRY, "type": ""}], "secret type is empty"),
        (
            [{**ENTRY, "type": "kubernetes.io/tls", "data": [{"objectName": "password", "key": "tls.key"}]}],
            "private key",
        ),
    ],
)
def test_invalid_class(here: FakeApiRig, entries: list[dict[str, object]], sentence: str) -> None:
    """An entry of secretObjects is invalid → the publish succeeds, and a Warning says what to correct without quoting
    the file. Correct it → the Secret is created at once, with a Normal event."""
    here.make_class(secretObjects=entries)
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await here.watch_open()
            await publish(here, rig, pod)
            await until(lambda: here.events("FailedToCreateSecret"), "the warning")
            (message,) = messages(here, "FailedToCreateSecret")
            assert sentence in message and "s3cret" not in message and here.secret("synced") is None
            here.make_class(secretObjects=[ENTRY])
            await until(lambda: here.events("SyncedSecret"), "the good news")
            assert values(here.secret("synced")) == {"pw": b"s3cret"}

    asyncio.run(run())


def test_missing_permissions(here: FakeApiRig) -> None:
    """Secrets are forbidden → an event says how to grant access. Grant it → the next try succeeds."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            rule = here.server.on("GET", "/secrets/", Answer(403))
            await publish(here, rig, pod)
            await until(lambda: here.events("FailedToCreateSecret"), "the warning")
            assert "syncSecret.enabled=true" in messages(here, "FailedToCreateSecret")[0]
            rule.lift()
            check_now(rig)
            await until(lambda: here.events("SyncedSecret"), "the good news")

    asyncio.run(run())


def test_foreign_secret_and_shared_key(here: FakeApiRig) -> None:
    """The Secret belongs to somebody else → it is adopted and keeps its keys. A second class writes the same key → it
    takes the key. Both are events."""
    here.make_class(secretObjects=[ENTRY])
    here.make_class("second", secretObjects=[ENTRY])
    here.make_adoptable_secret(data={"own": "eA=="})
    pods = [here.make_pod(name) for name in ("pod-1", "pod-2")]

    async def run() -> None:
        async with here.driver() as rig:
            await publish(here, rig, pods[0])
            await until(lambda: here.events("SecretAdopted"), "the adoption")
            assert "the keys pw are written" in messages(here, "SecretAdopted")[0]
            assert (
                values(here.secret("synced")) == {"own": b"x", "pw": b"s3cret"} and owners(here.secret("synced")) == []
            )
            rig.provider.put("password", "v2")
            await publish(here, rig, pods[1], class_name="second")
            await until(lambda: here.events("SecretKeyTaken"), "the warning")
            assert "written by SecretProviderClass app" in messages(here, "SecretKeyTaken")[0]
            assert values(here.secret("synced")) == {"own": b"x", "pw": b"v2"}

    asyncio.run(run())


def test_failures_are_counted(here: FakeApiRig) -> None:
    """An entry that cannot be synced beside one that can → one failure and one Secret by provider, in /metrics."""
    here.make_class(secretObjects=[ENTRY, {**ENTRY, "secretName": "other", "data": [{"objectName": "no", "key": "k"}]}])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await publish(here, rig, pod)
            await until(lambda: here.events("FailedToCreateSecret"), "the event")
            await until(lambda: rig.metric("sync_k8s_secret_total", provider="stub"), "the count of the other")
            assert rig.metric("sync_k8s_secret_error_total", provider="stub") == 1
            assert rig.metric("sync_k8s_secret_total", provider="stub") == 1

    asyncio.run(run())


def test_drift(here: FakeApiRig) -> None:
    """The Secret is deleted, then edited → each check restores it, and keeps keys of others."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await publish(here, rig, pod)
            here.api.delete(here.path("secrets", "synced"))
            check_now(rig)
            await until(lambda: here.secret("synced"), "the Secret to come back")
            here.api.patch(here.path("secrets", "synced"), {"data": {"pw": "eA==", "own": "eA=="}})
            check_now(rig)
            await until(lambda: values(here.secret("synced")) == {"pw": b"s3cret", "own": b"x"}, "its content")
            await until(lambda: rig.metric("sync_k8s_secret_total", provider="stub") == 3, "the count of all three")

    asyncio.run(run())


def test_owners(here: FakeApiRig) -> None:
    """Two pods of one controller and a bare pod → the Secret has two owners, each pod is read once, and the Secret is
    deleted with its last owner."""
    here.make_class(secretObjects=[ENTRY])
    controller = here.make_owner()
    pods = [here.make_pod(name, [controller]) for name in ("web-1", "web-2")] + [here.make_pod("bare")]

    async def run() -> None:
        async with here.driver() as rig:
            for pod in pods:
                await publish(here, rig, pod)
            expected = [
                ("ConfigMap", "owner"),
                ("SecretProviderClassPodStatus", f"bare-{here.namespace}-app"),
            ]
            await until(lambda: owners(here.secret("synced")) == expected, "both owners")
            assert here.count()["get", "pods"] == 3
            here.api.delete(here.path("pods", "bare"))
            assert here.secret("synced") is not None
            here.api.delete(here.path("configmaps", "owner"))
            assert here.secret("synced") is None

    asyncio.run(run())


@pytest.mark.parametrize("others", [0, 1])
def test_a_pod_status_that_is_written_late(here: FakeApiRig, monkeypatch: pytest.MonkeyPatch, others: int) -> None:
    """The pod status of a bare pod takes longer than its Secret waits for it → the Secret comes with it, and without
    it for another pod; the pod status becomes an owner as soon as it is written."""
    monkeypatch.setattr(statuses, "FIRST_WRITE_SECONDS", 0.05)
    here.make_class(secretObjects=[ENTRY])
    controller = here.make_owner()
    owned = [("ConfigMap", "owner")] * others

    def owners_now() -> list[tuple[str, str]]:
        secret = here.secret("synced")
        return [] if secret is None else owners(secret)

    async def run() -> None:
        async with here.driver() as rig:
            if others:
                await publish(here, rig, here.make_pod("web", [controller]))
            rule = here.server.on("POST", STATUSES, Answer(503))
            async with asyncio.TaskGroup() as group:
                group.create_task(publish(here, rig, here.make_pod("bare")))
                (job,) = await until(lambda: engine_of(rig)._table.jobs.values(), "the job")
                await until(lambda: job.lacks_owner, "the end of a run")
                assert owners_now() == owned
                rule.lift()
            expected = [*owned, ("SecretProviderClassPodStatus", f"bare-{here.namespace}-app")]
            await until(lambda: owners_now() == expected, "the pod status as owner", AWAY_SECONDS / 2)

    asyncio.run(run())


TERMINATING = "unable to create new content in namespace default because it is being terminated"
POLICY = "ValidatingAdmissionPolicy 'statuses' with binding 'statuses' denied request: no"


@pytest.mark.parametrize("deleted", [False, True], ids=["drift", "deleted"])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize(
    "fault",
    [
        Answer(403, message="exceeded quota: statuses"),
        Answer(403, message=TERMINATING),
        Answer(422, message=POLICY),
        Answer(503),
        Silence(),
    ],
    ids=["quota", "terminating", "policy", "away", "silent"],
)
def test_a_pod_status_that_cannot_be_confirmed(
    here: FakeApiRig, monkeypatch: pytest.MonkeyPatch, fault: Fault, others: int, deleted: bool
) -> None:
    """The pod status of a bare pod exists, and later the API server refuses its calls or does not answer them → the
    Secret's content is repaired all the same, and a Secret that was deleted comes back if it has another owner. If not,
    it waits, and an event says why it is refused."""
    monkeypatch.setattr(statuses, "FIRST_WRITE_SECONDS", 0.1)
    here.make_class(secretObjects=[ENTRY])
    pods = [here.make_pod("bare"), here.make_pod("web", [here.make_owner()])][: 1 + others]

    async def run() -> None:
        async with here.driver() as rig:
            for pod in pods:
                await publish(here, rig, pod)
            monkeypatch.setattr(written_status, "IDENTITY_SECONDS", -1.0)
            rule = here.server.on("*", STATUSES, fault)
            if deleted:
                here.api.delete(here.path("secrets", "synced"))
            else:
                here.api.patch(here.path("secrets", "synced"), {"data": {"pw": "eA=="}})
            await checked(here, rig)
            (job,) = engine_of(rig)._table.jobs.values()
            if deleted and not others:
                assert here.secret("synced") is None and "pod status" in job.problem
                if isinstance(fault, Answer) and fault.status < 500:
                    await until(lambda: here.events("FailedToCreateSecret"), "the event")
                    assert "pod status of default/bare" in messages(here, "FailedToCreateSecret")[0]
            else:
                assert values(here.secret("synced")) == {"pw": b"s3cret"} and job.lacks_owner
            rule.lift()
            await checked(here, rig)
            kinds = ["ConfigMap", "SecretProviderClassPodStatus"][1 - others :]
            assert [kind for kind, _ in owners(here.secret("synced"))] == kinds and not job.lacks_owner

    asyncio.run(run())


@pytest.mark.parametrize("how", ["gone", "terminating"])
def test_terminating_pod(here: FakeApiRig, how: str) -> None:
    """The pod is gone or being deleted when its volume is published → no Secret, which would have no owner, and no
    event."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()
    if how == "terminating":
        here.api.patch(here.path("pods", pod.name), {"metadata": {"finalizers": ["example.com/x"]}})
    here.api.delete(here.path("pods", pod.name))

    async def run() -> None:
        async with here.driver() as rig:
            await publish(here, rig, pod)
            assert here.count()["get", "pods"] == 1
            assert here.secret("synced") is None and here.events() == []

    asyncio.run(run())


def test_last_volume_is_unpublished(here: FakeApiRig) -> None:
    """The last volume of the class is unpublished → its jobs end, and the Secret is left to its owner."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await here.watch_open()
            volume = await publish(here, rig, pod)
            await volume.unpublish()
            assert not engine_of(rig)._table.jobs
            mark = here.server.calls.mark()
            here.make_class(secretObjects=[{**ENTRY, "secretName": "another"}])
            here.make_class("other")
            await publish(here, rig, here.make_pod("pod-2"), class_name="other")
            assert here.count(mark)["get", "secrets"] == 0 and here.secret("synced") is not None

    asyncio.run(run())


def test_entries_change(here: FakeApiRig) -> None:
    """The class replaces one Secret by another → the new one is created at once, and the old one is left alone. Delete
    the class → the jobs end."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await here.watch_open()
            await publish(here, rig, pod)
            here.make_class(secretObjects=[{**ENTRY, "secretName": "another"}])
            await until(lambda: here.secret("another"), "the second Secret")
            here.api.delete(here.path("secrets", "synced"))
            check_now(rig)
            await until(lambda: all(job.due > 0 for job in engine_of(rig)._table.jobs.values()), "the check")
            assert here.secret("synced") is None
            here.api.delete(here.path("secretproviderclasses", "app"))
            await until(lambda: not engine_of(rig)._table.jobs, "the end of the jobs")

    asyncio.run(run())


def test_restart_while_the_class_is_forbidden(
    here: FakeApiRig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart the class cannot be read → a warning and a later retry, after which the Secret is recreated."""
    monkeypatch.setattr(engine, "CLASS_SECONDS", 0.3)
    monkeypatch.setattr(engine, "RESTART_SPREAD", 0.0)
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await publish(here, rig, pod)
            await rig.stop()
            here.api.delete(here.path("secrets", "synced"))
            rule = here.server.on("GET", "/secretproviderclasses/app$", Answer(403))
            await rig.start()
            await until(lambda: "cannot be read for its secretObjects" in caplog.text, "the warning")
            assert here.secret("synced") is None
            rule.lift()
            await until(lambda: engine_of(rig)._table.jobs, "the class to be read")
            check_now(rig)
            await until(lambda: here.secret("synced"), "the Secret to come back")

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())


def test_secrets_are_unavailable(here: FakeApiRig) -> None:
    """Calls for Secrets and pods fail during a publish → it succeeds after a short wait, and the Secret is created
    later, without an event."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            rule = here.server.on("*", "/(secrets|pods)(/|$)", Answer(503))
            volume = await publish(here, rig, pod)
            assert volume.read() == b"s3cret" and here.secret("synced") is None
            rule.lift()
            await until(lambda: here.secret("synced"), "the Secret")
            assert here.events("FailedToCreateSecret") == []

    asyncio.run(run())


def test_syncing_is_disabled(here: FakeApiRig, caplog: pytest.LogCaptureFixture) -> None:
    """``--sync-secrets=false`` → one warning per class with secretObjects, and no call for Secrets."""
    here.make_class(secretObjects=[ENTRY])
    here.make_class("plain")

    async def run() -> None:
        async with here.driver(sync_secrets=False) as rig:
            for name in ("pod-1", "pod-2"):
                volume = await publish(here, rig, here.make_pod(name))
            await publish(here, rig, here.make_pod("pod-3"), class_name="plain")
            await volume.unpublish()
            await rig.restart()
            assert here.count()["get", "secrets"] == 0 and here.secret("synced") is None

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert len([record for record in caplog.records if "secretObjects are not synced" in record.getMessage()]) == 1


def test_startup_taint(here: FakeApiRig) -> None:
    """``--remove-startup-taint`` → the taint is removed once kubelet has registered the driver."""
    taint = {"key": "secrets-store.csi.k8s.io/agent-not-ready", "effect": "NoExecute"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {"taints": [taint]}}
    here.api.create(node)
    csi_node = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "node-1"}}
    drivers = [{"name": "secrets-store.csi.k8s.io", "nodeID": "node-1"}]

    async def run() -> None:
        async with here.driver(remove_startup_taint=True):
            here.api.create({**csi_node, "spec": {"drivers": drivers}})
            await until(lambda: not here.api.get("/api/v1/nodes/node-1")["spec"].get("taints"), "the taint to go")

    asyncio.run(run())


OTHER = {**ENTRY, "data": [{"objectName": "password", "key": "other"}]}
TWICE = {**ENTRY, "data": [*ENTRY["data"], {"objectName": "second", "key": "pw"}]}


@pytest.mark.parametrize(
    ("entries", "expected", "words"),
    [
        ([ENTRY, OTHER], {"other": b"s3cret"}, "2 entries of spec.secretObjects name Secret synced"),
        ([ENTRY, WRONG, {**OTHER, "secretName": " synced "}], {"other": b"s3cret"}, "3 entries"),
        ([TWICE], {"pw": b"2nd"}, "lists twice, and the last counts: pw"),
        ([ENTRY, TWICE], {"pw": b"2nd"}, "the last counts; the entry for Secret synced lists twice"),
    ],
)
def test_repetition(here: FakeApiRig, entries: list[dict[str, object]], expected: dict[str, bytes], words: str) -> None:
    """A class names a Secret in two entries, or a key twice in one → as with the Go driver the last one counts, and one
    event says so, not one for each check. Correct it → no further event."""
    parameters = {"objects": "- objectName: password\n- objectName: second\n"}
    here.make_class(secretObjects=entries, parameters=parameters)
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await here.watch_open()
            rig.provider.put("second", "2nd")
            await publish(here, rig, pod)
            await until(lambda: here.events("RepeatedInClass"), "the event")
            assert values(here.secret("synced")) == expected
            (message,) = messages(here, "RepeatedInClass")
            assert words in message and f"{here.namespace}/app" in message
            mark = here.server.calls.mark()
            check_now(rig)
            await until(lambda: here.count(mark)["get", "secrets"], "the check")
            here.make_class(secretObjects=[ENTRY], parameters=parameters)
            await until(lambda: values(here.secret("synced")) == {"pw": b"s3cret"}, "the corrected class")
            assert [item["count"] for item in here.events()] == [1]

    asyncio.run(run())


async def checked(here: FakeApiRig, rig: Rig) -> None:
    """Have the Secret checked, as after five minutes."""
    mark = here.server.calls.mark()
    check_now(rig)
    await asyncio.gather(*(job.task for job in engine_of(rig)._table.jobs.values() if job.task))
    assert here.count(mark)["get", "secrets"]


@pytest.mark.parametrize("hours", [30 / 3600, -30 / 3600, 2.0])
def test_clocks_of_two_nodes(here: FakeApiRig, hours: float) -> None:
    """The clock of one node is 30 s or two hours ahead of, or 30 s behind, that of another. Its value is synced first,
    then a newer one of the other node → the newer one stays, also after the checks of both nodes."""
    here.make_class(secretObjects=[ENTRY])
    pods = [here.make_pod(name, [here.make_owner(name)]) for name in ("pod-1", "pod-2")]

    async def run() -> None:
        async with here.driver(name="a") as one, here.driver(name="b", nodeid="node-2") as two:
            with clock_set(hours):
                await publish(here, one, pods[0])
            two.provider.put("password", "new")
            await publish(here, two, pods[1])
            await until(lambda: values(here.secret("synced")) == {"pw": b"new"}, "the newer value")
            # As minutes later, when neither content is fresh.
            with clock_set(hours), pytest.MonkeyPatch.context() as patch:
                patch.setattr("driver.sync.ledger.FRESH_SECONDS", -1.0)
                for rig in (one, two):
                    await checked(here, rig)
                    assert values(here.secret("synced")) == {"pw": b"new"}

    asyncio.run(run())
