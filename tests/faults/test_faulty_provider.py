"""A driver that is killed, a provider that fails, moves and crashes, and classes that change, all at once, with
kubelet's rules.

Whatever a pod reads is whole, kubelet never takes a missing volume for mounted, nothing leaks, and all can be deleted.
"""

import asyncio
import random
import time
from pathlib import Path

import pytest

from kubelet_stub.config import Config
from kubelet_stub.kubelet import KubeletStub
from kubelet_stub.pods import Pod
from provider_stub.running import running
from runtime.flags import Duration
from tests.support.mounts import mount_points
from tests.support.process_rig import ProcessRig

SECONDS = 12.0
PODS = 6
CLASSES = [f"class-{number}" for number in range(4)]
DRIVER = "secrets-store.csi.k8s.io"
OBJECTS = {"objects": "[{objectName: password}, {objectName: a/b}]"}
TROUBLES = [
    *({"stubError": code} for code in ("UNAVAILABLE", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "ABORTED", "UNKNOWN")),
    *({"stubReply": kind} for kind in ("no-versions", "dot-dot", "conflict", "oversized", "empty")),
    {"stubDelay": "300ms"},
    {"stubDelay": "3s"},
    {"stubCrash": "true"},
    {"stubErrorCode": "Refused"},
]
# In half of the cases nothing is wrong, or the provider writes the files itself.
FINE: list[dict[str, str]] = [{}, {"selfWrite": "true"}] * (len(TROUBLES) // 2)


class FaultRig:
    """A node on which much goes wrong until ``end``; ``mounted`` counts the pods that got their volume."""

    def __init__(self, rig: ProcessRig, kubelet: KubeletStub) -> None:
        self.rig, self.kubelet = rig, kubelet
        self.end = time.monotonic() + SECONDS
        self.mounted = 0

    @property
    def in_time(self) -> bool:
        """Whether more shall go wrong."""
        return time.monotonic() < self.end

    async def driver(self) -> None:
        """Run the driver for a while and kill it, again and again."""
        while self.in_time:
            async with self.rig.process():
                await asyncio.sleep(random.uniform(0.2, 2.0))

    async def provider(self) -> None:
        """Restart the provider, with other secrets, in one directory or another."""
        while self.in_time:
            directory = random.choice((self.rig.providers_dir, self.rig.directory / "more"))
            async with running(directory / "stub.sock", self.rig.secrets_dir) as provider:
                provider.put("password", "x" * random.randint(1, 5000))
                await asyncio.sleep(random.uniform(0.3, 2.0))

    async def class_author(self) -> None:
        """Change the classes."""
        while self.in_time:
            trouble = random.choice([*TROUBLES, *FINE])
            self.rig.write_class(random.choice(CLASSES), parameters={**OBJECTS, **trouble})
            await asyncio.sleep(random.uniform(0.02, 0.2))

    async def pods(self, name: str) -> None:
        """Run one pod after another: it waits for its volume, reads for a while, and is deleted."""
        number = 0
        while self.in_time:
            number += 1
            pod = await self.kubelet.add_pod(manifest(f"{name}-{number}"))
            try:
                async with asyncio.timeout(random.uniform(0.1, 3.0)):
                    await self.kubelet.wait_mounted(pod)
                    self.mounted += 1
                    await self.read(pod)
            except TimeoutError:
                pass  # deleted before its volume was mounted, or while it reads
            async with asyncio.timeout(30):
                await self.kubelet.delete_pod(pod)

    async def read(self, pod: Pod) -> None:
        """Read a pod's secret repeatedly: it is whole each time."""
        password = self.kubelet.target(pod) / "password"
        for _ in range(random.randint(1, 50)):
            assert set(password.read_text()) == {"x"}
            await asyncio.sleep(0.02)


def manifest(name: str) -> dict[str, object]:
    """A pod with one volume."""
    csi = {"driver": DRIVER, "readOnly": True, "volumeAttributes": {"secretProviderClass": random.choice(CLASSES)}}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {"volumes": [{"name": "secrets", "csi": csi}]},
    }


@pytest.mark.slow
def test_all_at_once(tmp_path: Path) -> None:
    """All of it for a dozen seconds, with kubelet's retries, republishes and deadlines at a faster pace → no leak, and
    all pods are deleted."""
    random.seed(3)

    async def run() -> None:
        more = tmp_path / "more"
        more.mkdir()
        rig = ProcessRig(tmp_path, {"additional_provider_volume_paths": (str(more),)})
        for name in CLASSES:
            rig.write_class(name, parameters=OBJECTS)
        (rig.secrets_dir / "a").mkdir()
        (rig.secrets_dir / "a/b").write_text("1")
        (rig.secrets_dir / "password").write_text("x")
        config = Config(
            root=str(tmp_path),
            node_name="node-1",
            publish_timeout=Duration(2.0),
            republish_interval=Duration(0.15),
            stats_interval=Duration(0.2),
            backoff_base=Duration(0.05),
            backoff_cap=Duration(0.3),
        )
        async with KubeletStub(config) as kubelet:
            kubelet.use_driver(DRIVER, f"{tmp_path}/csi.sock", "node-1")
            faults = FaultRig(rig, kubelet)
            pods = [asyncio.create_task(faults.pods(f"pod-{number}")) for number in range(PODS)]
            async with asyncio.TaskGroup() as troubles:
                for trouble in (faults.driver, faults.provider, faults.class_author):
                    troubles.create_task(trouble())
            async with rig.process():
                await asyncio.gather(*pods)
            assert kubelet.leaks == []
            assert faults.mounted > PODS, "hardly a pod got its volume: nothing was tested"
            assert mount_points(rig.pods_dir) == []
            assert list(rig.pods_dir.rglob("mount")) == []

    asyncio.run(run())
