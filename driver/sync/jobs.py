"""What the queue keeps: the volumes that have something to sync, and one job for each Secret of a class."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from driver.ports import ClassRef, Pod, VolumeRecord

CHECK_SECONDS = 300.0
CHECK_JITTER = 0.1
BACKOFF_FIRST, BACKOFF_LAST = 2.0, 300.0
AWAY_SECONDS = 10.0


@dataclass
class Member:
    """A volume; ``owners`` once its pod was read, ``gone`` when that found no such pod."""

    pod: Pod
    class_ref: ClassRef
    target_path: str
    last_refresh: float
    provider: str = ""
    owners: Sequence[Any] | None = None
    gone: bool = False

    @staticmethod
    def of(record: VolumeRecord, provider: str) -> "Member":
        """What a record tells."""
        return Member(record.pod, record.class_ref, record.target_path, record.last_refresh or 0.0, provider)


@dataclass
class Job:
    """One Secret of one class, for all volumes of the node that use the class.

    ``due`` is loop time; ``again`` asks a run that is under way for one more.
    """

    class_ref: ClassRef
    secret_name: str
    due: float = float("inf")
    failures: int = 0
    again: bool = False
    task: asyncio.Task[None] | None = None


@dataclass
class Table:
    """Members by target path and jobs by class and Secret."""

    members: dict[str, Member] = field(default_factory=dict)
    jobs: dict[tuple[ClassRef, str], Job] = field(default_factory=dict)

    def users(self, class_ref: ClassRef) -> list[Member]:
        """The volumes that use a class and whose pods are there, the one with the freshest content last."""
        found = [item for item in self.members.values() if item.class_ref == class_ref and not item.gone]
        return sorted(found, key=lambda item: item.last_refresh)

    def uses(self, class_ref: ClassRef) -> bool:
        """Whether any volume uses a class."""
        return any(item.class_ref == class_ref for item in self.members.values())

    def of_class(self, class_ref: ClassRef) -> list[Job]:
        """The jobs of a class."""
        return [job for job in self.jobs.values() if job.class_ref == class_ref]

    def next_due(self) -> float:
        """Loop time of the job that is due next."""
        return min((job.due for job in self.jobs.values()), default=float("inf"))


def jittered(seconds: float) -> float:
    """So that jobs that began together drift apart."""
    return seconds * random.uniform(1 - CHECK_JITTER, 1 + CHECK_JITTER)
