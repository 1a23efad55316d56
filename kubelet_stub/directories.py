"""A volume on disk: ``pods/<uid>/volumes/kubernetes.io~csi/<name>/`` with ``vol_data.json`` beside ``mount``.

kubelet creates the directory and the file; the driver creates, mounts and removes the target path ``mount``. The rules
are those of kubelet's csi_mounter.go.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PLUGIN_DIRECTORY = "kubernetes.io~csi"


def volume_handle(pod_uid: str, volume: str) -> str:
    """The id of an inline volume; the same on every node."""
    return f"csi-{hashlib.sha256(f'{pod_uid}{volume}'.encode()).hexdigest()}"


@dataclass(frozen=True)
class VolumeDirectory:
    """The directory of one volume of one pod."""

    pods: Path
    pod_uid: str
    volume: str

    @property
    def path(self) -> Path:
        """The directory that kubelet creates."""
        return self.pods / self.pod_uid / "volumes" / PLUGIN_DIRECTORY / self.volume

    @property
    def target(self) -> Path:
        """The target path, where the driver mounts."""
        return self.path / "mount"

    @property
    def data_file(self) -> Path:
        """What kubelet needs to unpublish the volume, even after a restart."""
        return self.path / "vol_data.json"

    def save(self, driver: str, node: str) -> None:
        """Create the directory (mode 0750) and write the data file."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        handle = volume_handle(self.pod_uid, self.volume)
        attachment = hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()
        self.data_file.write_text(
            json.dumps(
                {
                    "attachmentID": f"csi-{attachment}",
                    "driverName": driver,
                    "nodeName": node,
                    "specVolID": self.volume,
                    "volumeHandle": handle,
                    "volumeLifecycleMode": "Ephemeral",
                }
            )
        )

    def load(self) -> dict[str, str]:
        """The content of the data file; OSError or ValueError if it is missing or invalid."""
        data = json.loads(self.data_file.read_text())
        return {str(key): str(value) for key, value in data.items()}

    def is_mounted(self) -> bool:
        """Whether the target is on another device than its parent: kubelet's check, and sufficient for a tmpfs."""
        try:
            return os.lstat(self.target).st_dev != os.lstat(self.path).st_dev
        except FileNotFoundError:
            return False

    def remove(self) -> bool:
        """Remove the target path, the data file and the directory; returns False, without removing anything, while the
        target is mounted.

        Only empty directories are removed: a target with content is an OSError, as in kubelet.
        """
        if self.is_mounted():
            return False
        _remove_directory(self.target)
        self.data_file.unlink(missing_ok=True)
        _remove_directory(self.path)
        return True

    def remove_pod(self) -> None:
        """Remove the pod's directories if this was its last volume; kubelet's housekeeping does that later."""
        for directory in (self.path.parent, self.path.parent.parent, self.path.parent.parent.parent):
            try:
                _remove_directory(directory)
            except OSError:
                return  # the pod has another volume


def stored_volumes(pods: Path) -> Iterator[VolumeDirectory]:
    """All volumes on disk: what kubelet reconstructs after a restart."""
    for data_file in sorted(pods.glob(f"*/volumes/{PLUGIN_DIRECTORY}/*/vol_data.json")):
        yield VolumeDirectory(pods, data_file.parts[-5], data_file.parts[-2])


def _remove_directory(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.rmdir()
