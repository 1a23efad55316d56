"""The measures of whole containers: start, memory, wake-ups, recovery after kill -9, and all that under the chart's
limits.
"""

import os
import signal
import time
from collections.abc import Mapping

from bench import usage
from bench.container import OURS, Commands, Container, running
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.limits import Limits, limited
from bench.rig import BenchRig
from tests.support.waiting import wait_until

ROLES = ("registrar", "probe", "driver")
RESTART_SECONDS = 10.0
Containers = Mapping[str, Commands]
"""The containers to measure, by name."""


# Noise only adds to the CPU time of a start: the least of many is what counts.
STARTS_PER_ROUND = 2


def starts(rig: BenchRig, containers: Containers, figures: Figures, effort: Effort) -> None:
    """Start alone, many times: until the first successful Probe, by the clock and in CPU time of all processes."""
    for _ in range(effort.rounds * STARTS_PER_ROUND):
        for name, commands in containers.items():
            with running(rig, name, commands) as container:
                _add_start(figures, container)
                settle(0.5)


def measure(rig: BenchRig, containers: Containers, figures: Figures, effort: Effort) -> None:
    """Start to /healthz, memory idle and after 110 volumes, wake-ups while idle, and recovery after kill -9."""
    for number in range(effort.rounds):
        for name, commands in containers.items():
            with running(rig, name, commands) as container:
                figures["container_healthz"].add(name, container.wait_healthy())
                container.wait_probed(container.started)
                settle(6.0)
                _add_memory(figures, "idle", container)
                if number == 0:
                    _count_wakeups(container, figures)
                    container.publish(rig.pods(110, "small"))
                    settle(3.0)
                    _add_memory(figures, "loaded", container)
                if commands is OURS:
                    _kill_each(container, figures)


def measure_in_large_cluster(rig: BenchRig, containers: Containers, figures: Figures) -> None:
    """Memory in a large cluster, with one class in use."""
    for name, commands in containers.items():
        with running(rig, name, commands) as container:
            container.wait_healthy()
            container.wait_probed(container.started)
            container.publish(rig.pods(1, "small"))
            settle(8.0)
            _add_memory(figures, "large", container)


def measure_limited(rig: BenchRig, containers: Containers, figures: Figures, effort: Effort) -> None:
    """Start, bursts and memory under the chart's limits. The three processes of another container share the sum of the
    limits; that is more than Kubernetes grants them, since there each has its own.
    """
    with limited(Limits.of_chart()) as prefix:
        if prefix is None:
            raise RuntimeError("this machine does not allow a cgroup with limits")
        for _ in range(max(2, effort.rounds - 2)):
            for name, commands in containers.items():
                with running(rig, name, commands, prefix) as container:
                    figures["limited_healthz"].add(name, container.wait_healthy(60.0))
                    figures["limited_start"].add(name, container.wait_probed(container.started))
                    settle(6.0)
                    figures["limited_idle"].add(name, sum(container.pss().values()))
                    for size in (30, 110):
                        pods = rig.pods(size, "small")
                        settle(1.0)
                        figures[f"limited_burst{size}"].add(container.name, container.publish(pods)["total"])
                    settle(3.0)
                    figures["limited_loaded"].add(name, sum(container.pss().values()))


def _add_start(figures: Figures, container: Container) -> None:
    figures["container_start"].add(container.name, container.wait_probed(container.started))
    used = container.cpu()
    figures["container_start_cpu"].add(container.name, sum(used.values()))
    for name, seconds in used.items():
        figures.part("container_start_cpu", name).add(container.name, seconds)


def _count_wakeups(container: Container, figures: Figures, seconds: float = 20.0) -> None:
    pids = container.processes()
    before = {name: usage.wakeups(pid) for name, pid in pids.items()}
    settle(seconds)
    rates = {name: (usage.wakeups(pid) - before[name]) / seconds for name, pid in pids.items()}
    figures["wakeups"].add(container.name, sum(rates.values()))
    for name, rate in rates.items():
        figures.part("wakeups", name).add(container.name, rate)


def _kill_each(container: Container, figures: Figures) -> None:
    """kill -9 of one role after the other: time until it is forked again, and until a killed driver answers Probe."""
    for role in ROLES:
        old, killed = container.processes()[role], time.time()
        os.kill(old, signal.SIGKILL)
        if role == "driver":
            container.rig.generator.begin("probe", socket=container.socket)
        _wait_forked(container, role, old)
        elapsed = (time.time() - killed) * 1e3
        figures["forked_again"].add(container.name, elapsed)
        figures.part("forked_again", role).add(container.name, elapsed)
        if role == "driver":
            figures["answers_again"].add(container.name, container.wait_probed(killed) * 1e3)


def _wait_forked(container: Container, role: str, old: int) -> None:
    wait_until(
        lambda: container.processes().get(role) not in (None, old),
        lambda: f"the {role} to be forked again: {container.tail()}",
        RESTART_SECONDS,
        pause=0.0005,
    )


def _add_memory(figures: Figures, key: str, container: Container) -> None:
    sizes = container.pss()
    figures[key].add(container.name, sum(sizes.values()))
    for name, size in sizes.items():
        figures.part(key, name).add(container.name, size)
