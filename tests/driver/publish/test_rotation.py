"""Republishing: what is refreshed, what is finished, and what happens when it fails."""

import asyncio
import os
import time
from pathlib import Path

import grpc
import pytest

from driver.ports import REFRESH_ANNOTATION
from tests.driver.publish.support import FAILING, known, make_due
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
    """A due volume is fetched with the versions of its content; changed content replaces it; inside the interval the
    provider is not called."""

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
