"""The self-writing mode: the provider writes the files to the target path itself, as the AWS provider does by default,
and replies with versions only.

Each file is replaced by a rename, so a reader sees either the old or the new content of one file; but files change one
after another. The paths written are recorded in the volume, in ``..written`` (names that start with two dots are not
part of a volume's content), so that a restarted provider still removes files that are no longer wanted, and only its
own.
"""

import errno
import json
import os
import posixpath
import stat
from collections.abc import Sequence

from provider_kit import Failure, File, Internal, InvalidRequest, PreconditionFailed, ResourceExhausted

RECORD = "..written"
_DRAFT = "..draft"


def write(target: str, files: Sequence[File], permission: int) -> None:
    """Make the target hold exactly these files, besides those that others wrote. ``permission`` is the mode of files
    without one. Raises a Failure if the target is unusable or full.
    """
    _check_target(target)
    wanted = {item.path: item for item in files}
    before = _recorded(target)
    try:
        # 1. Record old and new paths: after an interruption at any later point all files are still known.
        _replace(target, RECORD, json.dumps(sorted(before | set(wanted))).encode(), 0o600)
        # 2. Remove files that are no longer wanted, so that a file can become a directory and vice versa.
        for path in sorted(before - set(wanted), reverse=True):
            _remove(target, path)
        # 3. Replace what has changed.
        for path, item in wanted.items():
            _make_directories(target, posixpath.dirname(path))
            _replace(target, path, item.contents, permission if item.mode is None else item.mode)
        # 4. Record what is there now.
        _replace(target, RECORD, json.dumps(sorted(wanted)).encode(), 0o600)
    except OSError as error:
        raise _failure(error) from None


def _check_target(target: str) -> None:
    try:
        status = os.lstat(target)
    except OSError:
        raise PreconditionFailed(
            "the target path does not exist: mount kubelet's pods directory into the provider, "
            "with mountPropagation: HostToContainer"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidRequest("the target path is not a directory")


def _recorded(target: str) -> set[str]:
    try:
        with open(os.path.join(target, RECORD), "rb", opener=_open) as file:
            paths = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return set()
    return {path for path in paths if isinstance(path, str)} if isinstance(paths, list) else set()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _unchanged(path: str, contents: bytes, mode: int) -> bool:
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            return stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode and file.read() == contents
    except OSError:
        return False


def _replace(target: str, path: str, contents: bytes, mode: int) -> None:
    destination = _resolve(target, path)
    if _unchanged(destination, contents, mode & 0o777):
        return
    draft = os.path.join(target, _DRAFT)
    if os.path.lexists(draft):
        os.unlink(draft)  # left by an interrupted call
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            os.fchmod(file.fileno(), mode & 0o777)
        os.rename(draft, destination)
    except OSError:
        os.unlink(draft)
        raise


def _make_directories(target: str, path: str) -> None:
    current = target
    for part in filter(None, path.split("/")):
        current = os.path.join(current, part)
        try:
            os.mkdir(current)
            os.chmod(current, 0o755)
        except FileExistsError:
            pass  # _resolve refuses it if it leads out of the volume
    _resolve(target, posixpath.join(path, "x"))


def _resolve(target: str, path: str) -> str:
    """The absolute path of a file in the volume; PreconditionFailed if a directory on the way is a symlink."""
    parent = os.path.join(target, posixpath.dirname(path)).rstrip("/")
    if os.path.realpath(parent) != os.path.join(os.path.realpath(target), posixpath.dirname(path)).rstrip("/"):
        raise PreconditionFailed(
            f"{posixpath.dirname(path)!r} in the target path contains a symlink, which is not followed: remove it"
        )
    return os.path.join(target, path)


def _remove(target: str, path: str) -> None:
    destination = _resolve(target, path)
    if os.path.lexists(destination):
        os.unlink(destination)
    parent = posixpath.dirname(path)
    while parent:
        try:
            os.rmdir(os.path.join(target, parent))
        except OSError:
            return  # not empty, or already removed
        parent = posixpath.dirname(parent)


def _failure(error: OSError) -> Failure:
    text = f"cannot write to the target path: {error.strerror}"
    return ResourceExhausted(text) if error.errno in (errno.ENOSPC, errno.EDQUOT) else Internal(text)
