"""Reading the files of a volume."""

import os
from pathlib import Path

import pytest

from driver.volume import content
from runtime.errors import ResourceExhausted
from tests.driver.volume.support import SIZE, commit, files, inspect

SECRET = "outside the volume"


def read(volume: Path, limit: int = SIZE) -> dict[str, bytes]:
    return content.read_files(str(volume), limit)


def test_files_by_path(volume: Path) -> None:
    """Flat and nested files are found by their paths, whatever their modes; reserved names are not."""
    commit(volume, files(a=b"1", baz__bar=b"2", d__e__f=b""))
    assert read(volume) == {"a": b"1", "baz/bar": b"2", "d/e/f": b""}


def test_own_files_of_a_provider(volume: Path) -> None:
    """A provider wrote the files itself, and the volume is committed or not."""
    (volume / "own").write_bytes(b"1")
    (volume / "dir").mkdir()
    (volume / "dir" / "f").write_bytes(b"2")
    assert read(volume) == {"own": b"1", "dir/f": b"2"}
    commit(volume, [])
    assert read(volume) == {"own": b"1", "dir/f": b"2"}


def test_symlinks(volume: Path) -> None:
    """A top-level symlink is followed once inside the volume; never out of it, through another one, at deeper levels,
    or in a loop."""
    outside = volume.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text(SECRET)
    (volume / "dir").mkdir()
    (volume / "dir" / "f").write_bytes(b"2")
    for name, text in {
        "good": "dir/f",
        "gooddir": "dir",
        "absolute": str(outside / "f"),
        "up": "../outside/f",
        "up2": "dir/../../outside/f",
        "outdir": str(outside),
        "second": "good",
        "through": "outdir/f",
        "loop": "loop",
        "dangling": "nothing",
        "dot": ".",
        "nodata": "..data/x",
        "data": "..data",
        "slash": "dir/",
        "deep": "x/" * 500,
        "file-as-dir": "dir/f/x",
    }.items():
        (volume / name).symlink_to(text)
    (volume / "dir" / "deeper").symlink_to(outside / "f")
    assert read(volume) == {"dir/f": b"2", "good": b"2", "gooddir/f": b"2"}


def test_swapped_content_is_not_followed(volume: Path) -> None:
    """The directory that ``..data`` points to, or a file in it, was replaced by a symlink out of the volume:
    skipped."""
    outside = volume.parent / "outside"
    outside.mkdir()
    (outside / "a").write_text(SECRET)
    commit(volume, files(a=b"1", b=b"2"))
    stamp = os.readlink(volume / "..data")
    (volume / stamp / "a").unlink()
    (volume / stamp / "a").symlink_to(outside / "a")
    assert read(volume) == {"b": b"2"}
    (volume / "..data").unlink()
    (volume / "..data").symlink_to(outside)
    assert read(volume) == {}


def test_limit(volume: Path) -> None:
    """As many bytes as the limit are read; one more is an error."""
    commit(volume, files(a=b"12345", b=b"67890"))
    assert len(read(volume, 10)) == 2
    with pytest.raises(ResourceExhausted, match="more than the 9 bytes"):
        read(volume, 9)


def test_special_files_and_a_missing_volume(volume: Path, pods: Path) -> None:
    """A FIFO is skipped without waiting for it; a missing volume has no files and is not committed."""
    os.mkfifo(volume / "fifo")
    assert read(volume) == {}
    missing = str(pods / "missing")
    assert content.read_files(missing, 1) == {}
    assert inspect(pods / "missing").last_refresh is None
    assert not inspect(pods / "missing").committed and not inspect(pods / "missing").foreign_entries


def test_foreign_entries(volume: Path) -> None:
    """The leftovers of an interrupted writer are not foreign; a provider's file is, hidden or not."""
    (volume / "..data_tmp").symlink_to("x")
    (volume / "..2001_01_01_00_00_00.1").mkdir()
    (volume / "a").symlink_to("..data/a")
    assert not inspect(volume).foreign_entries
    (volume / "..hidden").write_text("")
    assert inspect(volume).foreign_entries
