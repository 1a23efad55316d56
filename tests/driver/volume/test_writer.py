"""What a volume holds after writes of all kinds."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from driver.volume import writer
from driver.volume.payload import File, plan
from runtime.errors import Aborted, Internal, InvalidRequest, ResourceExhausted
from tests.driver.volume.support import (
    SIZE,
    commit,
    content_names,
    entries_of,
    file,
    files,
    inspect,
    is_tidy,
    mode_of,
    seen,
)
from tests.support import needs
from tests.support.mounts import bind, make_read_only

STAMP = re.compile(r"\.\.\d{4}(_\d\d){5}\.\d+")


def layout_of(volume: Path) -> list[tuple[str, int]]:
    return sorted((name, os.lstat(volume / name).st_ino) for name in entries_of(volume))


def test_layout(volume: Path) -> None:
    """Nested and flat files: kubelet's layout, relative symlinks, directories with mode 0755, files with theirs,
    whatever the umask."""
    umask = os.umask(0o077)
    try:
        assert commit(volume, [file("a", b"1", 0o600), file("d/e/f", b"2", 0o4755), file("d/g", b"", 0)])
    finally:
        os.umask(umask)
    assert is_tidy(volume, "a", "d")
    assert STAMP.fullmatch(content_names(volume)[0])
    assert os.readlink(volume / "a") == "..data/a" and os.readlink(volume / "d") == "..data/d"
    assert [mode_of(volume / name) for name in ("..data", "d", "d/e", "a", "d/e/f", "d/g")] == [
        0o755,
        0o755,
        0o755,
        0o600,
        0o755,
        0,
    ]
    assert seen(volume) == {"a": b"1", "d/e/f": b"2", "d/g": b""}


def test_unchanged_payload(volume: Path) -> None:
    """The same payload in another order: every entry is the same as before."""
    payload = [file("a", b"1", 0o600), file("d/e", b"2")]
    assert commit(volume, payload)
    before = layout_of(volume)
    assert not commit(volume, payload[::-1])
    assert layout_of(volume) == before


@pytest.mark.parametrize(
    "second",
    [
        files(a=b"X", b=b"2"),
        files(a=b"1"),
        files(a=b"1", b=b"2", c=b"3"),
        files(a=b"1", b__c=b"2"),
        [],
        [file("a", b"1", 0o600), file("b", b"2")],
        files(a=b"12", b=b"2"),
        files(x=b"1"),
    ],
)
def test_any_change_is_applied(volume: Path, second: list[File]) -> None:
    """Changed contents, names, a mode alone, a file that becomes a directory, no files: the volume holds the second
    payload."""
    assert commit(volume, files(a=b"1", b=b"2"))
    assert commit(volume, second)
    assert seen(volume) == {item.path: item.contents for item in second}
    assert is_tidy(volume, *{item.path.split("/")[0] for item in second})
    for item in second:
        assert mode_of(volume / item.path) == item.mode


def test_group(volume: Path) -> None:
    """Everything belongs to the group and is readable for it; an unchanged write replaces nothing; without a group it
    is as before."""
    needs.group(4711)
    payload = [file("a", b"1", 0o400), file("d/e", b"2", 0o600)]
    assert commit(volume, payload)
    assert commit(volume, payload, 4711)
    places = ["", "..data", "a", "d", "d/e"]
    assert {(volume / place).stat().st_gid for place in places} == {4711}
    assert [mode_of(volume / place) for place in places] == [0o755, 0o755, 0o440, 0o755, 0o640]
    before = layout_of(volume)
    assert not commit(volume, payload, 4711)
    assert layout_of(volume) == before
    assert commit(volume, payload)
    assert (volume / "a").stat().st_gid == os.getegid() and mode_of(volume / "a") == 0o400


def test_leftovers_are_swept(volume: Path) -> None:
    """Leftovers of ``..data_tmp``, content directories and dangling symlinks are removed by any write."""
    commit(volume, files(a=b"1"))
    for payload in (files(a=b"1"), files(a=b"2")):
        (volume / "..data_tmp").symlink_to("..2001_01_01_00_00_00.1")
        (volume / "..2001_01_01_00_00_00.1" / "deep" / "er").mkdir(parents=True)
        (volume / "..2001_01_01_00_00_00.2").symlink_to("/etc")
        (volume / "gone").symlink_to("..data/gone")
        commit(volume, payload)
        assert is_tidy(volume, "a")
    assert os.listdir("/etc")


def test_other_entries_stay(volume: Path) -> None:
    """A provider's own files, names that only resemble the writer's and other symlinks are left alone."""
    (volume / "own").write_bytes(b"own")
    (volume / "..2001").mkdir()
    (volume / "elsewhere").symlink_to("..data/other")
    commit(volume, files(a=b"1"))
    commit(volume, files(a=b"2"))
    assert entries_of(volume) == {"..data", *content_names(volume), "..2001", "a", "own", "elsewhere"}
    assert (volume / "own").read_bytes() == b"own"


def test_migration(volume: Path) -> None:
    """A file, a directory with files, a foreign symlink and a directory ``..data`` are replaced by symlinks."""
    secret = volume.parent / "not-ours"
    secret.mkdir()
    (secret / "keep").write_text("kept")
    (volume / "file").write_text("old")
    (volume / "dir" / "sub").mkdir(parents=True)
    (volume / "dir" / "sub" / "link").symlink_to(secret)
    (volume / "link").symlink_to(secret)
    (volume / "..data" / "x").mkdir(parents=True)
    assert commit(volume, files(file=b"1", dir__f=b"2", link=b"3"))
    assert seen(volume) == {"file": b"1", "dir/f": b"2", "link": b"3"}
    assert is_tidy(volume, "file", "dir", "link")
    assert (secret / "keep").read_text() == "kept"


def test_broken_links_are_restored(volume: Path) -> None:
    """A provider replaced a symlink by a file, and another one is missing: the same payload restores both, and counts
    as changed."""
    commit(volume, files(a=b"1", b=b"2"))
    current = content_names(volume)
    (volume / "a").unlink()
    (volume / "b").unlink()
    (volume / "b").write_text("mine")
    assert commit(volume, files(a=b"1", b=b"2"))
    assert seen(volume) == {"a": b"1", "b": b"2"}
    assert content_names(volume) == current and is_tidy(volume, "a", "b")


def test_empty_payload(volume: Path) -> None:
    """Versions without files: an empty directory is committed, entries stay, the second write replaces nothing."""
    (volume / "own").write_bytes(b"own")
    assert not inspect(volume).committed
    assert commit(volume, [])
    assert inspect(volume).committed and os.listdir(volume / "..data") == []
    before = layout_of(volume)
    assert not commit(volume, [])
    assert layout_of(volume) == before
    assert seen(volume) == {"own": b"own"}


def test_symlinks_inside_the_content_are_not_followed(volume: Path) -> None:
    """A directory of the content was replaced by a symlink to the same bytes elsewhere: not current, written again."""
    elsewhere = volume.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f").write_bytes(b"1")
    payload = files(d__f=b"1")
    commit(volume, payload)
    inside = volume / content_names(volume)[0]
    (inside / "d" / "f").unlink()
    (inside / "d").rmdir()
    (inside / "d").symlink_to(elsewhere)
    assert commit(volume, payload)
    assert not (volume / content_names(volume)[0] / "d").is_symlink()
    assert (elsewhere / "f").exists()


@pytest.mark.parametrize("text", ["/etc", "..", ".", "../elsewhere", "a/b", "nothing"])
def test_data_link_that_leads_elsewhere(volume: Path, text: str) -> None:
    """``..data`` points out of the volume or nowhere: not committed; the next write repairs it."""
    elsewhere = volume.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep").write_text("kept")
    (volume / "..data").symlink_to(text)
    assert not inspect(volume).committed
    assert commit(volume, files(a=b"1"))
    assert is_tidy(volume, "a") and (elsewhere / "keep").exists()


def test_special_file_in_the_content(volume: Path) -> None:
    """A FIFO is in the place of a file: not waited for, written again."""
    commit(volume, files(a=b""))
    inside = volume / content_names(volume)[0] / "a"
    inside.unlink()
    os.mkfifo(inside, 0o644)
    assert commit(volume, files(a=b""))
    assert stat.S_ISREG(os.stat(volume / "a").st_mode)


def test_full_volume(volume: Path) -> None:
    """The second payload does not fit: RESOURCE_EXHAUSTED names the flag, the first payload is complete, nothing is
    left over."""
    first = files(a=b"1" * (SIZE // 2))
    commit(volume, first)
    with pytest.raises(ResourceExhausted, match="--tmpfs-size"):
        commit(volume, [file("b", b"2" * 1000), file("c", b"3" * (SIZE * 3 // 4))])
    assert seen(volume) == {"a": first[0].contents}
    assert is_tidy(volume, "a")
    assert commit(volume, files(a=b"2"))


def test_read_only_volume(volume: Path) -> None:
    """Remounted read-only: Internal with the reason, and the content stays."""
    commit(volume, files(a=b"1"))
    make_read_only(volume)
    with pytest.raises(Internal, match="read-only"):
        commit(volume, files(a=b"2"))
    assert seen(volume) == {"a": b"1"}


def test_never_onto_a_disk(target: Path, pods: Path) -> None:
    """The target is missing, a plain directory, or a bind mount: ABORTED, nothing written."""
    with pytest.raises(Aborted):
        commit(target, files(a=b"1"))
    target.mkdir()
    with pytest.raises(Aborted):
        commit(target, files(a=b"1"))
    source = pods / "disk"
    source.mkdir()
    bind(source, target)
    with pytest.raises(Aborted):
        commit(target, files(a=b"1"))
    assert os.listdir(target) == []


def test_invalid_payload(volume: Path) -> None:
    """One invalid path among valid ones: rejected before anything is written."""
    with pytest.raises(InvalidRequest):
        commit(volume, [file("good"), file("q"), file("q/r")])
    assert entries_of(volume) == set()


def test_directory_swapped_underneath(volume: Path) -> None:
    """The volume is moved and replaced by a symlink while it is open: the write lands in the volume."""
    inner = volume / "inner"
    inner.mkdir()
    trap = volume / "trap"
    trap.mkdir()
    root = os.open(inner, os.O_RDONLY)
    try:
        inner.rename(volume / "moved")
        inner.symlink_to(trap)
        writer.write(root, plan(files(a=b"1"), readable_by_group=False), os.getegid())
    finally:
        os.close(root)
    assert os.listdir(trap) == [] and seen(volume / "moved") == {"a": b"1"}


def test_no_descriptor_is_free(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current content cannot be opened because no descriptor is free: the write fails, and the content is not swept
    away."""
    commit(volume, files(a=b"1"))
    real_open = os.open

    def failing_open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).startswith("..2"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real_open(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing_open)
        with pytest.raises(Internal):
            commit(volume, files(a=b"2"))
    assert seen(volume) == {"a": b"1"}


def test_last_refresh(volume: Path) -> None:
    """An unchanged write sets the time of the last refresh to now."""
    commit(volume, files(a=b"1"))
    os.utime(volume / "..data", (1000.0, 1000.0))
    assert inspect(volume).last_refresh == 1000.0
    assert not commit(volume, files(a=b"1"))
    last = inspect(volume).last_refresh
    assert last is not None and last > 1_000_000_000
