"""What a provider wants in a volume, checked whole before any of it is written.

The rules are those of kubelet's atomic writer (``..`` is reserved for its own names), with two that it lacks: ``.`` is
refused, and so are paths that are there twice or that want to be file and directory at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from runtime.errors import InvalidRequest

LONGEST_PATH = 4096
LONGEST_NAME = 255
# Ours: what is deeper could be written, but a path below a pod's mountPath could not be opened by every program.
DEEPEST = 100
_PERMISSIONS = 0o777


@dataclass(frozen=True)
class File:
    """One file of a payload: a relative path, permission bits (others are dropped; no default), the secret itself."""

    path: str
    mode: int
    contents: bytes = field(repr=False)


@dataclass(frozen=True)
class Leaf:
    """A file without its name."""

    mode: int
    contents: bytes = field(repr=False)


Tree: TypeAlias = dict[str, "Leaf | Tree"]


def validate(files: Sequence[File]) -> None:
    """Raise InvalidRequest with a sentence that names the first bad path."""
    plan(files, readable_by_group=False)


def plan(files: Sequence[File], *, readable_by_group: bool) -> Tree:
    """The files as a tree. ``readable_by_group``: the group may read what the owner may, write nothing."""
    tree: Tree = {}
    for file in files:
        names = _checked(file.path)
        directory = _directory_for(tree, names[:-1], file.path)
        directory[names[-1]] = Leaf(_mode(file.mode, readable_by_group), file.contents)
    return tree


def _directory_for(tree: Tree, names: Sequence[str], path: str) -> Tree:
    """The place for the last component of ``path``, made if missing; a name that is taken raises."""
    for name in names:
        below = tree.setdefault(name, {})
        if isinstance(below, Leaf):
            raise InvalidRequest(f"invalid path {path!r}: {name!r} is a file of the same payload")
        tree = below
    taken = tree.get(path.rpartition("/")[2])
    if taken is not None:
        what = "there twice" if isinstance(taken, Leaf) else "a directory of the same payload too"
        raise InvalidRequest(f"invalid path {path!r}: it is {what}")
    return tree


def _mode(mode: int, readable_by_group: bool) -> int:
    mode &= _PERMISSIONS
    if readable_by_group:
        mode = (mode | (mode & 0o400) >> 3) & ~0o020
    return mode


def _checked(path: str) -> list[str]:
    """The components of a valid path."""
    names = path.split("/")
    fault = _fault(path, names)
    if fault:
        # A path of a megabyte is no help in an event
        raise InvalidRequest(f"invalid path {path[:80]!r}: {fault}")
    return names


def _fault(path: str, names: Sequence[str]) -> str:
    if not path:
        return "it must not be empty"
    if path.startswith("/"):
        return "it must be relative"
    if "\0" in path or not _is_text(path):
        return "it must be text without NUL"
    if len(path.encode()) > LONGEST_PATH:
        return f"it must not be longer than {LONGEST_PATH} bytes"
    if ".." in names:
        return "it must not contain '..'"
    if any(len(name.encode()) > LONGEST_NAME for name in names):
        return f"no component may be longer than {LONGEST_NAME} bytes"
    if names[0].startswith(".."):
        return "it must not begin with '..', which is reserved"
    if "" in names or "." in names:
        return "it must be in its shortest form: no empty component and no '.'"
    if len(names) > DEEPEST:
        return f"it must not have more than {DEEPEST} components"
    return ""


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
