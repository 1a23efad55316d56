"""Real directories in kubelet's shape and real tmpfs in them; whatever a test leaves mounted is unmounted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.volume import mounts
from tests.driver.volume.support import SIZE
from tests.support.mounts import unmount_below


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Path]:
    """An empty pods directory."""
    directory = tmp_path / "pods"
    directory.mkdir()
    yield directory
    unmount_below(tmp_path)


@pytest.fixture
def target(pods: Path) -> Path:
    """A target path; kubelet has made the directory above it."""
    path = pods / "1234-uid" / "volumes" / "kubernetes.io~csi" / "secrets" / "mount"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def volume(target: Path) -> Path:
    """A target with an empty tmpfs of ``SIZE`` bytes mounted on it."""
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=SIZE, noswap=False)
    return target
