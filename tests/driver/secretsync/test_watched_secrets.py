"""Changes of Secrets by others, found by a watch if the account may watch them."""

import asyncio

import pytest

from driver.secretsync import schedule
from tests.support.fake_api import Object
from tests.support.secret_sync_rig import FakeSecretSyncRig
from tests.support.waiting import run_async, until, until_blocking

REVIEWS = "selfsubjectaccessreviews"


def allow(rig: FakeSecretSyncRig, *verbs: str) -> None:
    """The account has these rights on Secrets."""

    def review(body: Object) -> Object:
        attributes = body["spec"]["resourceAttributes"]
        return {"allowed": attributes["resource"] == "secrets" and attributes["verb"] in verbs}

    rig.server.resources.reviewers[REVIEWS] = review


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others change is restored without a pause, and asking takes longer than a test."""
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 0.0)
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 3600.0)


def test_by_a_watch(rig: FakeSecretSyncRig) -> None:
    """The account may list and watch Secrets → a deleted, an edited and an unlabelled Secret come back, one that
    changed while the watch was down, too; only metadata with the label is asked for."""
    allow(rig, "list", "watch")
    rig.make_sync()
    path = rig.path("secrets", "app")

    async def test() -> None:
        async with rig.provider() as stub, rig.controller():
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            await until(lambda: len(rig.server.watches) == 3, "the watches")
            rig.api.delete(path)
            await rig.until_secret({"pw": b"s3cret"})
            await until(lambda: stub.calls == 2, "the sync")
            rig.api.patch(path, {"data": {"pw": "eA=="}})
            await rig.until_secret({"pw": b"s3cret"})
            rig.api.patch(path, {"metadata": {"labels": None}})
            await until_blocking(lambda: (rig.secret("app") or {})["metadata"].get("labels"), "the label")
            with rig.server.away():
                rig.api.delete(path)
                rig.server.store.compact()
            await rig.until_secret({"pw": b"s3cret"})
            seen = stub.calls
            rig.make_sync("other")
            await rig.until_condition("SecretCreated", "CreateSuccessful", "other")
            await until(lambda: stub.calls == seen + 1, "the other one's sync")
        reads = rig.server.calls.calls(where=lambda call: call.resource == "secrets" and call.method == "GET")
        assert {call.verb for call in reads} == {"list", "watch"}
        assert all("PartialObjectMetadata" in call.headers["Accept"] for call in reads)
        assert {call.query["labelSelector"] for call in reads} == {"secrets-store.sync.x-k8s.io"}

    run_async(test)


def test_no_secret_yet(rig: FakeSecretSyncRig) -> None:
    """There is no Secret with the label yet, of which an API server says ``null`` and not an empty list → they are
    listed once, and watched."""
    allow(rig, "list", "watch")

    async def test() -> None:
        async with rig.provider(), rig.controller():
            await until(lambda: len(rig.server.watches) == 3, "the watches")
            rig.make_sync()
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            assert rig.server.calls.count()["list", "secrets"] == 1

    run_async(test)


@pytest.mark.parametrize("verbs", [(), ("list",), ("watch",)])
def test_without_the_right(rig: FakeSecretSyncRig, verbs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The account may not do both → Secrets are neither listed nor watched, and asked about instead."""
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 0.1)
    allow(rig, *verbs)
    rig.make_sync()

    async def test() -> None:
        async with rig.provider(), rig.controller():
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            rig.api.delete(rig.path("secrets", "app"))
            await rig.until_secret({"pw": b"s3cret"})
        assert not rig.server.calls.calls(where=lambda call: call.resource == "secrets" and call.method == "GET")

    run_async(test)


def test_somebody_who_changes_it_again_and_again(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Secret is changed at once whenever it was written → the store is asked once in a while, not each time."""
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 1.0)
    allow(rig, "list", "watch")
    rig.make_sync()

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with rig.provider() as stub, rig.controller():
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            started, number = loop.time(), 0
            while stub.calls < 4:
                number += 1
                rig.api.patch(rig.path("secrets", "app"), {"metadata": {"annotations": {"n": str(number)}}})
                await asyncio.sleep(0.01)
            assert loop.time() - started > 2.0 and number > stub.calls

    run_async(test)
