"""The payload of a volume: the files that a provider wants there, validated as a whole before any is written.

The rules for paths are those of kubelet's atomic writer, which reserves names that begin with ``..`` for itself. In
addition ``.`` is rejected, and so are paths that are listed twice or would be both a file and a directory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from runtime.errors import InvalidRequest

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
# Our own limit: deeper files could be written, but below a pod's mountPath their paths may be too long to open.
MAX_DEPTH = 100
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


def plan(files: Iterable[File], *, readable_by_group: bool) -> Tree:
    """Validate the files and return them as a tree.

    With ``readable_by_group`` the group may read what the owner may read, and may write nothing. Raises InvalidRequest,
    which names the first invalid path.
    """
    tree: Tree = {}
    for file in files:
        names = _checked(file.path)
        directory = _directory_for(tree, names[:-1], file.path)
        directory[names[-1]] = Leaf(_mode(file.mode, readable_by_group), file.contents)
    return tree


def _directory_for(tree: Tree, names: Sequence[str], path: str) -> Tree:
    """The directory for the last component of ``path``, created if missing. Raises InvalidRequest for a conflict."""
    for name in names:
        below = tree.setdefault(name, {})
        if isinstance(below, Leaf):
            raise InvalidRequest(f"invalid path {path!r}: {name!r} is a file of the same payload")
        tree = below
    taken = tree.get(path.rpartition("/")[2])
    if taken is not None:
        what = "listed twice" if isinstance(taken, Leaf) else "also a directory of the same payload"
        raise InvalidRequest(f"invalid path {path!r}: it is {what}")
    return tree


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
    if len(names) > MAX_DEPTH:
        return f"it must not have more than {MAX_DEPTH} components"
    return ""


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
