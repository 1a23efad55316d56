"""Forgets what is held of classes that have changed or were deleted, and what is too old.

A publish compares the version of its class anyway: this sees to it that nothing stays in memory that nobody may get.
What is held for a class counts as use of the class, so that its changes are noticed while no volume uses it.
"""

import asyncio

from driver.ports import ClassRef, Cluster
from driver.publish.fetching.held import HeldReplies
from driver.publish.fetching.key import version_of
from driver.publish.fetching.settings import settings_of
from driver.registry import VolumeRegistry
from runtime import logs
from runtime.errors import Failure, NotFound, PreconditionFailed

log = logs.get(__name__)

CLASS_SECONDS = 30.0
# When a class that could not be read is looked at again.
AGAIN_SECONDS = 30.0


class Forgetting:
    """Work in the background."""

    def __init__(self, volumes: VolumeRegistry, cluster: Cluster, held: HeldReplies) -> None:
        self._volumes = volumes
        self._cluster = cluster
        self._held = held
        volumes.also_used = held.uses
        held.on_class_unused = self._unused
        cluster.on_class_change(self._class_changed)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._held.changed.clear()
            while self._held.unchecked:
                await self._look_at(self._held.unchecked.pop())
            left = self._held.purge()
            try:
                async with asyncio.timeout(left):
                    await self._held.changed.wait()
            except TimeoutError:
                pass  # something is too old now

    async def _look_at(self, class_ref: ClassRef) -> None:
        """Keep what is held of a class only if that is still what a new pod would ask for."""
        if not self._held.uses(class_ref):
            return  # to read it would cache it
        try:
            async with asyncio.timeout(CLASS_SECONDS):
                provider_class = await self._cluster.get_class(class_ref)
        except (NotFound, PreconditionFailed):
            self._held.revise(class_ref, "", 0.0)
        except (Failure, TimeoutError) as error:  # a publish cannot read the class either
            log.warning("A class that has changed cannot be read", secretProviderClass=class_ref, err=error)
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._held.check, class_ref)
        else:
            keep = settings_of(provider_class.annotations).keep
            self._held.revise(class_ref, version_of(provider_class), keep)
        if not self._held.uses(class_ref):
            self._unused(class_ref)

    def _class_changed(self, class_ref: ClassRef) -> None:
        if self._held.uses(class_ref):
            self._held.check(class_ref)

    def _unused(self, class_ref: ClassRef) -> None:
        if not self._volumes.uses(class_ref):
            self._cluster.forget_class(class_ref)
