"""Puts one driver together, and starts and stops its parts in order.

The CSI socket is served before anything slow is done: kubelet's registration and the probe see the driver at once, and
a publish that arrives before the API server is reachable waits inside its call.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from driver import limits
from driver.backend import open_backend
from driver.config import DriverConfig
from driver.csi.controller import ControllerService
from driver.csi.identity import IdentityService
from driver.csi.node import NodeService
from driver.health import Health
from driver.metrics import DriverMetrics
from driver.ports import Backend
from driver.providers.pool import ProviderPool
from driver.providers.sockets import ProviderSockets
from driver.publish import status as volume_status
from driver.publish.assembly import assemble
from driver.publish.stopping import Stopping
from driver.registry import VolumeRegistry
from driver.restore import restore_from_statuses, restore_volumes
from driver.volume import mounts, usage
from driver.volume.memory import MemoryBudget
from driver.volume.target import Target
from driver.volume.workers import DiskWorkers
from runtime import clock, http, logs, metrics, rpc, status
from runtime.rpc.kept_server import serve_kept
from runtime.tasks import BackgroundTask, TaskSupervisor
from runtime.version import build

log = logs.get(__name__)

# An API server that is away must not delay readiness longer than this: the volumes have content.
RESTORE_SECONDS = 2.0
RESTORE = "restoring the volumes"


class Driver:
    """The parts of a driver; ``served`` runs them."""

    def __init__(self, config: DriverConfig, noswap: bool) -> None:
        self.config = config
        self.noswap = noswap
        self.started = clock.now()
        self.volumes = VolumeRegistry()
        self.disk = DiskWorkers()
        self.metrics = DriverMetrics(
            self.volumes,
            named_volumes=config.volume_metrics,
            rotation_interval=config.rotation_poll_interval if config.enable_secret_rotation else None,
        )
        self.metrics.noswap(noswap)
        self.provider_sockets = ProviderSockets(config.provider_directories)
        memory = MemoryBudget(config.memory_headroom)
        self.providers = ProviderPool(
            self.provider_sockets,
            self.disk,
            memory,
            config.max_call_recv_msg_size,
            config.max_volume_entries,
            self.metrics.providers.called,
        )
        self.tasks = TaskSupervisor(self.metrics.background_task_failed)
        self.health = Health(config.host_directories, config.kubelet_pods_dir, lambda: self.tasks.broken)
        self.backend: Backend = open_backend(config, self.disk, self.metrics, self.providers.answers)
        stopping = Stopping()
        self.publish_path = assemble(
            config, self.volumes, self.backend, self.providers, self.disk, memory, self.metrics, noswap, stopping
        )
        self.node = NodeService(
            config, self.volumes, self.publish_path.publisher, self.publish_path.unpublisher, stopping
        )

    def register(self, services: rpc.Services) -> None:
        """Register the three CSI services."""
        services.add(IdentityService.DESCRIPTOR, IdentityService(self.config.drivername, self.health))
        services.add(ControllerService.DESCRIPTOR, ControllerService())
        services.add(NodeService.DESCRIPTOR, self.node)

    def snapshot(self) -> Mapping[str, Any]:
        """The driver's state for the status socket; contains no secret, token or volume attribute."""
        config = self.config
        secrets, secret_count = self.backend.sync.snapshot()
        return {
            "role": "driver",
            "version": build().version,
            "node": config.nodeid,
            "noswap": self.noswap,
            "started": clock.wall_time(self.started),
            **self.health.snapshot(self._missing()),
            "rotation_interval": config.rotation_poll_interval if config.enable_secret_rotation else None,
            "volumes": volume_status.snapshot(self.volumes, config),
            "pending": self.publish_path.pending.snapshot(),
            "secrets": [secret._asdict() for secret in secrets],
            "secret_count": secret_count,
            "held": {"replies": len(self.publish_path.held), "bytes": self.publish_path.held.size},
            "providers": self.providers.snapshot(),
            "provider_health_check": config.provider_health_check,
        }

    def _missing(self) -> list[str]:
        """Why new pods would not get a volume, if a restart would not help."""
        if self.provider_sockets.installed():
            return []
        return [f"no provider is installed: there is no socket in {', '.join(self.config.provider_directories)}"]

    def background_tasks(self, unknown: Sequence[Target]) -> Sequence[BackgroundTask]:
        """What runs beside the calls; ``unknown`` are the volumes that ``restore`` could not restore."""
        tasks = [
            BackgroundTask(RESTORE, partial(self._restore_unknown, unknown), finite=True),
            *self.backend.cluster.tasks(),
            BackgroundTask("Secret sync", self.backend.sync.run),
            *self.publish_path.tasks(),
            *self.backend.background,
        ]
        if self.config.provider_health_check:
            tasks.append(BackgroundTask("provider health check", self.check_providers))
        return tasks

    async def restore(self) -> Sequence[Target]:
        """Restore the volumes from what the node knows, and have their Secrets synced: without rotation nothing else
        would start that. Returns the volumes of which only the API server may know more."""
        cluster, config = self.backend.cluster, self.config
        unknown = await restore_volumes(self.volumes, cluster, self.disk, config.kubelet_pods_dir, config.drivername)
        self.backend.sync.restored(volume.record for volume in self.volumes)
        return unknown

    async def _restore_unknown(self, unknown: Sequence[Target]) -> None:
        adopted = await restore_from_statuses(self.volumes, self.backend.cluster, self.disk, unknown)
        self.backend.sync.restored(volume.record for volume in adopted)

    async def measure(self) -> None:
        """Measure for the metrics what the volumes take, and which providers are there."""
        paths = [volume.target.path for volume in self.volumes]
        self.metrics.volumes_measured(await self.disk.run(usage.total_bytes, paths))
        used = {volume.provider for volume in self.volumes if volume.provider}
        installed = await self.disk.run(self.provider_sockets.installed)
        self.metrics.providers.found(len(installed), await self.providers.reachable(used))

    async def check_providers(self) -> None:
        """Check the health of the providers periodically, until cancelled."""
        while True:
            await asyncio.sleep(self.config.provider_health_check_interval)
            await self.providers.check_health()


@asynccontextmanager
async def served(config: DriverConfig) -> AsyncIterator[Driver]:
    """Run a driver while the context lasts. Raises ConfigurationError if it cannot start.

    It ends in the opposite order: operations wait no longer for what may be away, the background tasks end, the
    connections to the API server and the sockets are closed, operations that still run are waited for, and last the
    connections to providers are closed and the disk's threads end.
    """
    driver = Driver(config, await asyncio.to_thread(mounts.probe_noswap))
    async with AsyncExitStack() as stack:
        stack.callback(driver.disk.close)
        stack.callback(driver.providers.close)
        stack.push_async_callback(driver.node.drain)
        if config.metrics is not None:
            await stack.enter_async_context(
                http.serve(config.metrics, {"/metrics": http.SharedPage(_metrics_page(driver))})
            )
        await stack.enter_async_context(status.serve(config.status_directory, "driver", driver.snapshot))
        socket = await stack.enter_async_context(serve_kept(config.listen, driver.register, limits.MAX_REQUEST_BYTES))
        log.info(
            "Serving CSI",
            endpoint=config.endpoint,
            driver=config.drivername,
            node=config.nodeid,
            version=build().version,
        )
        if not driver.noswap:
            await _warn_of_swap()
        unknown = await driver.restore()
        stack.push_async_callback(driver.backend.cluster.close)
        tasks = [BackgroundTask("CSI socket", socket.keep, finite=True), *driver.background_tasks(unknown)]
        running = await stack.enter_async_context(driver.tasks.running(tasks))
        await asyncio.wait([running[RESTORE]], timeout=RESTORE_SECONDS)
        driver.health.started = True
        stack.callback(driver.node.stop)
        yield driver


async def _warn_of_swap() -> None:
    """One line for those who have promised that secrets reach no disk."""
    if await asyncio.to_thread(mounts.swap_is_on):
        log.warning(
            "Secrets in volumes may be swapped to disk: this kernel's tmpfs has no noswap (Linux 6.3, outside user "
            "namespaces), and swap is on; turn it off, encrypt it, or use a newer kernel"
        )
    else:
        log.info("This kernel's tmpfs has no noswap; the node has no swap now, so that secrets stay in memory")


def _metrics_page(driver: Driver) -> http.Handler:
    async def page(_: Any) -> Any:
        await driver.measure()
        return http.text_response(metrics.render(driver.metrics.registry), content_type=metrics.CONTENT_TYPE)

    return page
