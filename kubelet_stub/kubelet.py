"""The stub as a library: ``async with KubeletStub(Config(root=…)) as stub: …``."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kubelet_stub import pods
from kubelet_stub.config import Config
from kubelet_stub.directories import stored_volumes
from kubelet_stub.drivers import Driver, Drivers
from kubelet_stub.events import Event, EventLog, Hook, Reason
from kubelet_stub.host import Host
from kubelet_stub.pods import Pod, Secret
from kubelet_stub.tokens import TokenIssuer
from kubelet_stub.volume import PodVolume
from kubelet_stub.watcher import PluginWatcher
from runtime.errors import ConfigurationError, Failure


class KubeletStub:
    """A node with a kubelet, running inside the context.

    Leaving the context stops kubelet: pods and their volumes stay as they are, and a new stub with the same root finds
    them again. To unpublish them call ``delete_pod`` or ``delete_all`` before.
    """

    def __init__(self, config: Config, on_event: Hook | None = None) -> None:
        self.config = config
        self._hook = on_event
        self._volumes: dict[str, list[PodVolume]] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "KubeletStub":
        config = self.config
        config.pods_directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.host = Host(config, EventLog(self._hook), Drivers(), TokenIssuer(config.token_lifetime, config.node_name))
        await self._tasks.__aenter__()
        self._start(PluginWatcher(config, self.host.drivers, self.host.events).run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        # The task group cancels the body when one of its tasks fails: pass it that cancellation, so that it raises the
        # task's exception. The body's own exception propagates as it is, not in an ExceptionGroup.
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:
            await self._tasks.__aexit__(None, None, None)

    @property
    def events(self) -> EventLog:
        """Everything that happened since the start."""
        return self.host.events

    @property
    def leaks(self) -> list[Event]:
        """Events about mounts and directories that kubelet will never remove."""
        return self.events.of(Reason.LEAKED)

    @property
    def csi_node(self) -> dict[str, object]:
        """The CSINode object as kubelet would have written it."""
        return self.host.drivers.csi_node(self.config.node_name)

    async def wait_registered(self, driver: str, present: bool = True) -> None:
        """Wait until the driver is registered or, with ``present=False``, is not."""
        await self.host.drivers.wait(driver, present)

    def use_driver(self, name: str, endpoint: str, node_id: str = "node") -> None:
        """Add a driver without registration."""
        self.host.drivers.add(Driver(name, endpoint, node_id, "1.0.0"))

    def add_secret(self, body: Mapping[str, Any] | Secret) -> None:
        """Add or replace a Secret that a nodePublishSecretRef may name."""
        secret = body if isinstance(body, Secret) else pods.parse_secret(body)
        self.host.secrets[secret.namespace, secret.name] = secret

    async def add_pod(self, source: Mapping[str, Any] | Pod) -> Pod:
        """Start a pod: its volumes are published from now on, also those that an earlier stub left on disk.

        ConfigurationError for an invalid pod, or one that is already running.
        """
        pod = source if isinstance(source, Pod) else pods.parse_pod(source)
        if pod.uid in self._volumes:
            raise ConfigurationError(f"pod {pod.key} with uid {pod.uid} is already running")
        stored = {(item.pod_uid, item.volume) for item in stored_volumes(self.config.pods_directory)}
        volumes = [
            PodVolume(self.host, pod, item, reconstructed=(pod.uid, item.name) in stored) for item in pod.volumes
        ]
        self._volumes[pod.uid] = volumes
        for volume in volumes:
            self._start(volume.run())
        return pod

    async def add_file(self, path: Path) -> list[Pod]:
        """Add the Secrets of a YAML file, then start its pods."""
        objects = pods.load(path)
        for item in objects:
            if isinstance(item, Secret):
                self.add_secret(item)
        return [await self.add_pod(item) for item in objects if isinstance(item, Pod)]

    async def wait_mounted(self, pod: Pod) -> None:
        """Wait until each volume of the pod was published once."""
        await asyncio.gather(*(volume.wait_mounted() for volume in self.volumes(pod)))

    async def republish(self, pod: Pod) -> list[Failure]:
        """Republish each volume of the pod now; returns the failures."""
        outcomes = await asyncio.gather(*(volume.publish() for volume in self.volumes(pod)))
        return [failure for failure in outcomes if failure is not None]

    async def stats(self, pod: Pod) -> None:
        """Call NodeGetVolumeStats for each volume of the pod now."""
        await asyncio.gather(*(volume.stats() for volume in self.volumes(pod)))

    async def delete_pod(self, pod: Pod) -> None:
        """Unpublish the pod's volumes and remove it. A driver that fails is called again, without limit."""
        await asyncio.gather(*(volume.tear_down() for volume in self.volumes(pod)))
        del self._volumes[pod.uid]

    async def delete_all(self) -> None:
        """Delete all pods."""
        await asyncio.gather(*(self.delete_pod(volumes[0].pod) for volumes in list(self._volumes.values())))

    async def clean_orphans(self) -> None:
        """Unpublish the volumes that an earlier stub left on disk and whose pods were not added again, as kubelet does
        once it has received its pods.
        """
        orphans = []
        for stored in stored_volumes(self.config.pods_directory):
            if stored.pod_uid not in self._volumes:
                volume = pods.Volume(stored.volume, "", True, "", {}, "")  # the driver's name is in the data file
                pod = Pod(stored.pod_uid, stored.pod_uid, "orphaned", "", None, (volume,))
                orphans.append(PodVolume(self.host, pod, volume, reconstructed=True))
        await asyncio.gather(*(orphan.tear_down() for orphan in orphans))

    def volumes(self, pod: Pod) -> list[PodVolume]:
        """The volumes of a running pod; ConfigurationError if it is not running."""
        if pod.uid not in self._volumes:
            raise ConfigurationError(f"pod {pod.key} is not running")
        return self._volumes[pod.uid]

    def target(self, pod: Pod, volume: str = "") -> Path:
        """The target path of the pod's volume of that name, by default its first."""
        return next(item.directory.target for item in self.volumes(pod) if volume in ("", item.volume.name))

    def _start(self, work: Any) -> None:
        task = self._tasks.create_task(work)
        self._running.append(task)
        task.add_done_callback(self._running.remove)
