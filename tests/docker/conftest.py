"""The built image, read once, and its file system, unpacked once."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from docker.archive import ARCHIVE, Image

Chroot = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def image() -> Image:
    """The built image; skipped where it was not built."""
    if not ARCHIVE.exists():
        text = "no image: make image"
        pytest.fail(text) if os.environ.get("SECRETS_STORE_REQUIRE_CLUSTER") == "1" else pytest.skip(text)
    return Image.read(ARCHIVE)


@pytest.fixture(scope="session")
def root(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's file system, unpacked."""
    directory = tmp_path_factory.mktemp("image")
    image.unpack(directory)
    return directory


@pytest.fixture(scope="session")
def chroot(root: Path) -> Chroot:
    """Runs a program of the image in its file system, as root, with nothing of this machine in its environment."""
    if os.getuid() != 0:
        pytest.skip("chroot needs root")

    def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(shutil.which("chroot")), str(root), *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
