"""Measuring a volume."""

import threading
from pathlib import Path

from driver.volume import mounts, usage
from tests.driver.volume.support import SIZE


def test_usage(volume: Path) -> None:
    """Bytes and inodes grow with what is written; a plain directory has no usage."""
    before = usage.measure(str(volume))
    (volume / "file").write_bytes(b"x" * 8192)
    after = usage.measure(str(volume))
    assert before is not None and after is not None
    assert (after.bytes_total, after.bytes_used) == (SIZE, before.bytes_used + 8192)
    assert after.bytes_available == SIZE - after.bytes_used
    assert after.inodes_used == before.inodes_used + 1
    assert after.inodes_total == after.inodes_used + after.inodes_available
    assert usage.measure(str(volume.parent)) is None


def test_unmount_during_statistics(target: Path) -> None:
    """Statistics are requested all the time while a volume is mounted and unmounted: neither ever fails."""
    target.mkdir()
    done = threading.Event()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            while not done.wait(0.0005):
                usage.measure(str(target))
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
