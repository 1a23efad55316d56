"""Directories in kubelet's layout, with a real tmpfs."""

from pathlib import Path

import pytest

from driver.volume import operations
from tests.driver.volume.support import SIZE


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    """An empty pods directory."""
    directory = tmp_path / "pods"
    directory.mkdir()
    return directory


@pytest.fixture
def target(pods: Path) -> Path:
    """A target path, of which kubelet has created the parent."""
    path = pods / "1234-uid" / "volumes" / "kubernetes.io~csi" / "secrets" / "mount"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def volume(target: Path) -> Path:
    """A target path with an empty tmpfs of ``SIZE`` bytes mounted on it, as a publish mounts it."""
    operations.prepare(str(target), SIZE, False, {})
    return target
