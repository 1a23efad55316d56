"""A directory that somebody empties while sockets are made in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime import sockets


def empty_after_bind(monkeypatch: pytest.MonkeyPatch, directory: Path, *, remove: bool) -> None:
    """From now on each socket that is bound in the directory is removed at once; with ``remove`` the directory, too."""
    original = sockets.private_umask

    @contextmanager
    def emptied() -> Iterator[None]:
        with original():
            yield
        if remove:
            shutil.rmtree(directory, ignore_errors=True)
        for path in directory.glob(".*"):
            path.unlink()

    monkeypatch.setattr(sockets, "private_umask", emptied)
