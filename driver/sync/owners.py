"""The owners of a Secret, on behalf of the pods that use it.

They are remembered, so that the check of a Secret that is as it should be costs one read. But the owners of a pod
change while it runs: after ``kubectl delete statefulset --cascade=orphan`` a new StatefulSet adopts it, and a Secret
with the former owner is collected as often as it is written. So they are read again before anything is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from driver.ports import Pod
from driver.sync.jobs import Member
from driver.sync.references import Owner
from runtime.errors import Failure

# Who owns the Secret on behalf of the pod with a volume at this target path; None if the pod is gone, empty if its
# owner does not exist yet. Raises OwnerRefused, or another Failure.
ReadOwners = Callable[[Pod, str], Awaitable[Sequence[Owner] | None]]


class PodsGone(Failure):
    """No pod exists that could own the Secret: without an owner it would never be collected."""


class NoOwnerYet(Failure):
    """The only pods that could own the Secret are those whose pod status is not written yet."""


class OwnerRefused(Failure):
    """The owner of one pod, its pod status, cannot be written. Only a Secret without any other owner waits for it."""


class Owners:
    """The owners for one run of a job, whose volumes are ``users``."""

    def __init__(self, users: Sequence[Member], read: ReadOwners) -> None:
        self._users = users
        self._read_owners = read
        self._read: set[str] = set()  # the target paths of those that were read in this run
        self._refused: OwnerRefused | None = None

    @property
    def complete(self) -> bool:
        """Whether those of all pods were known in the end. A Secret does not wait for those that are not."""
        return all(member.owners is not None for member in self._users)

    async def known(self) -> Sequence[Owner]:
        """As they were when each pod was last read, for a Secret that exists: empty if none is known yet. Raises
        PodsGone."""
        await self._update([member for member in self._users if member.owners is None])
        return self._union()

    async def required(self) -> Sequence[Owner]:
        """As they are, at least one: for a Secret that has no other. Raises PodsGone, NoOwnerYet or OwnerRefused."""
        if not (owners := await self.confirmed()):
            raise self._refused or NoOwnerYet("no pod status is written yet")
        return owners

    async def confirmed(self, only: Collection[str] | None = None) -> Sequence[Owner]:
        """As they are, for a Secret that exists: read again, unless that was in this run; if only the owners with these
        UIDs are about to be written, then for the pods that have them. Empty if none is known yet. Raises PodsGone."""
        await self._update(
            [
                member
                for member in self._users
                if member.target_path not in self._read
                and (only is None or any(owner.uid in only for owner in member.owners or ()))
            ]
        )
        return self._union()

    async def _update(self, members: Sequence[Member]) -> None:
        found = await asyncio.gather(*(self._owners_of(member) for member in members))
        for member, owners in zip(members, found, strict=True):
            member.owners, member.gone = () if owners is None else owners or None, owners is None
            self._read.add(member.target_path)

    async def _owners_of(self, member: Member) -> Sequence[Owner] | None:
        try:
            return await self._read_owners(member.pod, member.target_path)
        except OwnerRefused as failure:
            self._refused = failure
            return ()

    def _union(self) -> Sequence[Owner]:
        union = [owner for member in self._users for owner in member.owners or ()]
        if not union and self.complete:
            raise PodsGone("the pods are gone")
        return union
