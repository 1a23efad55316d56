"""A container under test: supervisord with its three roles, as ``secrets-store-csi`` starts them; or the driver,
registrar and probe of the Go trio or of any others, each as a process of its own.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import usage
from bench.processes import PYTHON, Child
from bench.rig import BenchRig, Pod, volume
from tests.support.http_client import fetch
from tests.support.mounts import unmount_below
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

Command = tuple[str, ...]
Commands = Mapping[str, Command]
"""The commands of a container by process name."""
_SUPERVISOR = "supervisord"
OURS: Commands = {_SUPERVISOR: (PYTHON, "-m", "container.start")}


def of_another_version(command: Command) -> Commands:
    """The container of another version of this project, which has the same flags."""
    return {_SUPERVISOR: command}


@dataclass
class Container:
    """A running container. ``started`` is the wall clock time of its start, ``port`` that of its /healthz."""

    name: str
    rig: BenchRig
    directory: Path
    children: Mapping[str, Child]
    started: float
    port: int

    @property
    def socket(self) -> str:
        """The driver's socket."""
        return str(self.directory / "csi.sock")

    def processes(self) -> dict[str, int]:
        """The pids of all processes by name; a process that supervisord has forked has the name of its role."""
        pids = {}
        for name, child in self.children.items():
            for pid in usage.process_tree(child.pid):
                with suppress(OSError):  # it has just ended
                    pids[name if pid == child.pid else Path(f"/proc/{pid}/comm").read_text().strip()] = pid
        return pids

    def pss(self) -> dict[str, float]:
        """The proportional set size of each process in MiB."""
        return {name: usage.pss(pid) for name, pid in self.processes().items()}

    def cpu(self) -> dict[str, float]:
        """The CPU seconds that each process has used so far."""
        return {name: usage.cpu_seconds(pid) for name, pid in self.processes().items()}

    def publish(self, pods: list[Pod]) -> dict[str, Any]:
        """Publish a volume of each pod, all at once; RuntimeError if all fail."""
        volumes = [volume(self.directory / "pods", pod) for pod in pods]
        result = self.rig.generator.do("publish", socket=self.socket, volumes=volumes, capabilities=2)
        return self.rig.failed_calls.check(f"container {self.name}", "publish", result)

    def wait_probed(self, since: float) -> float:
        """The seconds from ``since`` (wall clock) to the first successful Probe of the load generator's running job."""
        probe = self.rig.generator.result()
        if probe["at"] is None:
            raise RuntimeError(f"the container does not answer Probe: {self.tail()}")
        return float(probe["at"] - since)

    def wait_healthy(self, seconds: float = 15.0) -> float:
        """The seconds from its start to the first 200 of /healthz; TimeoutError after ``seconds``."""

        def healthy() -> bool:
            return fetch(self.port, timeout=3)[0] == 200

        wait_until(healthy, lambda: f"/healthz to return 200: {self.tail()}", seconds, pause=0.005)
        return time.time() - self.started

    def tail(self) -> str:
        """The last lines of its processes' output."""
        return "\n".join(child.tail() for child in self.children.values())


@contextmanager
def running(rig: BenchRig, name: str, commands: Commands, prefix: Command = ()) -> Iterator[Container]:
    """Run a container inside the context, each command after ``prefix``. There is no kubelet, so it is not registered;
    everything else is as on a node.
    """
    directory = rig.directory / f"container-{name}"
    for subdirectory in ("pods", "registry"):
        (directory / subdirectory).mkdir(parents=True, exist_ok=True)
    port, metrics = free_ports(2)
    flags = _our_flags(rig, directory) if _SUPERVISOR in commands else _their_flags()
    values = {
        "socket": f"{directory}/csi.sock",
        "node": f"node-container-{name}",
        "providers": str(rig.providers),
        "metrics": f"127.0.0.1:{metrics}",
        "registry": f"{directory}/registry",
        "health": f"127.0.0.1:{port}",
    }
    rig.generator.begin("probe", socket=values["socket"])
    time.sleep(0.1)  # until the generator is polling
    with ExitStack() as stack:
        stack.callback(unmount_below, directory / "pods")
        started, children = time.time(), {}
        for process, command in commands.items():
            arguments = [*prefix, *command, *(flag.format(**values) for flag in flags[process])]
            children[process] = Child(arguments, directory / f"{process}.log", **rig.environment)
            stack.callback(children[process].stop)
        yield Container(name, rig, directory, children, started, port)


def _our_flags(rig: BenchRig, directory: Path) -> dict[str, list[str]]:
    return {
        "supervisord": [
            *_their_flags()["driver"],
            f"--kubelet-pods-dir={directory}/pods",
            f"--status-directory={directory}/status",
            "--kubelet-registration-path={socket}",
            "--plugin-registration-path={registry}",
            "--probe-http-endpoint={health}",
            *([f"--manifests={rig.manifests}"] if rig.cluster is None else ()),
        ]
    }


def _their_flags() -> dict[str, list[str]]:
    return {
        "driver": [
            "--endpoint=unix://{socket}",
            "--nodeid={node}",
            "--provider-volume={providers}",
            "--additional-provider-volume-paths=",
            "--metrics-addr={metrics}",
        ],
        "registrar": [
            "--csi-address={socket}",
            "--kubelet-registration-path={socket}",
            "--plugin-registration-path={registry}",
        ],
        "probe": ["--csi-address={socket}", "--http-endpoint={health}"],
    }
