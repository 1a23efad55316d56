"""What is measured: our driver, or any other that takes the same flags, as a process of its own."""

import os
import shlex
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench import usage
from bench.children import PYTHON, Child
from bench.rig import ACCOUNT, NAMESPACE, BenchRig, Pod, volume
from tests.cluster import audit
from tests.support.mounts import unmount_below
from tests.support.ports import free_port

OURS = (PYTHON, "-m", "driver.main")


@dataclass
class Driver:
    """One driver on the rig; ``start`` it, ``stop`` it, publish by it."""

    name: str
    command: tuple[str, ...]
    rig: BenchRig
    flags: tuple[str, ...] = ()
    child: Child | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.directory = self.rig.directory / self.name
        self.pods_dir = self.directory / "pods"
        self.pods_dir.mkdir(parents=True, exist_ok=True)
        self.socket = str(self.directory / "csi.sock")

    @property
    def node(self) -> str:
        """Each has a node of its own."""
        return f"node-{self.name}"

    @property
    def ours(self) -> bool:
        """Whether it knows our flags."""
        return self.command == OURS

    def start(self) -> float:
        """Start it and wait for the first successful Probe; the seconds from exec to that."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        command = [*self.command, *self._flags(), *self.flags]
        self.rig.generator.begin("probe", socket=self.socket)
        time.sleep(0.1)  # the generator is asking by now
        started = time.time()
        self.child = Child(command, self.directory / "log", **self.rig.environment)
        found = self.rig.generator.result()
        if found["at"] is None:
            raise RuntimeError(f"{self.name} does not answer Probe: {self.child.tail()}")
        return float(found["at"] - started)

    def stop(self) -> None:
        """End it and take away what it mounted."""
        if self.child is not None:
            self.child.stop()
            self.child = None
        unmount_below(self.pods_dir)

    def restart(self) -> None:
        """As after a kill: its volumes stay."""
        assert self.child is not None
        self.child.stop()
        self.start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.child is not None
        return self.child.pid

    def publish(self, pods: list[Pod], **how: Any) -> dict[str, Any]:
        """Publish a volume of each pod; no failure is expected."""
        return self._do("publish", pods, {"capabilities": 2, **how})

    def unpublish(self, pods: list[Pod], **how: Any) -> dict[str, Any]:
        """Unpublish them."""
        return self._do("unpublish", pods, how)

    def job(self, pods: list[Pod], **how: Any) -> dict[str, Any]:
        """A job for the generator, for ``begin``."""
        return {"socket": self.socket, "volumes": [volume(self.pods_dir, pod) for pod in pods], **how}

    def calls(self, since: int) -> Counter[tuple[str, str]]:
        """Its calls to the API server since a mark, by verb and resource. All drivers have one account: no other one
        may run."""
        assert self.rig.cluster is not None
        return self.rig.cluster.audit.count(since, audit.service_account(NAMESPACE, ACCOUNT))

    def cpu(self) -> float:
        """CPU seconds so far."""
        return usage.cpu_seconds(self.pid)

    def _do(self, what: str, pods: list[Pod], how: dict[str, Any]) -> dict[str, Any]:
        result = self.rig.generator.do(what, **self.job(pods, **how))
        if result["failures"]:
            raise RuntimeError(
                f"{self.name}: {len(result['failures'])} calls failed, the first with {result['failures'][0]}"
            )
        return result

    def _flags(self) -> list[str]:
        port = free_port()
        flags = [
            f"--endpoint=unix://{self.socket}",
            f"--nodeid={self.node}",
            f"--provider-volume={self.rig.providers}",
            "--additional-provider-volume-paths=",
            f"--metrics-addr=127.0.0.1:{port}",
        ]
        if self.ours:
            flags += [f"--kubelet-pods-dir={self.pods_dir}", f"--status-directory={self.directory}/status"]
            if self.rig.cluster is None:
                flags.append(f"--manifests={self.rig.manifests}")
        return flags


def command_of(text: str) -> tuple[str, ...]:
    """A command from an option: a path, perhaps with arguments. A symlink stays one: an interpreter knows its packages
    by it."""
    parts = shlex.split(text)
    return (os.path.abspath(parts[0]), *parts[1:])
