"""The record of a volume: written, read, replaced, and never believed if it is not the driver's."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.limits import MAX_RECORD_BYTES
from driver.volume import content, layout, operations, record
from driver.volume.record import Record
from tests.driver.volume.support import commit, files, forbid_attributes, seen

DETAILS = {"pod": {"name": "pod"}, "text": "ü\u0000\n"}


@pytest.fixture(params=["attribute", "file"])
def root(request: pytest.FixtureRequest, volume: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A volume without a record, open; where its record is an extended attribute, and where it must be a file."""
    if request.param == "file":
        forbid_attributes(monkeypatch)
    fd = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    remove(fd)
    yield fd
    os.close(fd)


def remove(root: int) -> None:
    """Remove the record."""
    try:
        os.removexattr(root, record.ATTRIBUTE)
    except OSError:
        os.unlink(layout.RECORD, dir_fd=root)


def put(root: int, data: bytes) -> None:
    """Write any bytes as the record, as the driver would."""
    try:
        os.setxattr(root, record.ATTRIBUTE, data)
    except OSError:
        fd = os.open(layout.RECORD, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=root)
        os.write(fd, data)
        os.close(fd)


def test_written_and_read(root: int) -> None:
    """What is written is read; the next one replaces it; a volume without one has none."""
    assert record.read(root) is None
    for written in (Record(True), Record(False, "..2026", DETAILS), Record(True, "", {"n": 1.5, "none": None})):
        record.write(root, written)
        assert record.read(root) == written


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"version":1}',
        b'{"version":2,"mounted":true,"content":"","details":{}}',
        b'{"version":1,"mounted":1,"content":"","details":{}}',
        b'{"version":1,"mounted":true,"content":[],"details":{}}',
        b'{"version":1,"mounted":true,"content":"","details":[]}',
        b"9" * 5000,
    ],
)
def test_damaged(root: int, data: bytes) -> None:
    """Damaged, of another version or another shape: as if there were none, and it is replaced."""
    put(root, data)
    assert record.read(root) is None
    record.update(root, DETAILS)
    assert record.read(root) == Record(False, "", DETAILS)


def test_too_large(root: int) -> None:
    """What does not fit is refused, and the former record stays."""
    record.write(root, Record(True, "", DETAILS))
    with pytest.raises(record.TooLarge, match="65536 are possible"):
        record.write(root, Record(True, "", {"objects": "v" * MAX_RECORD_BYTES}))
    largest = "v" * (MAX_RECORD_BYTES - len(json.dumps({"details": {"o": ""}, "version": 1, "mounted": True})) - 60)
    record.write(root, Record(True, "", {"o": largest}))
    assert record.read(root) == Record(True, "", {"o": largest})
    assert layout.RECORD_TMP not in os.listdir(root)


def test_update_keeps_who_mounted_it(root: int) -> None:
    """The details change, who mounted the volume does not; nothing is written if nothing changes."""
    record.write(root, Record(True))
    record.update(root, DETAILS)
    assert record.read(root) == Record(True, "", DETAILS)
    before = os.stat(root).st_ctime_ns
    record.update(root, dict(DETAILS))
    assert os.stat(root).st_ctime_ns == before


def test_of_which_content(root: int, volume: Path) -> None:
    """A record of an older content is recognised as such."""
    commit(volume, files(a=b"1"), details={"n": 1})
    first = record.read(root)
    assert first is not None and record.is_up_to_date(root, first)
    commit(volume, files(a=b"2"), details={"n": 2})
    second = record.read(root)
    assert second is not None and second.details == {"n": 2} and record.is_up_to_date(root, second)
    assert not record.is_up_to_date(root, first)
    os.unlink(volume / "..data")
    assert not record.is_up_to_date(root, second)
    assert not record.is_up_to_date(root, Record(True))


def test_pods_do_not_see_it(root: int, volume: Path) -> None:
    """It is neither a file of the volume for pods and Secrets, nor one that a provider wrote itself."""
    commit(volume, files(a=b"1"), details={"n": 1})
    assert seen(volume) == {"a": b"1"} and content.read_files(str(volume), 1000) == {"a": b"1"}
    assert not operations.inspect(str(volume)).foreign_entries
    if layout.RECORD in os.listdir(root):
        assert (volume / layout.RECORD).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("forge", ["symlink", "directory", "fifo", "mode", "owner", "hard-link", "too-large"])
def test_file_that_is_not_the_drivers(volume: Path, monkeypatch: pytest.MonkeyPatch, forge: str) -> None:
    """A file ``..record`` that the driver did not make so is not a record, and is replaced by the next one."""
    forbid_attributes(monkeypatch)
    path = volume / layout.RECORD
    path.unlink(missing_ok=True)
    good = json.dumps({"version": 1, "mounted": True, "content": "", "details": {}})
    aside = volume / "aside"
    if forge == "directory":
        path.mkdir()
    elif forge == "fifo":
        os.mkfifo(path, 0o600)
    else:
        aside.write_text(good + " " * MAX_RECORD_BYTES if forge == "too-large" else good)
        aside.chmod(0o644 if forge == "mode" else 0o600)
        if forge == "owner":
            monkeypatch.setattr(os, "geteuid", lambda: 4711)
        if forge == "symlink":
            path.symlink_to("aside")
        elif forge == "hard-link":
            os.link(aside, path)
        else:
            aside.rename(path)
    root = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert record.read(root) is None
        monkeypatch.undo()
        forbid_attributes(monkeypatch)
        record.write(root, Record(True, "", DETAILS))
        assert record.read(root) == Record(True, "", DETAILS)
    finally:
        os.close(root)


def test_no_record_is_no_failure(
    volume: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel has no memory for a record: the content is committed, and the log says what is missing."""

    def fail(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "setxattr", fail)
    assert commit(volume, files(a=b"1"), details={"n": 1})
    assert seen(volume) == {"a": b"1"} and "record of a volume could not be written" in caplog.text
    operations.write_record(str(volume), {"n": 2})
    operations.write_record(str(volume / "gone"), {"n": 2})
