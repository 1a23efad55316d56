"""tmpfs by system call, the mount table, and dead or foreign mounts."""

import os
import threading
from pathlib import Path

import pytest

from driver.volume import mountinfo, mounts, operations
from driver.volume.mounts import Mounted
from runtime.errors import Internal, InvalidRequest
from tests.driver.volume.support import SIZE, bind, commit, files, mount_dead


def line_of(path: Path) -> str:
    """The mount table's line of a path."""
    text = Path("/proc/self/mountinfo").read_text()
    return next(line for line in text.splitlines() if line.split()[4] == str(path))


def test_mount_options(volume: Path) -> None:
    """A mounted volume: nosuid, nodev, noexec, its size, and mode 0755 whatever the umask."""
    line = line_of(volume)
    for option in ("nosuid", "nodev", "noexec", f"size={SIZE // 1024}k", "mode=755"):
        assert option in line
    assert volume.stat().st_mode & 0o7777 == 0o755


def test_kernels_own_size(target: Path) -> None:
    """Without a size the option is left out, for ``size=0`` would be no limit at all."""
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=None, noswap=False)
    assert "size=" not in line_of(target)
    usage = mounts.usage(str(target))
    assert usage is not None and usage.bytes_total > 0
    with pytest.raises(ValueError):
        mounts.mount_tmpfs(str(target), size=0, noswap=False)


def test_noswap(target: Path) -> None:
    """Where the probe says yes the option is set; the probe itself leaves nothing mounted."""
    before = len(list(mountinfo.rows()))
    possible = mounts.probe_noswap()
    assert len(list(mountinfo.rows())) == before
    if not possible:
        pytest.skip("this kernel has no noswap")
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=SIZE, noswap=True)
    assert "noswap" in line_of(target)


def test_what_is_mounted(volume: Path, pods: Path) -> None:
    """A tmpfs is told from a directory beside it, one inside it, a missing path and a bind mount of a disk."""
    (volume / "inside").mkdir()
    assert mounts.mounted_at(str(volume)) == Mounted(tmpfs=True)
    assert mounts.mounted_at(str(volume.parent)) is None
    assert mounts.mounted_at(str(volume / "inside")) is None
    assert mounts.mounted_at(str(pods / "missing" / "path")) is None
    other = pods / "other"
    other.mkdir()
    bind(Path("/proc"), other)
    assert mounts.mounted_at(str(other)) == Mounted(tmpfs=False)
    assert mounts.is_mounted(str(other)) and not mounts.is_tmpfs(str(other))


def test_bind_mount_of_the_same_file_system(pods: Path) -> None:
    """A bind mount has its parent's device number; it is a mount all the same."""
    source, place = pods / "source", pods / "place"
    source.mkdir()
    place.mkdir()
    bind(source, place)
    assert source.stat().st_dev == place.stat().st_dev
    assert mounts.is_mounted(str(place))


def test_dead_mount(target: Path) -> None:
    """A file system whose server is gone: mounted and dead, never a tmpfs; it can be unmounted."""
    target.mkdir()
    mount_dead(target)
    with pytest.raises(OSError):
        os.listdir(target)
    assert mounts.mounted_at(str(target)) == Mounted(tmpfs=False, dead=True)
    assert operations.inspect(str(target)).foreign_mount
    assert mounts.usage(str(target)) is None
    assert mounts.unmount(str(target))
    assert not mounts.is_mounted(str(target))


def test_stacked_mounts(volume: Path) -> None:
    """Two tmpfs on one target: both go."""
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    assert mounts.unmount(str(volume))
    assert mounts.is_mounted(str(volume))
    mounts.mount_tmpfs(str(volume), size=SIZE, noswap=False)
    mounts.unmount_all(str(volume))
    assert not mounts.is_mounted(str(volume))


def test_unmount_where_nothing_is_mounted(target: Path) -> None:
    """A plain directory, then no directory: nothing to unmount, no failure."""
    target.mkdir()
    assert not mounts.unmount(str(target))
    target.rmdir()
    assert not mounts.unmount(str(target))


def test_unmount_does_not_follow(volume: Path, pods: Path) -> None:
    """A symlink to a mounted volume: the volume stays mounted."""
    link = pods / "link"
    link.symlink_to(volume)
    with pytest.raises(InvalidRequest):
        mounts.unmount(str(link))
    assert mounts.is_mounted(str(volume))


def test_busy_mount(volume: Path) -> None:
    """A process works in the volume: Internal, with the reason; unmounted once it has left."""
    held = os.open(volume, os.O_RDONLY)
    try:
        with pytest.raises(Internal, match="still uses it"):
            mounts.unmount(str(volume))
    finally:
        os.close(held)
    assert mounts.unmount(str(volume))


def test_unmount_beside_statistics(target: Path) -> None:
    """Statistics are asked for all the time while a volume is mounted and unmounted: neither ever fails."""
    target.mkdir()
    done = threading.Event()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            while not done.wait(0.0005):
                mounts.usage(str(target))
        except BaseException as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
            assert mounts.unmount(str(target))
    finally:
        done.set()
        asking.join()
    assert not failures


def test_mount_on_what_is_no_directory(target: Path) -> None:
    """A missing target fails with a sentence; a symlink is refused, and nothing is mounted where it leads."""
    with pytest.raises(Internal, match="failed to mount tmpfs"):
        mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
    elsewhere = target.parent / "elsewhere"
    elsewhere.mkdir()
    target.symlink_to(elsewhere)
    with pytest.raises(InvalidRequest):
        mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
    assert not mounts.is_mounted(str(elsewhere))


def test_usage(volume: Path) -> None:
    """Bytes and inodes grow by what is written; a plain directory has none."""
    before = mounts.usage(str(volume))
    (volume / "file").write_bytes(b"x" * 8192)
    after = mounts.usage(str(volume))
    assert before is not None and after is not None
    assert (after.bytes_total, after.bytes_used) == (SIZE, before.bytes_used + 8192)
    assert after.bytes_available == SIZE - after.bytes_used
    assert after.inodes_used == before.inodes_used + 1
    assert after.inodes_total == after.inodes_used + after.inodes_available
    assert mounts.usage(str(volume.parent)) is None


def test_rows_of_the_mount_table() -> None:
    """Optional fields, octal escapes and bytes that are no UTF-8 are read; a line that makes no sense is left out."""
    text = (
        b"36 35 98:0 / /mnt/a\\040b\\134c\\011 rw,noatime shared:1 master:2 - tmpfs tmpfs rw\n"
        b"37 35 0:5 /part /mnt/\xff rw - ext4 /dev/sda1 rw,errors=continue\n"
        b"nonsense\n"
    )
    assert list(mountinfo.rows(text)) == [
        mountinfo.Row("/", "/mnt/a b\\c\t", "tmpfs"),
        mountinfo.Row("/part", "/mnt/\udcff", "ext4"),
    ]


def test_volumes_after_a_restart(pods: Path, tmp_path: Path) -> None:
    """Only a whole tmpfs at a target below the pods directory is listed, once even if stacked; no other driver's is."""

    def mounted(uid: str, root: Path = pods, note: str = "") -> Path:
        path = root / uid / "volumes" / "kubernetes.io~csi" / "a name" / "mount"
        path.mkdir(parents=True)
        mounts.mount_tmpfs(str(path), size=SIZE, noswap=False)
        if note:
            (path.parent / "vol_data.json").write_text(note)
        return path

    ours = mounted("ours", note='{"driverName": "us"}')
    mounts.mount_tmpfs(str(ours), size=SIZE, noswap=False)
    unnoted = mounted("unnoted", note="no JSON")
    mounted("theirs", note='{"driverName": "them"}')
    mounted("outside", root=tmp_path / "another" / "pods")
    part = mounted("part-of")
    (part / "part").mkdir()
    other = pods / "bound" / "volumes" / "kubernetes.io~csi" / "b" / "mount"
    other.mkdir(parents=True)
    bind(part / "part", other)
    found = {target.path for target in mountinfo.list_volumes(str(pods), "us")}
    assert found == {str(ours), str(unnoted), str(part)}
    assert len(mountinfo.list_volumes(str(pods))) == 4
    commit(ours, files(a=b"1"))
    assert [target.path for target in operations.committed_targets(str(pods), "us")] == [str(ours)]
    (tmp_path / "link").symlink_to(tmp_path)
    linked = operations.committed_targets(f"{tmp_path}/link/pods", "us")
    assert [target.path for target in linked] == [str(ours).replace(str(tmp_path), f"{tmp_path}/link")]
