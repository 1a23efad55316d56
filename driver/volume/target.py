"""What a target path says: kubelet's shape, checked before anything is touched."""

import os
from dataclasses import dataclass

from driver.volume import walk
from driver.volume.failures import told_as
from runtime.errors import InvalidRequest

LONGEST_PATH = 4095
LONGEST_NAME = 255


@dataclass(frozen=True)
class Target:
    """One volume's directory, ``<pods_dir>/<pod_uid>/volumes/kubernetes.io~csi/<volume_name>/mount``."""

    path: str
    pods_dir: str
    pod_uid: str
    volume_name: str

    @staticmethod
    def parse(path: str, pods_dir: str | None) -> "Target":
        """Check text and disk; raises InvalidRequest and changes nothing.

        With ``pods_dir`` the target must lie below it. What does not exist yet is fine; a symlink or a file where a
        directory should be is not. A path without kubelet's shape is refused whatever is there: the driver must never
        be talked into emptying another directory.
        """
        target = Target.from_text(path, pods_dir)
        with told_as(f"failed to check target path {path}"):
            target.check_disk()
        return target

    @staticmethod
    def from_text(path: str, pods_dir: str | None) -> "Target":
        """The target that a path names, without a look at the disk. Raises InvalidRequest."""
        _check_text(path)
        if not walk.has_shape(path):
            raise InvalidRequest(
                f"target path {path} is not a volume of kubelet's: "
                "it must end in pods/<uid>/volumes/kubernetes.io~csi/<name>/mount"
            )
        shape_root, names = walk.split(path)
        root = os.path.normpath(pods_dir) if pods_dir else shape_root
        if shape_root != root and not shape_root.startswith(root.rstrip("/") + "/"):
            raise InvalidRequest(
                f"target path {path} is not below {root}: "
                "--kubelet-pods-dir must be the directory pods in kubelet's --root-dir"
            )
        return Target(path, root, pod_uid=names[0], volume_name=names[3])

    def check_disk(self) -> None:
        """Raise InvalidRequest if a component below the pods directory is a symlink or no directory."""
        names = os.path.relpath(self.path, self.pods_dir).split("/")
        try:  # noqa: SIM105
            os.close(walk.descend(self.pods_dir, names, self.path))
        except FileNotFoundError:
            pass  # kubelet makes the directories above, publish makes the target


def _check_text(path: str) -> None:
    # The path appears in sentences and log lines, which must stay one line each
    if not path.isprintable():
        raise InvalidRequest(f"target path {path!r} has control characters")
    if not path.startswith("/"):
        raise InvalidRequest(f"target path {path!r} is not absolute")
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise InvalidRequest(f"target path {path!r} is not in its shortest form: no empty component, '.' or '..'")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise InvalidRequest(f"target path is longer than {LONGEST_PATH} bytes")
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.split("/")):
        raise InvalidRequest(f"target path has a component longer than {LONGEST_NAME} bytes")
