"""Republishing: what is refreshed, what is finished, and what happens when it fails."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest

from driver.ports import REFRESH_ANNOTATION
from driver.publish import schedule
from driver.publish.reporting import Content
from provider_stub.running import running
from runtime import clock
from runtime.flags import Duration
from tests.driver.publish.support import FAILING, known, make_due
from tests.support.clocks import clock_set
from tests.support.rig import Rig, Volume, rig


def test_rotation_off(tmp_path: Path) -> None:
    """Without --enable-secret-rotation a republish never calls the provider, however old the content is."""

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
    """A due volume is fetched; changed content replaces it; inside the interval the provider is not called."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            await volume.publish()
            assert it.provider.calls == 1
            make_due(it, volume)
            it.provider.put("password", "new")
            await volume.publish()
            assert volume.read() == b"new"
            assert it.metric("rotation_reconcile_total", provider="stub", rotated="true") == 1

    asyncio.run(run())


@pytest.mark.parametrize("percent, calls", [(0, 2), (50, 1)])
def test_jitter(tmp_path: Path, percent: int, calls: int) -> None:
    """The interval has just passed, and with its jitter the volume is due later only → without jitter it is fetched,
    as with the Go driver, with jitter it is not yet."""

    async def run() -> None:
        config = {"rotation_poll_interval": Duration(1000.0), "rotation_jitter_percent": percent}
        async with rig(tmp_path, enable_secret_rotation=True, **config) as it:
            volume = it.volume()
            await volume.publish()
            state = known(it, volume)
            passed = (clock.now() - 1001.0 - step for step in range(200))
            state.refreshed_at = next(
                moment
                for moment in passed
                if schedule.due_time(str(volume.target), moment, 1000.0, 0.5) > clock.now() + 100.0
            )
            await volume.publish()
            assert it.provider.calls == calls

    asyncio.run(run())


def test_unchanged_content_counts_as_refreshed(tmp_path: Path) -> None:
    """A refresh with unchanged content replaces nothing, but is a success: the next republish is not due."""

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


def test_change_of_mode(tmp_path: Path) -> None:
    """A class that changes only the mode of a file gets it."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0644'"})
            volume = it.volume()
            await volume.publish()
            it.write_class(parameters={"objects": "- objectName: password\n  filePermission: '0400'"})
            await volume.publish()
            assert oct((volume.target / "password").stat().st_mode & 0o777) == "0o400"

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


async def publish_unrecorded(it: Rig) -> tuple[Volume, Path]:
    """Restart the driver after the commit of a first publish and before its pod status; returns the volume, and the
    directory where there will be one."""
    statuses = it.manifests / "podstatuses"
    statuses.write_text("")
    volume = it.volume()
    code, _ = await volume.failure()
    assert code == grpc.StatusCode.UNAVAILABLE
    statuses.unlink()
    await it.restart()
    return volume, statuses


def test_missing_pod_status_is_written(tmp_path: Path) -> None:
    """Killed between the commit and the pod status: the next publish fetches and records, even if rotation is off."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume, statuses = await publish_unrecorded(it)
            await volume.publish()
            assert len(list(statuses.iterdir())) == 1 and it.provider.calls == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "trouble, phrase",
    [
        ("provider", "PERMISSION_DENIED"),
        ("class", "failed to get secretproviderclass default/app"),
    ],
)
def test_unrecorded_content_survives_a_final_failure(tmp_path: Path, trouble: str, phrase: str) -> None:
    """The pod status of a mounted volume is missing and cannot be written, because the provider rejects the call or the
    class is gone: the code is not final, since the pod may be running. Later it is written."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume, statuses = await publish_unrecorded(it)
            if trouble == "class":
                next(it.manifests.glob("*.yaml")).unlink()
            else:
                it.write_class(parameters={**FAILING, "stubError": "PERMISSION_DENIED"})
            code, text = await volume.failure()
            assert code == grpc.StatusCode.ABORTED and phrase in text
            assert volume.read() == b"s3cret" and volume.mounted
            it.write_class()
            await volume.publish()
            assert len(list(statuses.iterdir())) == 1

    asyncio.run(run())


def test_unwritable_status_of_a_first_publish(tmp_path: Path) -> None:
    """The directory of pod statuses is a file: UNAVAILABLE says so, the content stays, and the next publish writes the
    status."""

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


def test_unwritable_status_of_a_refresh(tmp_path: Path) -> None:
    """A refresh whose pod status cannot be written has failed like any other: OK each time, and fetched again only
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


def test_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a republish: OK, the old content stays, and the failure is reported without the bug's own text. A bug
    after the first commit: ABORTED. A bug before it: INTERNAL, and nothing is mounted."""

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


def test_no_versions_are_sent(tmp_path: Path) -> None:
    """First publish, restart and refresh, rotation, and an object that leaves the class and comes back → the provider
    is never told a version, as with the Go driver, and the volume has what the class lists."""
    objects = {"objects": "- objectName: password\n- objectName: other\n"}

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.provider.put("other", "o1")
            it.write_class(parameters=objects)
            volume = it.volume()
            await volume.publish()
            await it.restart()
            make_due(it, volume)
            await volume.publish()
            it.write_class()
            await volume.publish()
            assert not (volume.target / "other").exists()
            it.provider.put("password", "p2")
            it.provider.put("other", "o2")
            it.write_class(parameters=objects)
            await volume.publish()
            assert (volume.read(), volume.read("other")) == (b"p2", b"o2")
            assert [request.current_versions for request in it.provider.requests] == [{}] * 4
            assert known(it, volume).failure is None and len(known(it, volume).objects) == 2

    asyncio.run(run())


@pytest.mark.parametrize("hours", [1.0, -1.0, 24.0 * 365])
def test_clock_is_wrong_during_a_publish(tmp_path: Path, hours: float) -> None:
    """The clock is an hour or a year ahead, or an hour behind, during a publish and a failed refresh, and is then set
    right → the next refresh and the end of the back-off come as if nothing had happened, and the age is true."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=1.0) as it:
            volume = it.volume()
            with clock_set(hours):
                await volume.publish()
            last_refresh = known(it, volume).last_refresh
            assert last_refresh is not None and -60 < last_refresh - time.time() <= 0
            async with asyncio.timeout(30):
                while it.provider.calls < 2:
                    await volume.publish()
                    await asyncio.sleep(0.1)
            with clock_set(hours):
                it.write_class(parameters=FAILING)
                await volume.publish()
            assert known(it, volume).failure is not None
            assert -60 < known(it, volume).retry_at - clock.now() <= 10

    asyncio.run(run())


@pytest.mark.parametrize("how", ["crash", "socket removed", "crash, and the driver restarts", "both"])
def test_back_off_ends_when_the_provider_is_back(tmp_path: Path, how: str) -> None:
    """A refresh fails because the provider is away: crashed with its socket left behind, or removed from the node,
    before or after a restart of the driver → as long as it is away the back-off is kept; when its socket answers again
    the next republish refreshes at once."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            it.provider.crash()
            if how in ("socket removed", "both"):
                (it.providers_dir / "stub.sock").unlink()
            if how in ("crash, and the driver restarts", "both"):
                await it.restart()
            make_due(it, volume)
            with suppress(grpc.aio.AioRpcError):
                await volume.publish(timeout=1.5)
            failure = known(it, volume).failure
            assert failure is not None and known(it, volume).provider_away
            await volume.publish()
            assert known(it, volume).failure is failure, "the back-off was not kept"
            known(it, volume).retry_at = clock.now() + 3600
            it.provider.put("password", "new")
            async with running(it.providers_dir / "stub.sock", it.secrets_dir), asyncio.timeout(60):
                while volume.read() != b"new":
                    await volume.publish()
            assert known(it, volume).failure is None

    asyncio.run(run())


@pytest.mark.parametrize("parameters", [{**FAILING, "stubError": "UNAVAILABLE"}, {**FAILING, "stubErrorCode": "Away"}])
def test_back_off_of_a_provider_that_answers(tmp_path: Path, parameters: dict[str, str]) -> None:
    """The provider itself answers that its store is away, with a code or in its reply → its socket is no reason to ask
    it again before the end of the back-off."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            it.write_class(parameters=parameters)
            await volume.publish()
            calls = it.provider.calls
            assert calls > 1 and not known(it, volume).provider_away
            await volume.publish()
            assert it.provider.calls == calls

    asyncio.run(run())


def test_rotation_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A rotation changes one of two objects → one line at -v=0 with pod, class, volume and that object, without its
    value. A first publish and a refresh that changes nothing → no such line."""

    def lines() -> list[dict[str, Any]]:
        return [item.fields for item in caplog.records if item.getMessage() == "Rotated a volume"]  # type: ignore[attr-defined]  # set by runtime.logs

    caplog.set_level("INFO")

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            it.provider.put("other", "o1")
            it.write_class(parameters={"objects": "- objectName: password\n- objectName: other\n"})
            volume = it.volume()
            await volume.publish()
            make_due(it, volume)
            await volume.publish()
            assert not lines()
            it.provider.put("other", "canary-o2")
            make_due(it, volume)
            await volume.publish()
            [line] = lines()
            assert str(line["pod"]) == "default/pod-1" and str(line["secretProviderClass"]) == "default/app"
            assert line["volume"] == "secrets" and line["objects"] == "other"
            assert "canary" not in str(line)

    asyncio.run(run())


@pytest.mark.parametrize("fails", ["provider", "commit", "middle of the commit", "pod status", "record"])
def test_sentence_says_which_content_there_is(tmp_path: Path, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh fails before, in or after its commit → the event says that the volume keeps its old content if it does,
    and that it has new content if that was committed."""
    events: list[str] = []

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            volume = it.volume()
            await volume.publish()
            it.provider.put("password", "new")
            make_due(it, volume)

            async def event(event: Any) -> None:
                events.append(event.message)

            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(it.driver.backend.cluster, "event", event)
            if fails == "provider":
                it.write_class(parameters=FAILING)
            elif fails == "commit":
                monkeypatch.setattr("driver.volume.writer._create_content", full)
            elif fails == "middle of the commit":
                monkeypatch.setattr("driver.volume.writer.sweep", Mock(side_effect=[None, OSError(28, "full")]))
            elif fails == "pod status":
                monkeypatch.setattr(it.driver.backend.cluster, "record", _bug)
            else:
                monkeypatch.setattr("driver.volume.content.set_last_refresh", full)
            await volume.publish()
            [message] = events
            replaced = volume.read() == b"new"
            assert replaced == (fails not in ("provider", "commit"))
            assert message.startswith(f"volume secrets {Content.NEW if replaced else Content.OLD}: ")

    asyncio.run(run())
