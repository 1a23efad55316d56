"""Pod statuses: one write per significant change, and none is lost while the server is unreachable."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from operator import attrgetter
from typing import Any

import pytest

from driver.cluster import api as api_module
from driver.cluster.api import Api
from driver.cluster.statuses import store as statuses
from driver.cluster.statuses import written_status
from driver.cluster.statuses.store import StatusStore
from driver.ports import RefreshFailure, VolumeRecord
from driver.publish import reporting
from runtime.errors import PermissionDenied, Unavailable
from tests.driver.cluster.connecting import run
from tests.support.background import running
from tests.support.fake_api import Answer, Delay, Drop, Silence
from tests.support.fake_api.faults import Fault
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import DRIVER, NODE
from tests.support.waiting import until

STATUSES = "secretproviderclasspodstatuses"
FAILURE = RefreshFailure("ProviderError", "no", 1, 1_700_000_000.0)
Test = Callable[[StatusStore], Coroutine[Any, Any, None]]


def run_store(rig: FakeApiRig, test: Test, node: str = NODE) -> None:
    """Run a test with a store and its retries."""

    async def with_store(api: Api) -> None:
        store = StatusStore(api, node, DRIVER)
        async with running(store.run()):
            await test(store)

    run(rig.kubeconfig(), with_store)


def objects(rig: FakeApiRig) -> dict[str, dict[str, str]]:
    """The objects in each status, by the name of the status."""
    return {
        item["metadata"]["name"]: {entry["id"]: entry["version"] for entry in item["status"]["objects"]}
        for item in rig.listed(STATUSES)
    }


def test_writes(rig: FakeApiRig) -> None:
    """A record is new, has other versions, fails, recovers → POST, then one PATCH each; a new refresh time alone → no
    write. Labels, owner and the transition time of the condition are as documented."""
    record = rig.record(rig.make_pod(), last_refresh=1_700_000_000.0)

    async def test(store: StatusStore) -> None:
        await store.record(record)
        made = rig.api.get(rig.status_path())
        assert made["metadata"]["labels"] == {"internal.secrets-store.csi.k8s.io/node-name": NODE}
        assert [owner["kind"] for owner in made["metadata"]["ownerReferences"]] == ["Pod"]
        await store.record(replace(record, last_refresh=1_700_000_500.0))
        assert rig.count() == {("create", STATUSES): 1}
        await store.record(replace(record, objects={"password": "v2"}, last_refresh=1_700_000_900.0))
        (condition,) = rig.api.get(rig.status_path())["status"]["conditions"]
        assert condition["status"] == "True" and condition["lastTransitionTime"] == "2023-11-14T22:13:20Z"
        await store.record(replace(record, failure=FAILURE))
        (condition,) = rig.api.get(rig.status_path())["status"]["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "ProviderError")
        await store.record(record)
        assert "lastFailure" not in rig.api.get(rig.status_path())["status"]
        assert rig.count() == {("create", STATUSES): 1, ("patch", STATUSES): 3}
        assert await store.identity(record.target_path) == (made["metadata"]["name"], made["metadata"]["uid"])

    run_store(rig, test)


def test_deleted_status(rig: FakeApiRig) -> None:
    """The status was deleted → the next write creates it again."""
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        await store.record(record)
        rig.api.delete(rig.status_path())
        await store.record(replace(record, objects={"password": "v2"}))
        assert list(objects(rig).values()) == [{"password": "v2"}]

    run_store(rig, test)


def test_lost_response(rig: FakeApiRig) -> None:
    """The response of the POST is lost → the status exists once, with the record's content."""
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        rig.server.on("POST", STATUSES, Drop(done=True), times=1)
        await store.record(record)
        assert list(objects(rig).values()) == [{"password": "v1"}]

    run_store(rig, test)


@pytest.mark.parametrize("known", [True, False], ids=["known", "after-a-restart"])
def test_two_volumes_of_one_pod_with_one_class(rig: FakeApiRig, known: bool) -> None:
    """Two volumes of a pod use one class → a status for each, even if the store does not know the other one."""
    pod = rig.make_pod()
    first, second = (rig.record(pod, volume=name, objects={"password": name}) for name in ("one", "two"))

    async def test(store: StatusStore) -> None:
        await store.record(first)

    async def continued(store: StatusStore) -> None:
        if known:
            await store.record(first)
        await store.record(second)
        found = objects(rig)
        assert len(found) == 2 and sorted(item["password"] for item in found.values()) == ["one", "two"]

    if not known:
        run_store(rig, test)
    run_store(rig, continued)


def test_read_all(rig: FakeApiRig) -> None:
    """List 501 statuses → two pages by node label and one GET of each pod, without those of other nodes and objects; a
    listed status is not written again, and its next change is a PATCH."""
    pods = [rig.make_pod(f"pod-{number}") for number in range(25)]
    records = [rig.record(pod, last_refresh=1_700_000_000.0, failure=FAILURE) for pod in pods]

    async def write(store: StatusStore) -> None:
        await asyncio.gather(*(store.record(record) for record in records))

    async def other(store: StatusStore) -> None:
        await store.record(rig.record(rig.make_pod("elsewhere")))

    async def learn(store: StatusStore) -> None:
        foreign = {**rig.api.get(rig.status_path("pod-0")), "status": {"targetPath": "/x"}}
        rig.api.create({**foreign, "metadata": {"name": "foreign", "labels": foreign["metadata"]["labels"]}})
        mark = rig.server.calls.mark()
        found = [record for record, _ in await store.read([record.target_path for record in records])]
        key = attrgetter("target_path")
        assert sorted(found, key=key) == sorted(records, key=key)
        lists = rig.server.calls.calls(mark, lambda call: call.verb == "list")
        assert len(lists) == 3 and all(call.query["labelSelector"].endswith(f"={NODE}") for call in lists)
        await store.record(records[0])
        await store.record(replace(records[1], failure=None))
        assert rig.count(mark) == {("list", STATUSES): 3, ("get", "pods"): 25, ("patch", STATUSES): 1}

    run_store(rig, write)
    run_store(rig, other, node="node-2")
    run_store(rig, learn)


def test_older_schema(rig: FakeApiRig, caplog: pytest.LogCaptureFixture) -> None:
    """The CRD prunes our fields → the status is written, and one warning says what to do."""

    def prune(admission: Any) -> None:
        status = admission.item.get("status") or {}
        for name in ("conditions", "lastRefresh", "lastFailure"):
            status.pop(name, None)

    rig.server.admit(STATUSES, prune)

    async def test(store: StatusStore) -> None:
        for name in ("pod-1", "pod-2"):
            await store.record(rig.record(rig.make_pod(name)))
        assert len(objects(rig)) == 2

    with caplog.at_level(logging.WARNING):
        run_store(rig, test)
    assert sum("older than this driver" in record.getMessage() for record in caplog.records) == 1


def test_first_write_is_rejected(rig: FakeApiRig) -> None:
    """The first write fails → the caller gets the Failure, and the next record is a POST again."""
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        rig.server.on("POST", STATUSES, Answer(403), times=1)
        with pytest.raises(PermissionDenied):
            await store.record(record)
        await store.record(record)
        assert rig.count() == {("create", STATUSES): 2}

    run_store(rig, test)


def test_retries(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is unreachable → records of known volumes return soon and the newest of each is written later; one
    that keeps failing does not delay the others."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.1)
    monkeypatch.setattr(statuses, "RETRY_SECONDS", 0.3)
    records = [rig.record(rig.make_pod(f"pod-{number}")) for number in range(3)]

    def version(record: VolumeRecord, text: str) -> VolumeRecord:
        return replace(record, objects={"password": text})

    async def test(store: StatusStore) -> None:
        for record in records:
            await store.record(record)
        stuck = rig.server.on("PATCH", "pod-0", Answer(500))
        with rig.server.away():
            for text in ("v2", "v3"):
                for record in records:
                    await store.record(version(record, text))
        await until(
            lambda: sorted(item["password"] for item in objects(rig).values()) == ["v1", "v3", "v3"], "the rest"
        )
        assert stuck.hits
        await store.record(version(records[0], "v4"))
        stuck.lift()
        await until(lambda: {"password": "v4"} in objects(rig).values(), "the first one")

    run_store(rig, test)


@pytest.mark.parametrize("answers", [True, False], ids=["slow", "silent"])
def test_a_slow_server_gets_a_write_once(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    """The write of a known volume takes longer than the limit. The server answers other calls meanwhile → the write is
    waited for; it answers none → it is given up and made again later. Either way it is written in the end."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.4)
    record = rig.record(rig.make_pod())
    changed = replace(record, objects={"password": "v2"})

    async def test(store: StatusStore) -> None:
        name = await store.record(record)
        await asyncio.sleep(0.41)  # the answer to the first write counts no more
        mark, rule = rig.server.calls.mark(), rig.server.on("PATCH", STATUSES, Delay(0.8), times=1)
        write = asyncio.create_task(store.record(changed))
        await until(lambda: rule.hits, "the write")
        while answers and not write.done():
            await store.read([record.target_path])
        assert await write == (name if answers else "")
        await until(lambda: objects(rig)[name] == {"password": "v2"}, "the new version")
        assert (rig.count(mark)["patch", STATUSES] == 1) is answers

    run_store(rig, test)


def test_a_slow_server_is_not_waited_for_without_end(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers other calls, and this write never → given up after the longer limit; written when it can be."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.4)
    monkeypatch.setattr(statuses, "SLOW_WRITE_SECONDS", 0.6)
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        name = await store.record(record)
        rule = rig.server.on("PATCH", STATUSES, Silence(), times=1)
        started = asyncio.get_running_loop().time()
        write = asyncio.create_task(store.record(replace(record, objects={"password": "v2"})))
        while not write.done():
            await store.read([])
        assert await write == "" and asyncio.get_running_loop().time() - started >= 0.6
        rule.lift()
        await until(lambda: objects(rig)[name] == {"password": "v2"}, "the new version")

    run_store(rig, test)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_gateway_whose_server_is_away(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Each call is answered with a 5xx → as without an answer: the write is given up after the shorter limit, and made
    later."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.2)
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        name = await store.record(record)
        rule = rig.server.on("PATCH", STATUSES, Answer(status))
        async with asyncio.timeout(statuses.SLOW_WRITE_SECONDS / 2):
            assert await store.record(replace(record, objects={"password": "v2"})) == ""
        rule.lift()
        await until(lambda: objects(rig)[name] == {"password": "v2"}, "the new version")

    run_store(rig, test)


def test_a_webhook_that_is_away(
    rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server cannot call a webhook of the cluster → the first write fails soon, and names it; a later one is
    tried until the webhook is back."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(written_status, "WEBHOOK_SECONDS", 0.3)
    monkeypatch.setattr(api_module, "LAST_PAUSE", 0.1)
    first, second = (rig.record(rig.make_pod(f"pod-{number}")) for number in range(2))
    away = Answer(500, message='Internal error occurred: failed calling webhook "w.example": s3cret')

    async def test(store: StatusStore) -> None:
        name = await store.record(first)
        rule = rig.server.on("*", STATUSES, away)
        with pytest.raises(Unavailable, match=r'500 InternalError \(failed calling webhook "w.example"\)') as raised:
            await store.record(second)
        assert "s3cret" not in str(raised.value) and rule.hits > 1
        assert await store.record(replace(first, objects={"password": "v2"})) == ""
        await until(lambda: "could not be written" in caplog.text, "the end of a retry")
        rule.lift()
        await until(lambda: objects(rig)[name] == {"password": "v2"}, "the new version")

    run_store(rig, test)


def test_an_answer_before_the_server_went_away(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer came just before the write, to which there is none → given up after the shorter limit."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.5)
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        name = await store.record(record)
        rule = rig.server.on("PATCH", STATUSES, Silence(), times=1)
        async with asyncio.timeout(statuses.SLOW_WRITE_SECONDS / 2):
            assert await store.record(replace(record, objects={"password": "v2"})) == ""
        rule.lift()
        await until(lambda: objects(rig)[name] == {"password": "v2"}, "the new version")

    run_store(rig, test)


@pytest.mark.parametrize("fault", [Silence(), Answer(503), Delay(0.3)], ids=["silent", "refusing", "slow"])
def test_a_caller_that_does_not_wait(rig: FakeApiRig, fault: Fault) -> None:
    """The caller gives up before the store does → the record is written later all the same."""
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        name = await store.record(record)
        failed = replace(record, failure=FAILURE)
        rule = rig.server.on("PATCH", STATUSES, fault)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await store.record(failed)
        rule.lift()
        await until(lambda: "lastFailure" in rig.api.get(rig.status_path())["status"], "the failure")
        # The server has it before the store has the answer; until then the same record is one that is written later.
        assert await until(lambda: store.record(failed), "the end of the write") == name

    run_store(rig, test)


def test_a_failed_refresh_waits_for_a_slow_server() -> None:
    """What reports a failed refresh waits longer than the store does → a write that is under way is not given up."""
    assert reporting.STATUS_SECONDS > statuses.SLOW_WRITE_SECONDS > statuses.WRITE_SECONDS


def test_retry_of_an_unpublished_volume(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume is unpublished while its record waits for a retry → it is not written."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.1)
    first, second = (rig.record(rig.make_pod(f"pod-{number}")) for number in range(2))

    async def test(store: StatusStore) -> None:
        for record in (first, second):
            await store.record(record)
        with rig.server.away():
            for record in (first, second):
                await store.record(replace(record, failure=FAILURE))
            store.forget(second.target_path)
        await until(lambda: rig.api.get(rig.status_path("pod-0"))["status"].get("lastFailure"), "the other one")
        assert "lastFailure" not in rig.api.get(rig.status_path("pod-1"))["status"]
        assert rig.count()["patch", STATUSES] == 1

    run_store(rig, test)


def test_unpublished_during_a_retry(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume is unpublished while the retried write of its record is under way → the write is given up, the object
    is not written any more, and others are."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.1)
    first, second = (rig.record(rig.make_pod(f"pod-{number}")) for number in range(2))

    async def test(store: StatusStore) -> None:
        for record in (first, second):
            await store.record(record)
        rule = rig.server.on("PATCH", "pod-0", Answer(503))
        await store.record(replace(first, failure=FAILURE))
        mark = rule.hits
        await until(lambda: rule.hits > mark, "the retry")
        store.forget(first.target_path)
        await until(lambda: not store._retrying, "its end")
        rule.lift()
        patched = rig.count()["patch", STATUSES]
        monkeypatch.setattr(statuses, "WRITE_SECONDS", 10.0)  # what is given up is written again, and counted twice
        await store.record(replace(second, failure=FAILURE))
        assert rig.count()["patch", STATUSES] == patched + 1
        assert "lastFailure" not in rig.api.get(rig.status_path("pod-0"))["status"]
        await store.record(first)
        assert not store._retry_queue

    run_store(rig, test)


def test_retry_is_rejected(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A retry fails permanently → a warning and no further retry; the next record is written."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.1)
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        await store.record(record)
        with rig.server.away():
            await store.record(replace(record, failure=FAILURE))
            rule = rig.server.on("PATCH", STATUSES, Answer(422), times=1)
        await until(lambda: rule.hits, "the refusal")
        await until(lambda: "could not be written" in caplog.text, "the warning")
        await store.record(replace(record, objects={"password": "v2"}))
        await until(lambda: objects(rig) == {f"pod-1-{rig.namespace}-app": {"password": "v2"}}, "the next record")

    run_store(rig, test)


def test_identity(rig: FakeApiRig) -> None:
    """Ask for the UID of a status that is not written yet → the answer comes with the write."""
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        asking = asyncio.create_task(store.identity(record.target_path))
        await store.record(rig.record(rig.make_pod("pod-2")))
        assert not asking.done()
        await store.record(record)
        metadata = rig.api.get(rig.status_path())["metadata"]
        assert await asking == (metadata["name"], metadata["uid"])

    run_store(rig, test)


def test_no_identity(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status cannot be written → whoever asks for its UID does not wait for ever."""
    monkeypatch.setattr(statuses, "FIRST_WRITE_SECONDS", 0.05)
    record = rig.record(rig.make_pod())

    async def test(store: StatusStore) -> None:
        rig.server.on("POST", STATUSES, Answer(403))
        with pytest.raises(PermissionDenied):
            await store.record(record)
        assert await store.identity(record.target_path) is None

    run_store(rig, test)
