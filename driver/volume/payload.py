"""The payload of a volume: the files that a provider wants there, validated as a whole before any is written.

The rules for paths are those of kubelet's atomic writer, which reserves names that begin with ``..`` for itself. In
addition ``.`` is rejected, and so are paths that would be both a file and a directory. Of a path that is listed twice
the last file counts, as with the Go driver.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from driver import limits
from runtime.errors import InvalidRequest

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
_SHOWN_NAMES = 10
_PERMISSIONS = 0o777


@dataclass(frozen=True)
class File:
    """A file of a payload: its relative path, its mode (only the permission bits count), and the secret itself."""

    path: str
    mode: int
    contents: bytes = field(repr=False)


@dataclass(frozen=True)
class Leaf:
    """A file in a ``Tree``, where its path is given by its place."""

    mode: int
    contents: bytes = field(repr=False)


Tree: TypeAlias = dict[str, "Leaf | Tree"]


def plan(files: Iterable[File], *, readable_by_group: bool, max_entries: int = limits.MAX_VOLUME_ENTRIES) -> Tree:
    """Validate the files and return them as a tree.

    With ``readable_by_group`` the group may read what the owner may read, and may write nothing. Raises InvalidRequest,
    which names the first invalid path, or says that there are more than ``max_entries`` files and directories.
    """
    tree: Tree = {}
    entries = 0
    for file in files:
        names = _checked(file.path)
        directory, created = _directory_for(tree, names[:-1], file.path)
        entries += created + (names[-1] not in directory)
        directory[names[-1]] = Leaf(_mode(file.mode, readable_by_group), file.contents)
        if entries > max_entries:
            raise InvalidRequest(too_many_entries(max_entries))
    return tree


def files_of(tree: Tree, prefix: str = "") -> Iterator[File]:
    """The files of a tree, with their paths."""
    for name, below in tree.items():
        if isinstance(below, Leaf):
            yield File(prefix + name, below.mode, below.contents)
        else:
            yield from files_of(below, f"{prefix}{name}/")


def first_names(paths: Collection[str]) -> str:
    """The first few paths, for a sentence that says what there is; empty without any."""
    shown = sorted(paths)[:_SHOWN_NAMES]
    return ", ".join(shown) + (", …" if len(paths) > len(shown) else "")


def too_many_entries(max_entries: int) -> str:
    """What is wrong with a payload of more than ``max_entries`` files and directories."""
    return (
        f"it has more than {max_entries} files and directories, which is --max-volume-entries; divide it among several "
        "classes"
    )


def is_large(files: Collection[File]) -> bool:
    """Whether writing the files takes so long that others must not wait for it."""
    if len(files) > limits.LARGE_COMMIT_ENTRIES or sum(len(f.contents) for f in files) > limits.LARGE_COMMIT_BYTES:
        return True
    return sum(1 + file.path.count("/") for file in files) > limits.LARGE_COMMIT_ENTRIES


def _directory_for(tree: Tree, names: Sequence[str], path: str) -> tuple[Tree, int]:
    """The directory for the last component of ``path``, and how many directories were created for it. Raises
    InvalidRequest for a conflict."""
    created = 0
    for name in names:
        below = tree.get(name)
        if below is None:
            below = tree[name] = {}
            created += 1
        if isinstance(below, Leaf):
            raise InvalidRequest(f"invalid path {path[:80]!r}: {name[:80]!r} is a file of the same payload")
        tree = below
    taken = tree.get(path.rpartition("/")[2])
    if taken is not None and not isinstance(taken, Leaf):
        raise InvalidRequest(f"invalid path {path[:80]!r}: it is also a directory of the same payload")
    return tree, created


def _mode(mode: int, readable_by_group: bool) -> int:
    mode &= _PERMISSIONS
    if readable_by_group:
        mode = (mode | (mode & 0o400) >> 3) & ~0o020
    return mode


def _checked(path: str) -> list[str]:
    """The components of a path. Raises InvalidRequest."""
    names = path.split("/")
    problem = _problem(path, names)
    if problem:
        # Shortened: the message ends up in an event.
        raise InvalidRequest(f"invalid path {path[:80]!r}: {problem}")
    return names


def _problem(path: str, names: Sequence[str]) -> str:
    if not path:
        return "it must not be empty"
    if path.startswith("/"):
        return "it must be relative"
    if "\0" in path or not _is_text(path):
        return "it must be text without NUL characters"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"it must not be longer than {MAX_PATH_BYTES} bytes"
    if ".." in names:
        return "it must not contain '..'"
    if any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        return f"no component may be longer than {MAX_NAME_BYTES} bytes"
    if names[0].startswith(".."):
        return "it must not begin with '..', which is reserved"
    if "" in names or "." in names:
        return "it must be in its shortest form: no empty component and no '.'"
    if len(names) > limits.MAX_PATH_DEPTH:
        return f"it must not have more than {limits.MAX_PATH_DEPTH} components"
    return ""


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
