"""Target paths: the directories that kubelet wants volumes mounted on, validated before anything is touched."""

import os
from contextlib import suppress
from typing import NamedTuple

from driver.volume import walk
from driver.volume.failures import os_errors_as
from runtime.errors import InvalidRequest

MAX_PATH_BYTES = 4095
MAX_NAME_BYTES = 255


class Target(NamedTuple):
    """The directory of one volume, ``<pods_dir>/<pod_uid>/volumes/kubernetes.io~csi/<volume_name>/mount``."""

    path: str
    pods_dir: str
    pod_uid: str
    volume_name: str

    @staticmethod
    def parse(path: str, pods_dir: str) -> "Target":
        """The target at ``path``; checks the text of the path and what is on disk, and changes nothing.

        The target must lie below ``pods_dir``; an empty one allows any pods directory. Components that do not exist yet
        are fine; a symlink or a file in place of a directory is not. A path that is not one of kubelet's target paths
        is rejected whatever it leads to: nobody must be able to make the driver empty another directory. Raises
        InvalidRequest.
        """
        target = Target.from_text(path, pods_dir)
        with os_errors_as(f"failed to check target path {path}"):
            target.check_disk()
        return target

    @staticmethod
    def from_text(path: str, pods_dir: str) -> "Target":
        """The target at ``path``, without looking at the disk. Raises InvalidRequest."""
        _check_text(path)
        if not walk.is_target_path(path):
            raise InvalidRequest(
                f"target path {path} is not a CSI volume of kubelet's: "
                "it must end in pods/<uid>/volumes/kubernetes.io~csi/<name>/mount"
            )
        found_root, names = walk.split(path)
        root = os.path.normpath(pods_dir) if pods_dir else found_root
        if found_root != root and not found_root.startswith(root.rstrip("/") + "/"):
            raise InvalidRequest(
                f"target path {path} is not below {root}: "
                "--kubelet-pods-dir must be the directory pods in kubelet's --root-dir"
            )
        return Target(path, root, pod_uid=names[0], volume_name=names[3])

    def check_disk(self) -> None:
        """Raise InvalidRequest if a component below the pods directory is not a directory. Raises OSError too."""
        names = os.path.relpath(self.path, self.pods_dir).split("/")
        with suppress(FileNotFoundError):  # kubelet creates the parents, the publish creates the target
            os.close(walk.descend(self.pods_dir, names, self.path))


def _check_text(path: str) -> None:
    # Error messages and log lines contain the path, and must stay one line each.
    if not path.isprintable():
        raise InvalidRequest(f"target path {path!r} contains control characters")
    if not path.startswith("/"):
        raise InvalidRequest(f"target path {path!r} is not absolute")
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise InvalidRequest(
            f"target path {path!r} is not in its shortest form: it has an empty component, '.' or '..'"
        )
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise InvalidRequest(f"target path is longer than {MAX_PATH_BYTES} bytes")
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.split("/")):
        raise InvalidRequest(f"target path has a component longer than {MAX_NAME_BYTES} bytes")
