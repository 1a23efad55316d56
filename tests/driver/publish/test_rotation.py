"""When content is fetched again, what a failure does, and what a restart forgets: nothing."""

import asyncio
import os
import time
from pathlib import Path

import grpc
import pytest
import yaml

from driver.ports import INTERVAL_ANNOTATION, REFRESH_ANNOTATION, ClassRef, Pod, RefreshFailure
from driver.publish import schedule
from driver.registry import Volume
from driver.volume.target import Target
from runtime.errors import NotFound, Unavailable
from tests.support.rig import Rig, rig
from tests.support.rig import Volume as RigVolume

TARGET = Target.from_text("/p/pods/u/volumes/kubernetes.io~csi/v/mount", "")
WITH_ERRORS = {"objects": "- objectName: password", "stubError": "INTERNAL"}


def known(rig_: Rig, volume: RigVolume) -> Volume:
    """What the driver knows of a volume."""
    found = rig_.driver.volumes.get(str(volume.target))
    assert found is not None
    return found


def make_due(rig_: Rig, volume: RigVolume) -> None:
    """Let the volume's last refresh, and any back-off, lie far in the past."""
    found = known(rig_, volume)
    found.last_refresh, found.retry_at = 1.0, 0.0


def test_due_time_has_jitter_and_is_steady() -> None:
    """Due lies within ±10 % of the interval, spread over targets, and is the same whenever it is asked for."""
    times = [schedule.due_time(f"/t{number}", 1000.0, 100.0) for number in range(200)]
    assert min(times) >= 1090 and max(times) <= 1110
    assert max(times) - min(times) > 15
    assert times == [schedule.due_time(f"/t{number}", 1000.0, 100.0) for number in range(200)]


@pytest.mark.parametrize(
    "change, due",
    [
        ({}, False),
        ({"last_refresh": 1.0}, True),
        ({"last_refresh": 1.0, "retry_at": 2000.0}, False),
        ({"last_refresh": None}, True),
        ({"fingerprint": "other"}, True),
        ({"fingerprint": "other", "retry_at": 2000.0}, True),
        ({"fingerprint": ""}, False),
        ({"failure": RefreshFailure("R", "m", 1, 990.0)}, True),
        ({"failure": RefreshFailure("R", "m", 1, 990.0), "retry_at": 1010.0}, False),
    ],
)
def test_is_due(change: dict[str, object], due: bool) -> None:
    """A volume is due by its last refresh, after a failure once the back-off has ended, and at once when its class was
    changed."""
    volume = Volume(TARGET, Pod("n", "p", "u"), ClassRef("n", "c"), fingerprint="same", last_refresh=995.0)
    for name, value in change.items():
        setattr(volume, name, value)
    assert schedule.is_due(volume, "same", 100.0, 1000.0) is due


def test_back_off_doubles_up_to_a_cap_and_widens_for_overload() -> None:
    """10 s, 20 s, … 10 minutes; four times that where the provider is overloaded or away."""
    waits = [schedule.retry_time(NotFound("x"), count, 0.0) for count in (1, 2, 3, 50)]
    assert waits == [10, 20, 40, 600]
    assert schedule.retry_time(Unavailable("x"), 1, 0.0) == 40


@pytest.mark.parametrize("text, interval", [(None, 120), ("30s", 30), ("1h", 3600)])
def test_interval_of_a_class(text: str | None, interval: float) -> None:
    """The class's annotation beats the flag."""
    annotations = {} if text is None else {INTERVAL_ANNOTATION: text}
    assert schedule.interval_of(annotations, 120.0) == interval


@pytest.mark.parametrize("text", ["", "soon", "0", "10ms", "-5m"])
def test_bad_interval(text: str) -> None:
    """An annotation that is no sensible duration is named."""
    with pytest.raises(ValueError, match=INTERVAL_ANNOTATION):
        schedule.interval_of({INTERVAL_ANNOTATION: text}, 120.0)


def test_rotation_off(tmp_path: Path) -> None:
    """Without --enable-secret-rotation a republish never calls the provider, however old the content."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await volume.publish()
            make_due(it, volume)
            it.provider.put("password", "new")
            await volume.publish()
            assert it.provider.calls == 1 and volume.read() == b"s3cret"

    asyncio.run(run())


def test_rotation(tmp_path: Path) -> None:
    """A due volume is fetched with the versions that are in it; changed content is swapped in; inside the interval
    nothing is called."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            assert it.provider.last_request is not None and it.provider.last_request.current_versions == {}
            await volume.publish()
            assert it.provider.calls == 1
            versions = dict(known(it, volume).objects)
            make_due(it, volume)
            it.provider.put("password", "new")
            await volume.publish()
            assert volume.read() == b"new"
            assert it.provider.last_request.current_versions == versions
            assert it.metric("rotation_reconcile_total", provider="stub", rotated="true") == 1

    asyncio.run(run())


def test_unchanged_content_moves_the_clock(tmp_path: Path) -> None:
    """A refresh that changed nothing swaps nothing, but counts as a success: the next republish is not due (spec
    F.1-2)."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            link = os.readlink(volume.target / "..data")
            os.utime(volume.target / link, (1.0, 1.0))
            make_due(it, volume)
            await volume.publish()
            assert it.provider.calls == 2 and os.readlink(volume.target / "..data") == link
            assert (volume.target / link).stat().st_mtime > time.time() - 60
            await volume.publish()
            assert it.provider.calls == 2

    asyncio.run(run())


def test_mode_only_change_is_applied(tmp_path: Path) -> None:
    """A class that asks for another file mode and nothing else gets it (spec F.1-6)."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0644'"})
            volume = it.volume()
            await volume.publish()
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0400'"})
            await volume.publish()
            assert oct((volume.target / "password").stat().st_mode & 0o777) == "0o400"

    asyncio.run(run())


def test_failure_is_kept_quiet_to_kubelet_and_told_everywhere_else(tmp_path: Path) -> None:
    """A refresh that fails answers OK and keeps the content; status, metrics and condition tell; recovery clears it."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, volume_condition=True) as it:
            volume = it.volume()
            await volume.publish()
            it.write_class(parameters=WITH_ERRORS)
            await volume.publish()
            assert volume.read() == b"s3cret"
            failure = known(it, volume).failure
            assert failure is not None and failure.count == 1
            status = yaml.safe_load(next((it.manifests / "podstatuses").iterdir()).read_text())["status"]
            assert status["lastFailure"]["count"] == 1 and "INTERNAL" in status["lastFailure"]["message"]
            assert (
                it.metric(
                    "rotation_reconcile_error_total", provider="stub", error_type="GRPCProviderError", rotated="true"
                )
                == 1
            )
            assert it.driver.snapshot()["volumes"][0]["failures"] == 1
            await volume.publish()
            assert it.provider.calls == 2, "the back-off was not kept"
            it.write_class()
            await volume.publish()
            assert known(it, volume).failure is None
            status = yaml.safe_load(next((it.manifests / "podstatuses").iterdir()).read_text())["status"]
            assert "lastFailure" not in status

    asyncio.run(run())


def test_deleted_class_keeps_content(tmp_path: Path) -> None:
    """A class that is deleted under a running pod: republish answers OK, the content stays, the failure is told once
    a back-off."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            for path in it.manifests.glob("*.yaml"):
                path.unlink()
            await volume.publish()
            await volume.publish()
            assert volume.read() == b"s3cret"
            failure = known(it, volume).failure
            assert failure is not None and failure.count == 1 and "not found" in failure.message

    asyncio.run(run())


@pytest.mark.parametrize("annotations", [{REFRESH_ANNOTATION: "1"}])
def test_refresh_annotation(tmp_path: Path, annotations: dict[str, str]) -> None:
    """A new value of the refresh annotation makes the class's volumes due at once."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            it.write_class(annotations=annotations)
            await volume.publish()
            await volume.publish()
            assert it.provider.calls == 2

    asyncio.run(run())


def test_restart_knows_its_volumes(tmp_path: Path) -> None:
    """After a restart no volume is fetched that is not due, the versions are known, and the next due fetch sends
    them."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volumes = [it.volume(f"pod-{number}") for number in range(5)]
            for volume in volumes:
                await volume.publish()
            before = [os.readlink(volume.target / "..data") for volume in volumes]
            versions = dict(known(it, volumes[0]).objects)
            await it.restart()
            for volume in volumes:
                await volume.publish()
            assert it.provider.calls == 5
            assert [os.readlink(volume.target / "..data") for volume in volumes] == before
            make_due(it, volumes[0])
            await volumes[0].publish()
            assert it.provider.last_request is not None and it.provider.last_request.current_versions == versions

    asyncio.run(run())


def test_volume_that_was_not_recorded_is_finished(tmp_path: Path) -> None:
    """Killed between commit and pod status: the next publish fetches and records, with rotation off as well."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume()
            await volume.publish()
            status = next((it.manifests / "podstatuses").iterdir())
            status.unlink()
            await it.restart()
            await volume.publish()
            assert status.exists() and it.provider.calls == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "trouble, phrase",
    [
        ("provider", "PERMISSION_DENIED"),
        ("class", "failed to get secretproviderclass default/app"),
    ],
)
def test_unrecorded_content_outlives_a_final_failure(tmp_path: Path, trouble: str, phrase: str) -> None:
    """The record of a mounted volume is missing and cannot be made, since the provider refuses or the class is gone:
    the code is one after which kubelet keeps the volume, whose pod may be running; later it is recorded."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            status = next((it.manifests / "podstatuses").iterdir())
            status.unlink()
            await it.restart()
            if trouble == "class":
                next(it.manifests.glob("*.yaml")).unlink()
            else:
                it.write_class(parameters={**WITH_ERRORS, "stubError": "PERMISSION_DENIED"})
            code, text = await volume.failure()
            assert code == grpc.StatusCode.ABORTED and phrase in text
            assert volume.read() == b"s3cret" and volume.mounted
            it.write_class()
            await volume.publish()
            assert status.exists()

    asyncio.run(run())


def test_status_that_cannot_be_written(tmp_path: Path) -> None:
    """The directory of pod statuses is a file: UNAVAILABLE says so, the content stays, the next publish records it."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            in_the_way = it.manifests / "podstatuses"
            in_the_way.write_text("")
            volume = it.volume()
            code, text = await volume.failure()
            assert code == grpc.StatusCode.UNAVAILABLE and "podstatuses cannot be written" in text
            assert volume.read() == b"s3cret"
            in_the_way.unlink()
            await volume.publish()
            assert list(in_the_way.iterdir())

    asyncio.run(run())


def test_status_that_cannot_be_written_of_a_running_pod(tmp_path: Path) -> None:
    """New content that cannot be recorded is a refresh that failed like any other: OK each time, fetched again only
    after the back-off."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            statuses = it.manifests / "podstatuses"
            next(statuses.iterdir()).unlink()
            statuses.rmdir()
            statuses.write_text("")
            it.provider.put("password", "new")
            make_due(it, volume)
            await volume.publish()
            await volume.publish()
            assert volume.read() == b"new" and it.provider.calls == 2
            failure = known(it, volume).failure
            assert failure is not None and "cannot be written" in failure.message

    asyncio.run(run())


async def _bug(*_: object) -> None:
    raise KeyError("private detail")


def test_bug_takes_no_volume_from_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours in a republish: OK, the old content stays, and the failure is told without the bug's own text. One
    after the first commit: ABORTED. One before it: INTERNAL, and nothing is mounted."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume, other = it.volume(), it.volume("pod-2")
            await volume.publish()
            make_due(it, volume)
            with monkeypatch.context() as patch:
                patch.setattr(it.driver.providers, "mount", _bug)
                await volume.publish()
                failure = known(it, volume).failure
                assert volume.read() == b"s3cret" and failure is not None
                assert "internal error" in failure.message and "private detail" not in failure.message
                code, text = await other.failure()
                assert code == grpc.StatusCode.INTERNAL and "private detail" not in text and not other.mounted
            with monkeypatch.context() as patch:
                patch.setattr(it.driver.backend.cluster, "record", _bug)
                code, text = await other.failure()
                assert code == grpc.StatusCode.ABORTED and "keeps its content" in text and "private" not in text
                assert other.read() == b"s3cret"
            await other.publish()

    asyncio.run(run())
