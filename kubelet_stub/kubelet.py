"""The stub as a library: ``async with KubeletStub(Config(root=…)) as stub: …``."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kubelet_stub import pods
from kubelet_stub.config import Config
from kubelet_stub.directories import found_on_disk
from kubelet_stub.drivers import Driver, Drivers
from kubelet_stub.events import Event, EventLog, Hook, Reason
from kubelet_stub.host import Host
from kubelet_stub.pods import Pod, Secret
from kubelet_stub.tokens import TokenIssuer
from kubelet_stub.volume import PodVolume
from kubelet_stub.watcher import PluginWatcher
from runtime.errors import ConfigurationError, Failure


class KubeletStub:
    """A node with a kubelet. Leaving the context is a kubelet that stops: pods and their volumes stay as they are,
    and a new stub on the same root finds them again; ``delete_pod`` before it to take them down.
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
        # A cancellation may be the group's own way to say that a task failed: it has to see it.
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:  # the body's own exception goes on as it is, not in a group
            await self._tasks.__aexit__(None, None, None)

    @property
    def events(self) -> EventLog:
        """Everything that happened."""
        return self.host.events

    @property
    def leaks(self) -> list[Event]:
        """Mounts and directories that no kubelet would ever remove."""
        return self.events.of(Reason.LEAKED)

    @property
    def csi_node(self) -> dict[str, object]:
        """The CSINode object that kubelet would have written."""
        return self.host.drivers.csi_node(self.config.node_name)

    async def registered(self, driver: str, present: bool = True) -> None:
        """Until the driver is registered (or, ``present=False``, is no more)."""
        await self.host.drivers.wait(driver, present)

    def use_driver(self, name: str, endpoint: str, node_id: str = "node") -> None:
        """Know a driver without any registration."""
        self.host.drivers.add(Driver(name, endpoint, node_id, "1.0.0"))

    def add_secret(self, body: Mapping[str, Any] | Secret) -> None:
        """Make a Secret known to nodePublishSecretRef, or replace it."""
        secret = body if isinstance(body, Secret) else pods.parse_secret(body)
        self.host.secrets[secret.namespace, secret.name] = secret

    async def add_pod(self, source: Mapping[str, Any] | Pod) -> Pod:
        """Start a pod: its volumes are published from now on. Volumes that an earlier stub left on disk are taken
        over.
        """
        pod = source if isinstance(source, Pod) else pods.parse_pod(source)
        if pod.uid in self._volumes:
            raise ConfigurationError(f"pod {pod.key} with uid {pod.uid} is running already")
        left = {(found.pod_uid, found.volume) for found in found_on_disk(self.config.pods_directory)}
        volumes = [PodVolume(self.host, pod, item, reconstructed=(pod.uid, item.name) in left) for item in pod.volumes]
        self._volumes[pod.uid] = volumes
        for volume in volumes:
            self._start(volume.run())
        return pod

    async def add_file(self, path: Path) -> list[Pod]:
        """Start the pods of a YAML file; its Secrets first."""
        found = pods.load(path)
        for item in found:
            if isinstance(item, Secret):
                self.add_secret(item)
        return [await self.add_pod(item) for item in found if isinstance(item, Pod)]

    async def wait_mounted(self, pod: Pod) -> None:
        """Until each volume of the pod was published."""
        await asyncio.gather(*(volume.wait_mounted() for volume in self.volumes(pod)))

    async def republish(self, pod: Pod) -> list[Failure]:
        """Publish each volume of the pod once more, now; returns what failed."""
        outcomes = await asyncio.gather(*(volume.publish() for volume in self.volumes(pod)))
        return [failure for failure in outcomes if failure is not None]

    async def stats(self, pod: Pod) -> None:
        """Ask NodeGetVolumeStats for each volume of the pod, now."""
        await asyncio.gather(*(volume.stats() for volume in self.volumes(pod)))

    async def delete_pod(self, pod: Pod) -> None:
        """Take the pod down; returns when its last volume is gone. A driver that fails is asked for as long as this
        is awaited.
        """
        await asyncio.gather(*(volume.tear_down() for volume in self.volumes(pod)))
        del self._volumes[pod.uid]

    async def delete_all(self) -> None:
        """Take all pods down."""
        await asyncio.gather(*(self.delete_pod(volumes[0].pod) for volumes in list(self._volumes.values())))

    async def clean_orphans(self) -> None:
        """Take down what an earlier stub has left of pods that were not added again: what kubelet does once it knows
        its pods.
        """
        orphans = []
        for found in found_on_disk(self.config.pods_directory):
            if found.pod_uid not in self._volumes:
                volume = pods.Volume(found.volume, "", True, "", {}, "")  # the driver's name is in the data file
                pod = Pod(found.pod_uid, found.pod_uid, "orphaned", "", None, (volume,))
                orphans.append(PodVolume(self.host, pod, volume, reconstructed=True))
        await asyncio.gather(*(orphan.tear_down() for orphan in orphans))

    def volumes(self, pod: Pod) -> list[PodVolume]:
        """The running volumes of a pod."""
        if pod.uid not in self._volumes:
            raise ConfigurationError(f"pod {pod.key} is not running here")
        return self._volumes[pod.uid]

    def target(self, pod: Pod, volume: str = "") -> Path:
        """Where a volume of the pod is mounted; its only or first one if no name is given."""
        return next(item.directory.target for item in self.volumes(pod) if volume in ("", item.volume.name))

    def _start(self, work: Any) -> None:
        task = self._tasks.create_task(work)
        self._running.append(task)
        task.add_done_callback(self._running.remove)
