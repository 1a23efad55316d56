"""The whole container: supervisord and its three, as `secrets-store-csi` starts them; beside it, where all three are
given by path, the Go trio's or any other's, each a process of its own."""

import os
import signal
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import usage
from bench.children import PYTHON, Child
from bench.figures import Figures
from bench.limits import Limits, limited
from bench.measures import Effort
from bench.rig import BenchRig, Pod, settle, volume
from tests.support.mounts import unmount_below
from tests.support.ports import free_ports

Command = tuple[str, ...]
OURS: Mapping[str, Command] = {"supervisord": (PYTHON, "-m", "container.start")}
"""A container is its commands by the names of their processes."""
ROLES = ("registrar", "probe", "driver")


@dataclass
class Container:
    """A running container; ``started`` is the wall clock of its exec."""

    name: str
    rig: BenchRig
    directory: Path
    children: Mapping[str, Child]
    started: float
    port: int

    @property
    def socket(self) -> str:
        """The driver's."""
        return str(self.directory / "csi.sock")

    def processes(self) -> dict[str, int]:
        """All of them by name; what supervisord has forked is named as its role."""
        found = {}
        for name, child in self.children.items():
            for pid in usage.family(child.pid):
                with suppress(OSError):  # it ended while we looked
                    found[name if pid == child.pid else Path(f"/proc/{pid}/comm").read_text().strip()] = pid
        return found

    def pss(self) -> dict[str, float]:
        """Of each process, in MB."""
        return {name: usage.pss(pid) for name, pid in self.processes().items()}

    def publish(self, pods: list[Pod]) -> dict[str, Any]:
        """Publish a volume of each pod at once."""
        volumes = [volume(self.directory / "pods", pod) for pod in pods]
        result = self.rig.generator.do("publish", socket=self.socket, volumes=volumes, capabilities=2)
        if result["failures"]:
            raise RuntimeError(f"container: publishes failed, the first with {result['failures'][0]}")
        return result

    def probed(self, since: float) -> float:
        """Seconds from ``since`` (wall clock) to the first successful Probe, which the generator was told to make."""
        found = self.rig.generator.result()
        if found["at"] is None:
            raise RuntimeError(f"the container does not answer Probe: {self.tail()}")
        return float(found["at"] - since)

    def healthy(self, seconds: float = 15.0) -> float:
        """Seconds from exec to the first /healthz 200."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=3):
                    return time.time() - self.started
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"/healthz does not answer 200: {self.tail()}")

    def tail(self) -> str:
        """What its processes said last."""
        return "\n".join(child.tail() for child in self.children.values())


@contextmanager
def running(rig: BenchRig, name: str, commands: Mapping[str, Command], prefix: Command = ()) -> Iterator[Container]:
    """A container of its own, without a kubelet: it is not registered, everything else is as on a node."""
    directory = rig.directory / f"container-{name}"
    for below in ("pods", "registry"):
        (directory / below).mkdir(parents=True, exist_ok=True)
    port, metrics = free_ports(2)
    flags = _our_flags(rig, directory) if commands is OURS else _their_flags()
    places = {
        "socket": f"{directory}/csi.sock",
        "node": f"node-container-{name}",
        "providers": str(rig.providers),
        "metrics": f"127.0.0.1:{metrics}",
        "registry": f"{directory}/registry",
        "health": f"127.0.0.1:{port}",
    }
    rig.generator.begin("probe", socket=places["socket"])
    time.sleep(0.1)  # it is asking by now
    with ExitStack() as stack:
        stack.callback(unmount_below, directory / "pods")
        started, children = time.time(), {}
        for part, command in commands.items():
            arguments = [*prefix, *command, *(flag.format(**places) for flag in flags[part])]
            children[part] = Child(arguments, directory / f"{part}.log", **rig.environment)
            stack.callback(children[part].stop)
        yield Container(name, rig, directory, children, started, port)


def _our_flags(rig: BenchRig, directory: Path) -> dict[str, list[str]]:
    theirs = _their_flags()
    return {
        "supervisord": [
            *theirs["driver"],
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


Containers = Mapping[str, Mapping[str, Command]]


def measure(rig: BenchRig, containers: Containers, figures: Figures, effort: Effort) -> None:
    """Start, memory idle and after 110 volumes, what wakes it while idle, how it comes back from kill -9."""
    for number in range(effort.rounds):
        for name, commands in containers.items():
            with running(rig, name, commands) as container:
                healthy = container.healthy()
                figures["container_start"].add(name, container.probed(container.started))
                figures["container_healthz"].add(name, healthy)
                settle(6.0)
                _add_memory(figures, "idle", container)
                if number == 0:
                    _wakeups(container, figures)
                    container.publish(rig.pods(110, "small"))
                    settle(3.0)
                    _add_memory(figures, "loaded", container)
                if commands is OURS:
                    _kill_each(container, figures)


def _wakeups(container: Container, figures: Figures, seconds: float = 20.0) -> None:
    pids = container.processes()
    before = {name: usage.wakeups(pid) for name, pid in pids.items()}
    settle(seconds)
    rates = {name: (usage.wakeups(pid) - before[name]) / seconds for name, pid in pids.items()}
    figures["wakeups"].add(container.name, sum(rates.values()))
    for name, rate in rates.items():
        figures.part("wakeups", name).add(container.name, rate)


def _kill_each(container: Container, figures: Figures) -> None:
    """kill -9 of one role after the other: when it is forked again, and when a killed driver answers Probe again."""
    for role in ROLES:
        old, killed = container.processes()[role], time.time()
        os.kill(old, signal.SIGKILL)
        if role == "driver":
            container.rig.generator.begin("probe", socket=container.socket)
        end = time.monotonic() + 10
        while container.processes().get(role) in (None, old):
            if time.monotonic() > end:
                raise RuntimeError(f"the {role} was not forked again: {container.tail()}")
            time.sleep(0.0005)
        took = (time.time() - killed) * 1e3
        figures["forked_again"].add(container.name, took)
        figures.part("forked_again", role).add(container.name, took)
        if role == "driver":
            figures["answers_again"].add(container.name, container.probed(killed) * 1e3)


def measure_in_crowd(rig: BenchRig, containers: Containers, figures: Figures) -> None:
    """Memory in a large cluster, with one class in use."""
    for name, commands in containers.items():
        with running(rig, name, commands) as container:
            container.healthy()
            container.probed(container.started)
            container.publish(rig.pods(1, "small"))
            settle(8.0)
            _add_memory(figures, "large", container)


def measure_limited(rig: BenchRig, containers: Containers, figures: Figures, effort: Effort) -> None:
    """Start, burst and memory under the chart's limits. Another's three processes share one sum of limits too, which
    is more than Kubernetes gives them: there each has its own."""
    with limited(Limits.of_chart()) as prefix:
        if prefix is None:
            raise RuntimeError("this machine does not let us make a cgroup with limits")
        for _ in range(max(2, effort.rounds - 2)):
            for name, commands in containers.items():
                with running(rig, name, commands, prefix) as container:
                    figures["limited_healthz"].add(name, container.healthy(60.0))
                    figures["limited_start"].add(name, container.probed(container.started))
                    settle(6.0)
                    figures["limited_idle"].add(name, sum(container.pss().values()))
                    _limited_bursts(rig, container, figures)
                    settle(3.0)
                    figures["limited_loaded"].add(name, sum(container.pss().values()))


def _limited_bursts(rig: BenchRig, container: Container, figures: Figures, sizes: Sequence[int] = (30, 110)) -> None:
    for size in sizes:
        pods = rig.pods(size, "small")
        settle(1.0)
        figures[f"limited_burst{size}"].add(container.name, container.publish(pods)["total"])


def _add_memory(figures: Figures, key: str, container: Container) -> None:
    found = container.pss()
    figures[key].add(container.name, sum(found.values()))
    for name, size in found.items():
        figures.part(key, name).add(container.name, size)
