"""What NodeUnpublishVolume does: idempotent, and only at kubelet's target paths."""

import os

from driver.config import DriverConfig
from driver.metrics import DriverMetrics
from driver.ports import Cluster, SecretSync
from driver.publish.pending import PendingVolumes
from driver.registry import VolumeRegistry
from driver.volume import remove
from driver.volume.target import Target
from driver.volume.workers import TENANT, DiskWorkers
from runtime import logs
from runtime.errors import Failure, InvalidRequest

log = logs.get(__name__)


class Unpublisher:
    """Unpublishes the volumes of one driver."""

    def __init__(
        self,
        config: DriverConfig,
        volumes: VolumeRegistry,
        disk: DiskWorkers,
        cluster: Cluster,
        sync: SecretSync,
        metrics: DriverMetrics,
        pending: PendingVolumes,
    ) -> None:
        self._config = config
        self._volumes = volumes
        self._disk = disk
        self._cluster = cluster
        self._sync = sync
        self._metrics = metrics
        self._pending = pending

    async def unpublish(self, volume_id: str, target_path: str, deadline: float) -> None:
        """Remove the content, unmount, and remove the directory; a path that does not exist is a success.

        ``deadline`` is event loop time. Raises a Failure.
        """
        try:
            await self._unpublish(volume_id, target_path, deadline)
        except Failure as failure:
            self._metrics.unpublish_failed()
            # Users of the Go driver search for the beginning of this line.
            log.error("failed to clean and unmount target path", exc=failure, target=target_path)
            raise
        self._metrics.unpublished()

    async def _unpublish(self, volume_id: str, target_path: str, deadline: float) -> None:
        if not volume_id:
            raise InvalidRequest("Volume ID missing in request")
        if not target_path:
            raise InvalidRequest("Target path missing in request")
        volume = self._volumes.get(target_path)
        TENANT.set(volume.pod.namespace if volume is not None else "")
        async with self._volumes.exclusive(target_path, deadline):
            if not await self._disk.run(_remove, target_path, self._config.kubelet_pods_dir, large=False):
                await self._disk.run_long(_remove, target_path, self._config.kubelet_pods_dir, large=True)
            self._forget(target_path)

    def _forget(self, path: str) -> None:
        volume = self._volumes.remove(path)
        self._pending.forget(path)
        self._sync.forget(path)
        self._cluster.forget_record(path)
        if volume is not None and not self._volumes.uses(volume.class_ref):
            self._cluster.forget_class(volume.class_ref)


def _remove(path: str, pods_dir: str, *, large: bool) -> bool:
    """Remove a volume; a path that does not exist is not validated. A large volume is only removed if that is allowed;
    returns whether it was."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        pass  # something exists that cannot be inspected, such as a dead mount
    target = Target.parse(path, pods_dir)
    if not large and remove.is_large(path):
        return False
    remove.clear_and_unmount(target)
    return True
