"""The rules for paths and modes."""

import pytest

from driver.volume.payload import File, Leaf, Tree, plan
from runtime.errors import InvalidRequest
from tests.driver.volume.support import file, files

INVALID = [
    ("", "empty"),
    ("/absolute", "relative"),
    ("a/" * 2047 + "abc", "longer than 4096 bytes"),
    ("é" * 2049, "longer than 4096 bytes"),
    ("..", r"'\.\.'"),
    ("a/../b", r"'\.\.'"),
    ("a/..", r"'\.\.'"),
    ("a" * 256, "255 bytes"),
    ("é" * 128, "255 bytes"),
    ("a/" + "b" * 256, "255 bytes"),
    ("..x", "reserved"),
    ("...", "reserved"),
    ("..data", "reserved"),
    ("..data/x", "reserved"),
    ("./a", "shortest form"),
    ("a/", "shortest form"),
    ("a//b", "shortest form"),
    ("a/./b", "shortest form"),
    (".", "shortest form"),
    ("a\0b", "NUL"),
    ("\ud800", "text"),
    ("/".join("a" * 33), "32 components"),
]

VALID = [
    "a",
    "a/b/c",
    "a/..x",
    "a/...",
    " ",
    "a b",
    "a\nb",
    ".hidden",
    "-",
    "*",
    "a" * 255,
    "é" * 127,
    "/".join("a" * 32),
    "/".join(["a" * 255] * 16),
    "a\\b",
    "C:",
    "..x/".lstrip(".") + "y",
]


def validate(payload: list[File]) -> Tree:
    return plan(payload, readable_by_group=False)


@pytest.mark.parametrize(("path", "reason"), INVALID)
def test_invalid_paths(path: str, reason: str) -> None:
    """An invalid path, even after a valid one, is an error for the whole payload, with the reason."""
    if path.startswith("a/" * 2047):
        assert len(path) == 4097
    with pytest.raises(InvalidRequest, match=reason):
        validate([file("good"), file(path)])


@pytest.mark.parametrize("path", VALID)
def test_valid_paths(path: str) -> None:
    """A path that kubelet's writer accepts is accepted."""
    validate([file(path)])


def test_the_last_of_equal_paths_counts() -> None:
    """A path is listed twice or three times → its last file with its mode, counted as one entry; another spelling of it
    is rejected as always."""
    files = [File("a/q", 0o600, b"1"), File("r", 0o600, b"r"), File("a/q", 0o640, b"2"), File("a/q", 0o644, b"3")]
    assert plan(files, readable_by_group=False, max_entries=3) == {
        "a": {"q": Leaf(0o644, b"3")},
        "r": Leaf(0o600, b"r"),
    }
    for path in ("./r", "a//q", "a/../r"):
        with pytest.raises(InvalidRequest, match="invalid path"):
            plan([*files, File(path, 0o600, b"")], readable_by_group=False)


@pytest.mark.parametrize(
    "paths",
    [
        ["q", "q/r"],
        ["q/r", "q"],
        ["q", "q", "q/r"],
        ["q/r/s", "q/r"],
        ["q/r", "q/r/s/t"],
    ],
)
def test_conflicts(paths: list[str]) -> None:
    """A path that is both a file and a directory is rejected in either order."""
    with pytest.raises(InvalidRequest, match="invalid path"):
        validate([file(path) for path in paths])


def test_error_is_short_and_hides_contents() -> None:
    """The error for a path of a megabyte is one short line, and the repr of a file hides its contents."""
    with pytest.raises(InvalidRequest) as refusal:
        validate([File("x\n" * 500_000, 0o644, b"top secret")])
    assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)
    tree = plan(files(x=b"top secret"), readable_by_group=False)
    assert "top secret" not in f"{files(x=b'top secret')!r} {tree!r}"


@pytest.mark.parametrize(
    ("mode", "alone", "with_group"),
    [
        (0o644, 0o644, 0o644),
        (0o600, 0o600, 0o640),
        (0o400, 0o400, 0o440),
        (0, 0, 0),
        (0o4755, 0o755, 0o755),
        (0o664, 0o664, 0o644),
        (0o200, 0o200, 0o200),
        (0o1777, 0o777, 0o757),
        (-1, 0o777, 0o757),
        (0o100600, 0o600, 0o640),
    ],
)
def test_modes(mode: int, alone: int, with_group: int) -> None:
    """Only permission bits count, and there is no default; a group may read what the owner may read, and write
    nothing."""
    assert plan([file("f", b"", mode)], readable_by_group=False) == {"f": Leaf(alone, b"")}
    assert plan([file("f", b"", mode)], readable_by_group=True) == {"f": Leaf(with_group, b"")}
