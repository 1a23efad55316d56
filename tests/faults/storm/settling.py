"""After the last fault: all converges within a minute, and then, when all pods are gone, nothing is left."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from tests.faults.storm import content
from tests.faults.storm.launcher import RUN, SHIFT
from tests.faults.storm.pods import Pods, Volume
from tests.faults.storm.world import CORE_PATH, DRIVER, STATUSES_PATH, World
from tests.support.http_client import fetch
from tests.support.mounts import mount_points
from tests.support.waiting import until

# A minute, which is also the driver's longest back-off, and kubelet's next republish.
SETTLE_SECONDS = 62.0
REFRESH_FAILED = "SecretRefreshFailed"
BACKGROUND = ("class watch", "pod status retries", "events", "Secret sync", "provider health check")
Condition = Callable[[], Awaitable[str]]
"""Returns what is missing; empty if the condition is met."""


class Settling:
    """``took`` says when each condition was met, in seconds since the last fault."""

    def __init__(self, world: World, pods: Pods) -> None:
        self.took: dict[str, float] = {}
        self._world, self._pods = world, pods

    async def converge(self, patient: bool) -> None:
        """Calm, then a new generation and new pods: all get it, old and new."""
        world = self._world
        world.clock[SHIFT] = 0.0
        for name in content.CLASSES:
            await world.make_class(name)
            if not patient:
                await world.make_class(name, edit="the storm is over")
        started = time.monotonic()
        world.next_generation()
        async with AsyncExitStack() as stack:
            for name in content.CLASSES:
                await stack.enter_async_context(self._pods.pod(f"after-{name}", [name]))
            conditions: dict[str, Condition] = {
                "healthy": lambda: self._page(world.port, "/healthz"),
                "ready": lambda: self._page(world.port, "/readyz"),
                "registered": self._registered,
                "volumes are up to date": self._up_to_date,
                "pod statuses": self._statuses,
                "synced Secret": self._secret,
            }
            await asyncio.gather(*(self._meet(name, met, started) for name, met in conditions.items()))
            await self._meet("background tasks run", self._tasks_run, time.monotonic())
            await self._fail_a_refresh()

    async def _meet(self, name: str, condition: Condition, started: float) -> None:
        while missing := await condition():
            if time.monotonic() - started > SETTLE_SECONDS:
                self._world.complain(f"not met {SETTLE_SECONDS:g} s after the last fault: {name}: {missing}")
                return
            await asyncio.sleep(0.2)
        self.took[name] = time.monotonic() - started

    async def _page(self, port: int, path: str) -> str:
        code, text = await asyncio.to_thread(fetch, port, path)
        return "" if code == 200 else f"{path} is {code}: {text}"

    async def _registered(self) -> str:
        drivers = [driver.name for driver in self._world.kubelet.host.drivers]
        return "" if DRIVER in drivers else "kubelet does not know the driver"

    async def _up_to_date(self) -> str:
        async with self._pods.steady:
            volumes = list(self._pods.living.values())
            old = [problem for volume in volumes if (problem := await self._behind(volume))]
        return f"{len(old)} of {len(volumes)}: {'; '.join(old[:4])}; {await self._driver_status()}" if old else ""

    async def _behind(self, volume: Volume) -> str:
        name = f"{volume.pod.name}/{volume.name}"
        if not self._pods.is_mounted(volume):
            return f"{name} is not mounted: {self._last_event(volume)}"
        try:
            generation = await asyncio.to_thread(
                content.read_volume, volume.target, self._world.canary, volume.class_name
            )
        except content.Unwhole as problem:
            return f"{name}: {problem}"
        if generation != self._world.generation:
            return f"{name} has generation {generation}"
        left = content.leftovers(volume.target)
        return f"{name} has {left} beside its content" if left else ""

    async def _tasks_run(self) -> str:
        """The driver's background tasks; what ends is started again, so one may be missing for a moment."""
        world = self._world
        world.clock["driver"] = -1.0
        world.container.signal("driver", signal.SIGUSR1)
        await until(lambda: world.clock["driver"] >= 0, "the driver to name its tasks", pause=0.05)
        names = (world.directory / "memory.driver").read_text().split("\n")
        return ", ".join(sorted({name + RUN for name in BACKGROUND} - set(names)))

    async def _fail_a_refresh(self) -> None:
        """A class that becomes wrong: the event on its pod shows that watch, republish and event recorder work."""
        await self._world.make_class("plain", content="absent")
        await self._meet("an event of a failed refresh", self._event, time.monotonic())
        await self._world.make_class("plain")

    async def _event(self) -> str:
        events = (await self._world.admin.call("GET", f"{CORE_PATH}/events"))["items"]
        names = [event["involvedObject"]["name"] for event in events if event["reason"] == REFRESH_FAILED]
        return "" if "after-plain" in names else f"there is none among {len(events)} events"

    def _last_event(self, volume: Volume) -> str:
        events = [event.message for event in self._world.kubelet.events.all if event.subject == volume.pod.key]
        return events[-1] if events else "nothing happened"

    async def _driver_status(self) -> str:
        code, text = await asyncio.to_thread(fetch, self._world.status_port, "/status")
        if code != 200:
            return f"/status is {code}"
        volumes = (json.loads(text)["driver"] or {}).get("volumes", ())
        return "; ".join(sorted({volume["reason"] for volume in volumes if volume["reason"]}))

    async def _statuses(self) -> str:
        listed = await self._world.admin.call("GET", STATUSES_PATH)
        named: dict[str, set[str]] = {}
        for status in (item["status"] for item in listed["items"]):
            named.setdefault(status["targetPath"], set()).update(entry["version"] for entry in status["objects"])
        volumes = [volume for volume in self._pods.living.values() if self._pods.is_mounted(volume)]
        found = {volume.pod.name: named.get(str(volume.target), "none") for volume in volumes}
        wrong = {pod: versions for pod, versions in found.items() if versions != {str(self._world.generation)}}
        return f"{wrong} instead of generation {self._world.generation}" if wrong else ""

    async def _secret(self) -> str:
        path = f"{CORE_PATH}/secrets/{content.SYNCED_SECRET}"
        found = await self._world.admin.call("GET", path, accepted=(404,))
        if not found:
            return "there is none"
        world = self._world
        for name in content.CLASSES["synced"]:
            wanted = content.contents(world.canary, "synced", world.generation, name)
            if content.decoded(found.get("data", {}).get(name, "")) != wanted:
                return f"{name} is not that of generation {world.generation}"
        return ""

    async def all_gone(self) -> None:
        """No pod is left: neither is a mount, a directory, or a pod status."""
        await self._meet("nothing left of the pods", self._left, time.monotonic())

    async def _left(self) -> str:
        world = self._world
        mounts = [path for path in mount_points(world.pods_dir) if path != str(world.pods_dir)]
        statuses = (await world.admin.call("GET", STATUSES_PATH))["items"]
        directories = sorted(path.name for path in world.pods_dir.iterdir())
        if mounts or statuses or directories:
            return (
                f"mounts {mounts}, directories {directories}, pod statuses {[s['metadata']['name'] for s in statuses]}"
            )
        return ""
