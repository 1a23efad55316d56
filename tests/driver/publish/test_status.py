"""What the status socket says of volumes, of those that are not published yet, and of their Secrets."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from driver import limits
from driver.publish import pending
from runtime import clock
from tests.driver.publish.support import FAILING, known
from tests.support.fake_api import Answer
from tests.support.fake_api_rig import fake_api_rig
from tests.support.rig import Rig, rig
from tests.support.syncing import ENTRY, check_now
from tests.support.waiting import until


def shown(it: Rig, what: str) -> list[dict[str, Any]]:
    """A list in the driver's status."""
    return list(it.driver.snapshot()[what])


def test_next_refresh(tmp_path: Path) -> None:
    """Without rotation a volume has no next refresh. With it, it is the last one and the interval; the interval of the
    class counts as soon as it is known; after a failure the end of the back-off."""

    async def run() -> None:
        async with rig(tmp_path / "off") as it:
            await it.volume().publish()
            assert shown(it, "volumes")[0]["next_refresh"] is None
            assert it.driver.snapshot()["rotation_interval"] is None
        config = {"enable_secret_rotation": True, "rotation_poll_interval": 300.0, "rotation_jitter_percent": 0}
        async with rig(tmp_path / "on", **config) as it:
            it.write_class(annotations={"secrets-store.csi.k8s.io/rotation-poll-interval": "1h"})
            volume = it.volume()
            await volume.publish()
            (found,) = shown(it, "volumes")
            assert found["next_refresh"] - found["last_refresh"] == pytest.approx(300.0, abs=1.0)
            await volume.publish()
            (found,) = shown(it, "volumes")
            assert found["next_refresh"] - found["last_refresh"] == pytest.approx(3600.0, abs=1.0)
            assert (found["objects"], found["object_count"]) == (dict(known(it, volume).objects), 1)
            it.write_class(parameters=FAILING)
            await volume.publish()
            (found,) = shown(it, "volumes")
            assert found["failures"] == 1 and found["reason"] and found["failed"] == pytest.approx(time.time(), abs=5)
            assert 0 < found["next_refresh"] - time.time() <= 60

    for name in ("off", "on"):
        (tmp_path / name).mkdir()
    asyncio.run(run())


def test_many_and_strange_versions(tmp_path: Path) -> None:
    """Thousands of objects, with long versions that contain characters which turn text around → a few, shortened, and
    their number."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await volume.publish()
            known(it, volume).objects = {f"{number:05}\u202e": "\x1b[31mv" * 500 for number in range(5000)}
            (found,) = shown(it, "volumes")
            assert found["object_count"] == 5000 and len(found["objects"]) == limits.SHOWN_OBJECTS
            assert list(found["objects"])[0] == "00000" and set("".join(found["objects"].values())) == {"v"}
            assert max(map(len, found["objects"].values())) <= 80

    asyncio.run(run())


def test_volume_that_cannot_be_published(tmp_path: Path) -> None:
    """A first publish is running → it is pending, since its first attempt; it fails, twice → with the number and the
    last reason; it succeeds, or kubelet gives it up → it is not pending any more."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            assert shown(it, "pending") == []
            it.write_class("slow", parameters={"objects": "- objectName: password", "stubDelay": "500ms"})
            running = asyncio.create_task(it.volume("pod-0", class_name="slow").publish())
            await it.provider.wait_for_calls(1)
            (found,) = shown(it, "pending")
            assert (found["pod"], found["class"], found["provider"]) == ("default/pod-0", "default/slow", "stub")
            assert (found["running"], found["failures"], found["reason"]) == (True, 0, "")
            await running
            assert shown(it, "pending") == [] and len(shown(it, "volumes")) == 1
            it.write_class("bad", provider="absent")
            volume = it.volume("pod-1", class_name="bad")
            for _ in range(2):
                assert (await volume.failure())[0] == grpc.StatusCode.FAILED_PRECONDITION
            (found,) = shown(it, "pending")
            assert (found["running"], found["failures"]) == (False, 2) and "provider not found" in found["reason"]
            it.write_class("bad")
            await volume.publish()
            assert shown(it, "pending") == []
            await it.volume("pod-2", class_name="none").failure()
            assert len(shown(it, "pending")) == 1
            await it.volume("pod-2", class_name="none").unpublish()
            assert shown(it, "pending") == []

    asyncio.run(run())


def test_pending_volumes_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubelet does not try again for longer than it ever waits → the volume is forgotten; of very many the oldest
    are."""
    monkeypatch.setattr(limits, "MAX_PENDING_SHOWN", 3)

    async def run() -> None:
        async with rig(tmp_path) as it:
            for number in range(6):
                await it.volume(f"pod-{number}", class_name="none").failure()
            assert [item["pod"] for item in shown(it, "pending")] == [f"default/pod-{number}" for number in (3, 4, 5)]
            later = clock.now() + pending.FORGET_SECONDS + 1
            monkeypatch.setattr("driver.publish.pending.clock.now", lambda: later)
            assert shown(it, "pending") == []

    asyncio.run(run())


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class's Secrets are listed with the time of the last sync; one that cannot be written has the reason, comes
    first, and keeps its time. Of very many only some are listed, with the number of all."""

    async def run() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class(secretObjects=[ENTRY, {**ENTRY, "secretName": "another"}])
            pod = here.make_pod()
            async with here.driver() as it:
                await here.watch_open()
                await here.volume(it, pod).publish()
                assert [(item["name"], item["class_ref"], item["reason"]) for item in shown(it, "secrets")] == [
                    ("another", "default/app", ""),
                    ("synced", "default/app", ""),
                ]
                assert all(item["synced"] == pytest.approx(time.time(), abs=10) for item in shown(it, "secrets"))
                here.server.on("GET", "/secrets/synced", Answer(403, message="no"))
                check_now(it)
                await until(lambda: shown(it, "secrets")[0]["reason"], "the failure")
                first, second = shown(it, "secrets")
                assert first["name"] == "synced" and first["synced"] and second["reason"] == ""
                monkeypatch.setattr(limits, "MAX_SECRETS_SHOWN", 1)
                assert [item["name"] for item in shown(it, "secrets")] == ["synced"]
                assert it.driver.snapshot()["secret_count"] == 2

    asyncio.run(run())
