"""A driver under test, as a process of its own: this one, or any other that accepts the same flags."""

import os
import shlex
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench import usage
from bench.processes import PYTHON, Child
from bench.rig import ACCOUNT, NAMESPACE, BenchRig, Pod, volume
from tests.cluster import audit
from tests.support.mounts import unmount_below
from tests.support.ports import free_port

OURS = (PYTHON, "-m", "driver.main")


@dataclass
class Driver:
    """A driver with its own node name, socket and pods directory. ``flags`` are added to those of every driver."""

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
        """The name of its node."""
        return f"node-{self.name}"

    @property
    def ours(self) -> bool:
        """Whether it is this repository's driver, which has more flags."""
        return self.command == OURS

    def start(self) -> float:
        """Start it; returns the seconds from exec to the first successful Probe."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        command = [*self.command, *self._flags(), *self.flags]
        self.rig.generator.begin("probe", socket=self.socket)
        time.sleep(0.1)  # until the generator is polling
        started = time.time()
        self.child = Child(command, self.directory / "log", **self.rig.environment)
        probe = self.rig.generator.result()
        if probe["at"] is None:
            raise RuntimeError(f"{self.name} does not answer Probe: {self.child.tail()}")
        return float(probe["at"] - started)

    def stop(self) -> None:
        """Stop it and unmount its volumes."""
        if self.child is not None:
            self.child.stop()
            self.child = None
        unmount_below(self.pods_dir)

    def restart(self) -> None:
        """Stop and start it; its volumes stay mounted."""
        assert self.child is not None
        self.child.stop()
        self.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.child is not None
        return self.child.pid

    def publish(self, pods: list[Pod], **how: Any) -> dict[str, Any]:
        """Publish a volume of each pod; RuntimeError if all fail. ``how``: see ``job``."""
        return self._do("publish", pods, {"capabilities": 2, **how})

    def unpublish(self, pods: list[Pod], **how: Any) -> dict[str, Any]:
        """Unpublish the volumes of the pods."""
        return self._do("unpublish", pods, how)

    def job(self, pods: list[Pod], **how: Any) -> dict[str, Any]:
        """A job for the load generator. ``how`` says how the calls are made: ``clients`` at a time (all at once
        without), ``rate`` per second, ``capabilities`` calls before each, and whether to ``retry``.
        """
        return {"socket": self.socket, "volumes": [volume(self.pods_dir, pod) for pod in pods], **how}

    def calls(self, since: int) -> Counter[tuple[str, str]]:
        """Its calls to the API server since a mark, by verb and resource. No other driver may be running, because all
        use one service account.
        """
        assert self.rig.cluster is not None
        return self.rig.cluster.audit.count(since, audit.service_account(NAMESPACE, ACCOUNT))

    def cpu(self) -> float:
        """The CPU seconds it has used so far."""
        return usage.cpu_seconds(self.pid)

    def _do(self, what: str, pods: list[Pod], how: dict[str, Any]) -> dict[str, Any]:
        return self.rig.failed_calls.check(self.name, what, self.rig.generator.do(what, **self.job(pods, **how)))

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
    """The command in an option: a path, with arguments if any. Symlinks are not resolved: a Python interpreter finds
    its packages by the path that it was started with.
    """
    parts = shlex.split(text)
    return (os.path.abspath(parts[0]), *parts[1:])
