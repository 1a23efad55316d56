"""What the controller asks while nothing happens: with the right to watch Secrets nothing, without it each Secret."""

import pytest

from driver.secretsync import schedule
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.support.waiting import run_async, until_blocking


def test_with_the_right_to_watch(watching_rig: SecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account may watch Secrets → one that is deleted or edited comes back, and about another one nothing is asked
    after its first sync, although the time for that has come."""
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 0.0)
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 0.2)
    rig = watching_rig
    rig.make_sync()
    rig.make_sync("calm")
    path = rig.path("secrets", "app")

    async def test() -> None:
        mark = rig.cluster.audit.mark()
        async with rig.provider(), rig.controller():
            for name in ("app", "calm"):
                await rig.until_condition("SecretCreated", "CreateSuccessful", name)
            rig.api.delete(path)
            await rig.until_secret({"pw": b"s3cret"})
            rig.api.patch(path, {"data": {"pw": "eA=="}})
            await rig.until_secret({"pw": b"s3cret"})
            calls = rig.cluster.audit.calls(mark, rig.user)
            assert len([call for call in calls if (call.resource, call.name) == ("secrets", "calm")]) == 2
            assert [call for call in calls if call.status in (403, 422)] == []
            assert {call.verb for call in calls if call.resource == "secrets"} == {"list", "watch", "patch"}

    run_async(test)


def test_without_it(sync_rig: SecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account may not → Secrets are asked about one by one, by patches that change nothing."""
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 0.2)
    sync_rig.make_sync()

    async def test() -> None:
        async with sync_rig.provider(), sync_rig.controller():
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            version = (sync_rig.secret("app") or {})["metadata"]["resourceVersion"]
            mark = sync_rig.cluster.audit.mark()
            await until_blocking(lambda: sync_rig.count(mark)["patch", "secrets"] > 2, "some questions")
            assert set(sync_rig.count(mark)) == {("patch", "secrets")}
            assert (sync_rig.secret("app") or {})["metadata"]["resourceVersion"] == version

    run_async(test)
