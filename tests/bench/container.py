"""The whole container: supervisord and its three, as `secrets-store-csi` starts them."""

import importlib.util
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import usage
from tests.bench.children import PYTHON, Child
from tests.bench.figures import Figures
from tests.bench.limits import limited
from tests.bench.measures import Effort
from tests.bench.stage import Pod, Stage, settle, unmount_below, volume
from tests.cluster.processes import free_ports

COMMAND = (PYTHON, "-m", "container.main")


def available() -> bool:
    """Whether the composition root is there."""
    return importlib.util.find_spec("container.main") is not None


@dataclass
class Container:
    """A running container; ``started`` is the wall clock of its exec."""

    stage: Stage
    directory: Path
    child: Child
    started: float
    port: int

    @property
    def socket(self) -> str:
        """The driver's."""
        return str(self.directory / "csi.sock")

    @property
    def pids(self) -> list[int]:
        """supervisord and all below it."""
        return usage.family(self.child.pid)

    def pss(self) -> dict[str, float]:
        """Of each process by its name, in MB."""
        return {Path(f"/proc/{pid}/comm").read_text().strip(): usage.pss(pid) for pid in self.pids}

    def publish(self, pods: list[Pod]) -> dict[str, Any]:
        """Publish a volume of each pod at once."""
        volumes = [volume(self.directory / "pods", pod) for pod in pods]
        result = self.stage.generator.do("publish", socket=self.socket, volumes=volumes, capabilities=2)
        if result["failures"]:
            raise RuntimeError(f"container: publishes failed, the first with {result['failures'][0]}")
        return result

    def probed(self) -> float:
        """Seconds from exec to the first successful Probe."""
        found = self.stage.generator.result()
        if found["at"] is None:
            raise RuntimeError(f"the container does not answer Probe: {self.child.tail()}")
        return float(found["at"] - self.started)

    def healthy(self, seconds: float = 15.0) -> float:
        """Seconds from exec to the first /healthz 200."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=3):
                    return time.time() - self.started
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"/healthz does not answer 200: {self.child.tail()}")


@contextmanager
def running(stage: Stage, prefix: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container of its own, without a kubelet: it is not registered, everything else is as on a node."""
    directory = stage.directory / "container"
    for name in ("pods", "registry"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    port, metrics = free_ports(2)
    command = [
        *prefix, *COMMAND, f"--endpoint=unix://{directory}/csi.sock", "--nodeid=node-container",
        f"--provider-volume={stage.providers}",
        "--additional-provider-volume-paths=", f"--metrics-addr=127.0.0.1:{metrics}",
        f"--kubelet-pods-dir={directory}/pods",
        f"--status-directory={directory}/status", f"--kubelet-registration-path={directory}/csi.sock",
        f"--plugin-registration-path={directory}/registry", f"--probe-http-endpoint=127.0.0.1:{port}"]  # fmt: skip
    if stage.cluster is None:
        command.append(f"--manifests={stage.manifests}")
    stage.generator.begin("probe", socket=f"{directory}/csi.sock")
    time.sleep(0.1)
    started = time.time()
    child = Child(command, directory / "log", **stage.environment)
    try:
        yield Container(stage, directory, child, started, port)
    finally:
        child.stop()
        unmount_below(directory / "pods")


def measure(stage: Stage, figures: Figures, effort: Effort) -> None:
    """Start, memory idle and after 110 volumes."""
    if not available():
        return
    for number in range(effort.rounds):
        with running(stage) as container:
            healthy = container.healthy()
            figures["container_start"].add("ours", container.probed())
            figures["container_healthz"].add("ours", healthy)
            settle(6.0)
            _add(figures, "idle", container)
            if number == 0:
                pods = stage.pods(110, "small")
                container.publish(pods)
                settle(3.0)
                _add(figures, "loaded", container)


def measure_in_crowd(stage: Stage, figures: Figures) -> None:
    """Memory in a large cluster, with one class in use."""
    if not available():
        return
    with running(stage) as container:
        container.healthy()
        container.probed()
        container.publish(stage.pods(1, "small"))
        settle(8.0)
        _add(figures, "large", container)


def measure_limited(stage: Stage, figures: Figures, effort: Effort) -> None:
    """Start, burst and memory under the chart's limits."""
    with limited() as prefix:
        if not available() or prefix is None:
            return
        for _ in range(max(2, effort.rounds - 2)):
            with running(stage, prefix) as container:
                figures["limited_healthz"].add("ours", container.healthy(60.0))
                figures["limited_start"].add("ours", container.probed())
                settle(6.0)
                for size in (30, 110):
                    pods = stage.pods(size, "small")
                    settle(1.0)
                    figures[f"limited_burst{size}"].add("ours", container.publish(pods)["total"])
                settle(3.0)
                figures["limited_pss"].add("ours", sum(container.pss().values()))


def _add(figures: Figures, key: str, container: Container) -> None:
    found = container.pss()
    figures[key].add("ours", sum(found.values()))
    for name, size in found.items():
        figures.part(key, name).add("ours", size)
