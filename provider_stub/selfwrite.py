"""The self-writing mode: files written into the target by the provider, as AWS's does by default; the reply then has
versions only.

Each file is swapped in by a rename, so a reader sees the old or the new content of one file; files change one after
another. What was written is listed in ``..written`` inside the volume (names with two dots are not part of a volume's
content), so that a restarted provider still removes what is no longer wanted, and never a file of somebody else.
"""

import errno
import json
import os
import posixpath
import stat
from collections.abc import Sequence

from provider_kit import Failure, File, Internal, InvalidRequest, PreconditionFailed, ResourceExhausted

LIST = "..written"
_DRAFT = "..draft"


def write(target: str, files: Sequence[File], permission: int) -> None:
    """Make the target hold exactly these files, apart from those of others."""
    _check_target(target)
    wanted = {item.path: item for item in files}
    before = _written(target)
    try:
        # 1. List old and new together: whatever is cut short from here on is found again.
        _swap(target, LIST, json.dumps(sorted(before | set(wanted))).encode(), 0o600)
        # 2. Remove what is not wanted any more, so that a file may become a directory and the other way round.
        for path in sorted(before - set(wanted), reverse=True):
            _remove(target, path)
        # 3. Swap in what changed.
        for path, item in wanted.items():
            _make_directories(target, posixpath.dirname(path))
            _swap(target, path, item.contents, permission if item.mode is None else item.mode)
        # 4. List what is there now.
        _swap(target, LIST, json.dumps(sorted(wanted)).encode(), 0o600)
    except OSError as error:
        raise _refusal(error) from None


def _check_target(target: str) -> None:
    try:
        found = os.lstat(target)
    except OSError:
        raise PreconditionFailed(
            "the target is not there: mount kubelet's pods directory into the provider, "
            "with mountPropagation: HostToContainer"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise InvalidRequest("the target is no directory")


def _written(target: str) -> set[str]:
    try:
        with open(os.path.join(target, LIST), "rb", opener=_opened) as file:
            found = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return set()
    return {path for path in found if isinstance(path, str)} if isinstance(found, list) else set()


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _unchanged(path: str, contents: bytes, mode: int) -> bool:
    try:
        with open(path, "rb", opener=_opened) as file:
            found = os.fstat(file.fileno())
            return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and file.read() == contents
    except OSError:
        return False


def _swap(target: str, path: str, contents: bytes, mode: int) -> None:
    place = _place(target, path)
    if _unchanged(place, contents, mode & 0o777):
        return
    draft = os.path.join(target, _DRAFT)
    if os.path.lexists(draft):
        os.unlink(draft)  # of a call that was cut short
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            os.fchmod(file.fileno(), mode & 0o777)
        os.rename(draft, place)
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
            pass  # _place refuses it if it is no directory of this volume
    _place(target, posixpath.join(path, "x"))


def _place(target: str, path: str) -> str:
    parent = os.path.join(target, posixpath.dirname(path)).rstrip("/")
    if os.path.realpath(parent) != os.path.join(os.path.realpath(target), posixpath.dirname(path)).rstrip("/"):
        raise PreconditionFailed(f"{posixpath.dirname(path)!r} in the target is a symlink: it is not followed")
    return os.path.join(target, path)


def _remove(target: str, path: str) -> None:
    place = _place(target, path)
    if os.path.lexists(place):
        os.unlink(place)
    parent = posixpath.dirname(path)
    while parent:
        try:
            os.rmdir(os.path.join(target, parent))
        except OSError:
            return  # not empty, or gone already
        parent = posixpath.dirname(parent)


def _refusal(error: OSError) -> Failure:
    text = f"cannot write into the target: {error.strerror}"
    return ResourceExhausted(text) if error.errno in (errno.ENOSPC, errno.EDQUOT) else Internal(text)
