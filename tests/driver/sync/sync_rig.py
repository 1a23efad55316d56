"""A sync engine with a writer and a cluster that record what they are asked; no API server."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driver.manifests import Manifests
from driver.ports import ClassRef, Pod, PodEvent, ProviderClass, SecretObject, VolumeRecord
from driver.sync import engine, jobs
from driver.sync.merge import Outcome
from driver.sync.owners import Owners
from driver.sync.references import Owner
from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed

REF = ClassRef("ns", "app")
APP = ProviderClass(REF, "stub", {"a": "b"}, (SecretObject("s", "Opaque", (("password", "k"),)),))


@dataclass
class Writer:
    """Records what it is asked; ``open`` lets calls pass, ``failing`` makes them fail; pods are there unless ``gone``,
    and have owners unless ``ownerless``."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False
    gone: bool = False
    ownerless: bool = False
    asked: list[Wanted] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    running: int = 0

    async def ensure(self, wanted: Wanted, owners: Owners) -> Outcome:
        """As the real one, without an API."""
        await owners.required()
        self.asked.append(wanted)
        self.running += 1
        assert self.running == 1, "two runs of one job at a time"
        try:
            await self.open.wait()
            if self.failing:
                raise PreconditionFailed("no")
            return Outcome(written=True)
        finally:
            self.running -= 1

    async def release(self, class_ref: ClassRef, secret_name: str, owners: Owners) -> None:
        """As the real one, without an API."""
        await owners.required()
        if self.failing:
            raise PreconditionFailed("no")
        self.released.append(secret_name)

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Owner] | None:
        """One owner, or none for a pod that is gone."""
        if self.ownerless:
            return []
        return None if self.gone else [Owner("v1", "Pod", pod.name, pod.uid)]


class FakeCluster(Manifests):
    """Records events; the class is ``current``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self.events: list[PodEvent] = []
        self.current = APP
        self.asked: list[float] = []

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """The class as a caching store returns it."""
        self.asked.append(asyncio.get_running_loop().time())
        return self.current

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether it is still the remembered one."""
        return provider_class == self.current

    async def event(self, event: PodEvent) -> None:
        """Record it."""
        self.events.append(event)


@dataclass
class SyncRig:
    """A sync engine with its surroundings."""

    engine: engine.SyncEngine
    writer: Writer
    cluster: FakeCluster
    record: VolumeRecord

    @property
    def job(self) -> jobs.Job:
        """The one job."""
        (job,) = self.engine._table.jobs.values()
        return job

    async def finished(self) -> None:
        """The job's run, if one is under way, has ended."""
        assert self.job.task is not None
        await self.job.task

    @property
    def wait(self) -> float:
        """Seconds until it is due."""
        return self.job.due - asyncio.get_running_loop().time()


Run = Callable[[Callable[[SyncRig], Coroutine[Any, Any, None]]], None]
