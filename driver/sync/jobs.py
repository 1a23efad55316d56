"""The volumes that have something to sync, and one job for each Secret of a class."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from driver import limits
from driver.ports import ClassRef, Pod, ProviderClass, SecretObject, SyncedSecret, VolumeRecord
from driver.sync.references import Owner
from runtime.clock import wall_time


@dataclass
class Member:
    """A volume. ``refreshed_at`` is that of its record. ``owners`` is set once its pod was read, ``gone`` if the pod
    was not found or is being deleted."""

    pod: Pod
    class_ref: ClassRef
    target_path: str
    refreshed_at: float | None
    owners: Sequence[Owner] | None = None
    gone: bool = False

    @staticmethod
    def of(record: VolumeRecord) -> "Member":
        """The volume that a record describes; its owners are not known yet."""
        return Member(record.pod, record.class_ref, record.target_path, record.refreshed_at)


@dataclass
class Job:
    """One Secret of one class, for all volumes of the node that use the class.

    ``entries`` are those of ``spec.secretObjects`` that name the Secret, of which the last one counts. ``due`` is loop
    time; ``again`` asks a run that is in progress for one more. ``reported`` is what an event has said of entries and
    keys that are named twice. ``synced`` is the moment (``runtime.clock``) at which the Secret was last as it is
    wanted, ``problem`` why it has not been since. ``lacks_owner`` is whether the last run had to do without the pod
    status of one of the volumes. ``class_uid`` is that of the class. ``ending`` is whether the class does not list the
    Secret any more, but may still own it.
    """

    class_ref: ClassRef
    secret_name: str
    provider: str = ""
    entries: tuple[SecretObject, ...] = ()
    class_uid: str = ""
    ending: bool = False
    due: float = float("inf")
    failures: int = 0
    again: bool = False
    reported: str = ""
    synced: float | None = None
    problem: str = ""
    lacks_owner: bool = False
    task: asyncio.Task[None] | None = None


@dataclass
class Table:
    """Members by target path and jobs by class and Secret. The classes themselves are kept by the cluster alone."""

    members: dict[str, Member] = field(default_factory=dict)
    jobs: dict[tuple[ClassRef, str], Job] = field(default_factory=dict)
    most_of_class: int = limits.MAX_SECRET_OBJECTS

    def publish(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> list[Job]:
        """Remember a volume and plan its class; the jobs that must run now, because the volume or its content
        (``changed``) or an entry of the class is new."""
        former = self.members.get(record.target_path)
        member = self.members[record.target_path] = Member.of(record)
        if former is not None and former.pod == member.pod and not former.gone:
            member.owners = former.owners
        replanned = self.plan(provider_class)
        return self.of_class(provider_class.class_ref) if former is None or changed else replanned

    def plan(self, provider_class: ProviderClass) -> list[Job]:
        """Keep one job for each Secret that the class asks for, up to ``most_of_class``; all of its jobs if an entry is
        new, changed or gone, else none."""
        class_ref = provider_class.class_ref
        grouped: dict[str, list[SecretObject]] = {}
        for entry in provider_class.secret_objects:
            grouped.setdefault(entry.secret_name.strip(), []).append(entry)
        uid = provider_class.uid
        wanted = {name: (uid, tuple(group)) for name, group in islice(grouped.items(), self.most_of_class)}
        former = {job.secret_name: (job.class_uid, job.entries) for job in self.of_class(class_ref) if not job.ending}
        for name in former.keys() - wanted.keys():
            job = self.jobs[class_ref, name]
            # A class that was deleted owns nothing; the garbage collector removes references to it.
            job.ending = job.entries[-1].stays and bool(uid)
            if not job.ending:
                del self.jobs[class_ref, name]
        for name in sorted(wanted):
            job = self.jobs.setdefault((class_ref, name), Job(class_ref, name))
            job.provider, job.class_uid, job.entries, job.ending = provider_class.provider, *wanted[name], False
        return [] if former == wanted else self.of_class(class_ref)

    def end(self, job: Job) -> None:
        """The class does not own the Secret of this job any more; unless it has come to list it again meanwhile."""
        if job.ending:
            self.jobs.pop((job.class_ref, job.secret_name), None)

    def forget(self, target_path: str) -> None:
        """The volume is gone; with the last one of its class the jobs go."""
        member = self.members.pop(target_path, None)
        if member is not None and not self.uses(member.class_ref):
            for job in self.of_class(member.class_ref):
                del self.jobs[job.class_ref, job.secret_name]

    def snapshot(self) -> list[SyncedSecret]:
        """The Secrets, failing ones first, MAX_SECRETS_SHOWN at most."""
        shown = sorted(self.jobs.values(), key=lambda job: (not job.problem, str(job.class_ref), job.secret_name))
        return [
            SyncedSecret(
                str(job.class_ref), job.secret_name, None if job.synced is None else wall_time(job.synced), job.problem
            )
            for job in shown[: limits.MAX_SECRETS_SHOWN]
        ]

    def user_of(self, class_ref: ClassRef) -> Member:
        """A volume that uses a class that is in use."""
        return next(item for item in self.members.values() if item.class_ref == class_ref)

    def uses(self, class_ref: ClassRef) -> bool:
        """Whether any volume uses a class."""
        return any(item.class_ref == class_ref for item in self.members.values())

    def of_class(self, class_ref: ClassRef) -> list[Job]:
        """The jobs of a class."""
        return [job for job in self.jobs.values() if job.class_ref == class_ref]
