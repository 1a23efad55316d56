"""A volume on disk: ``pods/<uid>/volumes/kubernetes.io~csi/<name>/`` with ``vol_data.json`` beside ``mount``.

kubelet makes the directory and the file; the driver makes, mounts and removes the target. Rules as in kubelet's
csi_mounter.go.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PLUGIN_DIRECTORY = "kubernetes.io~csi"


def volume_handle(pod_uid: str, volume: str) -> str:
    """The volume id of an inline volume, the same in every kubelet."""
    return f"csi-{hashlib.sha256(f'{pod_uid}{volume}'.encode()).hexdigest()}"


@dataclass(frozen=True)
class VolumeDirectory:
    """The place of one volume of one pod."""

    pods: Path
    pod_uid: str
    volume: str

    @property
    def path(self) -> Path:
        """The directory that kubelet makes."""
        return self.pods / self.pod_uid / "volumes" / PLUGIN_DIRECTORY / self.volume

    @property
    def target(self) -> Path:
        """Where the driver mounts."""
        return self.path / "mount"

    @property
    def data_file(self) -> Path:
        """What kubelet needs to know for the tear-down, even after a restart."""
        return self.path / "vol_data.json"

    def save(self, driver: str, node: str) -> None:
        """Make the directory, 0750, and write the data file."""
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
        """The data file; OSError or ValueError if it is missing or broken."""
        found = json.loads(self.data_file.read_text())
        return {str(key): str(value) for key, value in found.items()}

    def is_mounted(self) -> bool:
        """Another device than the parent's: how kubelet asks, and enough for a tmpfs."""
        try:
            return os.lstat(self.target).st_dev != os.lstat(self.path).st_dev
        except FileNotFoundError:
            return False

    def remove(self) -> bool:
        """What kubelet does at the end of a volume: nothing while it is mounted (False), else target, data file and
        directory go.

        Only empty directories are removed; a target that still has content is an OSError, as it is in kubelet.
        """
        if self.is_mounted():
            return False
        _remove_directory(self.target)
        self.data_file.unlink(missing_ok=True)
        _remove_directory(self.path)
        return True

    def remove_pod(self) -> None:
        """The directories above, once the pod's last volume is gone; kubelet's house-keeping does that later."""
        for directory in (self.path.parent, self.path.parent.parent, self.path.parent.parent.parent):
            try:
                _remove_directory(directory)
            except OSError:
                return  # another volume is still there


def found_on_disk(pods: Path) -> Iterator[VolumeDirectory]:
    """Every volume that an earlier life has left: the reconstruction after a restart."""
    for data_file in sorted(pods.glob(f"*/volumes/{PLUGIN_DIRECTORY}/*/vol_data.json")):
        yield VolumeDirectory(pods, data_file.parts[-5], data_file.parts[-2])


def _remove_directory(path: Path) -> None:
    try:  # noqa: SIM105
        path.rmdir()
    except FileNotFoundError:
        pass
