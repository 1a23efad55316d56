"""Pods that come and go, and what must hold while they run and after they have ended."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kubelet_stub.pods import Pod
from kubelet_stub.volume import State
from tests.faults.storm import content, kubelets_leaks
from tests.faults.storm.world import CORE_PATH, DRIVER, NAMESPACE, NODE, PULL_SECRET, World
from tests.support.mounts import mount_points

AT_ONCE = {"gracePeriodSeconds": 0}


@dataclass
class Volume:
    """A volume of a living pod, and the newest generation that was seen in it."""

    pod: Pod
    name: str
    class_name: str
    target: Path
    generation: int = 0


@dataclass
class Pods:
    """The pods that live. While ``steady`` is held, none of them ends."""

    world: World
    living: dict[str, Volume] = field(default_factory=dict)
    steady: asyncio.Lock = field(default_factory=asyncio.Lock)
    started: int = 0
    mounted: int = 0
    ended: int = 0
    leaked_by_kubelet: int = 0

    async def run(self, worker: int, end: asyncio.Event) -> None:
        """One pod after another until ``end``; the last one is deleted too."""
        chosen = random.Random(f"{self.world.seed}/{worker}")
        number = 0
        while not end.is_set():
            number += 1
            classes = chosen.sample(sorted(content.CLASSES), chosen.choice((1, 1, 2)))
            seconds = chosen.uniform(0.2, 10.0)
            async with self.pod(f"pod-{worker}-{number}", classes):
                try:
                    async with asyncio.timeout(seconds):
                        await end.wait()
                except TimeoutError:
                    pass

    @asynccontextmanager
    async def pod(self, name: str, classes: Sequence[str]) -> AsyncIterator[Pod]:
        """A pod with a volume of each class, which may be named repeatedly; it is deleted at the end."""
        world = self.world
        named = [(f"{class_name}-{number}", class_name) for number, class_name in enumerate(classes)]
        specified = [_volume(*item) for item in named]
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "x"}], "volumes": specified},
        }
        await world.admin.call("POST", f"{CORE_PATH}/pods", body, accepted=(409,))
        created = await world.admin.call("GET", f"{CORE_PATH}/pods/{name}")
        pod = await world.kubelet.add_pod(created)
        self.started += 1
        volumes = [Volume(pod, item, class_name, world.kubelet.target(pod, item)) for item, class_name in named]
        for volume in volumes:
            self.living[str(volume.target)] = volume
        yield pod
        await self._delete(pod, volumes)  # not if the storm is called off: then nobody would answer

    async def _delete(self, pod: Pod, volumes: Sequence[Volume]) -> None:
        states = [item.state for item in self.world.kubelet.volumes(pod)]
        self.mounted += all(state is State.MOUNTED for state in states)
        async with self.steady:
            for volume in volumes:
                del self.living[str(volume.target)]
        await self.world.kubelet.delete_pod(pod)
        await self.world.admin.call("DELETE", f"{CORE_PATH}/pods/{pod.name}", AT_ONCE, accepted=(404,))
        self.ended += 1
        await self._clean_leaks(pod)
        directory = self.world.pods_dir / pod.uid
        if left := mount_points(directory):
            self.world.complain(f"pod {pod.name} has ended, and something of it is mounted: {left}")
        elif directory.exists():
            found = sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
            self.world.complain(f"pod {pod.name} has ended, and its directory is there: {found[:10]}")

    async def _clean_leaks(self, pod: Pod) -> None:
        kubelet = self.world.kubelet
        for volume in pod.volumes:
            failure = kubelets_leaks.reason(kubelet, pod, volume.name)
            if kubelets_leaks.is_kubelets_own(failure):
                self.leaked_by_kubelet += 1
                self.world.note(f"kubelet has leaked volume {volume.name} of {pod.key} itself, after: {failure}")
                await kubelets_leaks.clean(kubelet, pod, volume.name)
            elif failure:
                self.world.note(f"volume {volume.name} of {pod.key} was leaked after: {failure}")

    def is_mounted(self, volume: Volume) -> bool:
        """Whether kubelet has been told that the volume is mounted."""
        return any(
            item.volume.name == volume.name and item.state is State.MOUNTED
            for item in self.world.kubelet.volumes(volume.pod)
        )


def _volume(name: str, class_name: str) -> dict[str, object]:
    csi: dict[str, object] = {
        "driver": DRIVER,
        "readOnly": True,
        "volumeAttributes": {"secretProviderClass": class_name},
        "nodePublishSecretRef": {"name": PULL_SECRET},
    }
    return {"name": name, "csi": csi}
