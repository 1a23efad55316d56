"""Composed files in a mounted volume: a whole driver, a real provider, a real tmpfs."""

import stat
from pathlib import Path

from grpc import StatusCode

from tests.support.rig import rig
from tests.support.waiting import run_async

FILES = [{"path": "app.env", "format": "dotenv", "objects": [{"objectName": "password", "key": "DB_PASSWORD"}]}]


def test_a_composed_file_is_part_of_the_volume(tmp_path: Path) -> None:
    """A class with spec.files → the volume has the file beside its objects, with the objects' mode; the secret rotates
    → the file changes with it."""

    async def test() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as running:
            running.write_class(files=FILES, annotations={"secrets-store.csi.k8s.io/rotation-poll-interval": "1s"})
            volume = running.volume()
            await volume.publish()
            assert volume.read("app.env") == b"DB_PASSWORD=s3cret\n" and volume.read() == b"s3cret"
            assert stat.S_IMODE((volume.target / "app.env").stat().st_mode) == stat.S_IMODE(
                (volume.target / "password").stat().st_mode
            )
            running.provider.put("password", "n3w value")
            running.write_class(files=FILES, annotations={"secrets-store.csi.k8s.io/refresh": "now"})
            await volume.publish()
            assert volume.read("app.env") == b"DB_PASSWORD='n3w value'\n"

    run_async(test)


def test_a_changed_list_of_files_counts_at_once(tmp_path: Path) -> None:
    """spec.files changes → the volume is due at once, and the former file is gone."""

    async def test() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as running:
            running.write_class(files=FILES)
            volume = running.volume()
            await volume.publish()
            running.write_class(files=[{**FILES[0], "path": "other.env"}])
            await volume.publish()
            assert volume.read("other.env") == b"DB_PASSWORD=s3cret\n"
            assert not (volume.target / "app.env").exists()

    run_async(test)


def test_a_mistake_fails_the_publish(tmp_path: Path) -> None:
    """spec.files names an object that the provider did not send → FAILED_PRECONDITION, with the field, and no mount."""

    async def test() -> None:
        async with rig(tmp_path) as running:
            running.write_class(files=[{**FILES[0], "objects": [{"objectName": "none", "key": "X"}]}])
            volume = running.volume()
            code, sentence = await volume.failure()
            assert code == StatusCode.FAILED_PRECONDITION
            assert "spec.files[0]: file matching objectName none not found" in sentence
            assert not volume.mounted

    run_async(test)
