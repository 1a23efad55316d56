"""Volumes that come and go in calm: whatever a process has more of afterwards, it has leaked."""

import asyncio
import signal
import time
from dataclasses import dataclass

from driver.cluster.network import CONNECTIONS
from tests.faults.storm.launcher import ROLES
from tests.faults.storm.pods import Pods
from tests.faults.storm.world import World
from tests.support.waiting import until

VOLUMES_A_POD, PODS_AT_ONCE = 8, 4
POD_SECONDS = 60.0
# What may be more, because of what is under way at the moment of a measurement, and of connections to the API server: a
# driver that has volumes when it starts opens them as it needs them.
MEASURES = 5
MORE = {"descriptors": 6 + CONNECTIONS, "threads": 6, "tasks": 8}
# Of the memory in bytes, for what is still warming up and for the allocator's fragments; the rest would be a leak. It
# takes thousands of volumes to tell a leak of a kilobyte a volume from the former.
MORE_MEMORY, MORE_MEMORY_PER_VOLUME = 8e6, 100.0


@dataclass(frozen=True)
class Measure:
    """What a role has of something that can leak; ``memory`` is what it does not share, in bytes."""

    pid: int
    descriptors: int
    threads: int
    tasks: int
    memory: int

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.tasks} tasks, {self.memory / 1e6:.1f} MB"


async def churn(world: World, pods: Pods, volumes: int) -> dict[str, str]:
    """Publish and unpublish so many volumes, after a quarter as many for the warm-up; returns the measures as text."""
    await _volumes(pods, "warm", volumes // 4)
    before = await measures(world)
    started = time.monotonic()
    await _volumes(pods, "churn", volumes)
    seconds = time.monotonic() - started
    after = await measures(world)
    for role in ROLES:
        for problem in _grown(before[role], after[role], volumes):
            world.complain(f"the {role} has grown over {volumes} volumes: {problem}")
    return {
        "volumes churned": f"{volumes} in {seconds:.0f} s",
        **{f"{role}, before and after": f"{before[role]}; {after[role]}" for role in ROLES},
    }


def _grown(before: Measure, after: Measure, volumes: int) -> list[str]:
    if before.pid != after.pid:
        return [f"it was restarted: pid {before.pid} is now {after.pid}"]
    limits = {**MORE, "memory": MORE_MEMORY + MORE_MEMORY_PER_VOLUME * volumes}
    return [
        f"{name} {getattr(before, name)} → {getattr(after, name)}"
        for name, more in limits.items()
        if getattr(after, name) > getattr(before, name) + more
    ]


async def _volumes(pods: Pods, name: str, number: int) -> None:
    """Pods with several volumes each, several at once."""
    waiting = list(range(max(1, number // VOLUMES_A_POD)))

    async def work() -> None:
        while waiting:
            async with asyncio.timeout(POD_SECONDS):
                async with pods.pod(f"{name}-{waiting.pop()}", ["plain", "many"] * (VOLUMES_A_POD // 2)) as pod:
                    await pods.world.kubelet.wait_mounted(pod)

    await asyncio.gather(*(work() for _ in range(PODS_AT_ONCE)))


async def measures(world: World) -> dict[str, Measure]:
    """Each role's, once nothing is under way any more. Roles that are not there are waited for."""

    async def measure(role: str) -> Measure | None:
        world.clock[role] = -1.0
        pid = world.container.signal(role, signal.SIGUSR1)
        if pid is None:
            return None
        await until(lambda: world.clock[role] >= 0, f"the {role} to count its tasks", pause=0.05)
        process = world.container.processes().get(role)
        if process is None:
            return None
        memory = process.memory_full_info().uss
        return Measure(pid, process.num_fds(), process.num_threads(), int(world.clock[role]), memory)

    async def calmed(role: str) -> Measure:
        """The least of a few measures: a status page or a health check may be under way during one of them."""
        found: list[Measure] = []
        while len(found) < MEASURES:
            if (measured := await until(lambda: measure(role), f"the {role}", pause=0.1)) is not None:
                found.append(measured)
            await asyncio.sleep(0.2)  # what is measured is what lasts
        return Measure(
            found[-1].pid,
            min(item.descriptors for item in found),
            min(item.threads for item in found),
            min(item.tasks for item in found),
            min(item.memory for item in found),
        )

    return {role: await calmed(role) for role in ROLES}
