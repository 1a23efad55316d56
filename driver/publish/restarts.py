"""Restarts workloads on rotation: when a volume of a running pod has really got new content, and its class asks for it.

Programs that read their secrets only when they start get the new ones in this way. The publish path only notes in the
volume that a restart is wanted, which is kept in its record, and so survives a restart of the driver. The requests are
made one after the other in the background. What is to be tried again is so with a republish, which kubelet makes about
once a minute: after an API server that was away, at the end of the shortest interval between two restarts.
"""

import asyncio
from collections.abc import Mapping

from driver.objects.workloads import versions_digest
from driver.ports import (
    RESTART_ANNOTATION,
    RESTART_INTERVAL_ANNOTATION,
    Cluster,
    PodEvent,
    ProviderClass,
    Restart,
    Workloads,
)
from driver.publish import schedule
from driver.registry import Volume
from runtime import clock, logs

log = logs.get(__name__)

RESTART_SECONDS = 30.0
INTERVAL_SECONDS = 600.0
MAX_FORMER = 8
RESTARTED, NOT_RESTARTED = "WorkloadRestarted", "WorkloadNotRestarted"
NOT_ENABLED = (
    f"annotation {RESTART_ANNOTATION} has no effect: install the chart with restartOnRotation.enabled=true, which "
    "allows the driver to restart workloads"
)


def is_asked_for(annotations: Mapping[str, str]) -> bool:
    """Whether a class asks for restarts. Raises ValueError, with a sentence for users, if that is unclear."""
    asked = annotations.get(RESTART_ANNOTATION)
    if asked is None and RESTART_INTERVAL_ANNOTATION in annotations:
        raise ValueError(f'annotation {RESTART_INTERVAL_ANNOTATION} has no effect without {RESTART_ANNOTATION}: "true"')
    if asked not in (None, "true", "false"):
        raise ValueError(f'annotation {RESTART_ANNOTATION}: it must be "true" or "false"')
    return asked == "true"


class Restarts:
    """The restarts that are wanted; ``workloads`` is None if the driver must not restart any."""

    def __init__(self, cluster: Cluster, workloads: Workloads | None) -> None:
        self._cluster = cluster
        self._workloads = workloads
        self._waiting: dict[str, tuple[Volume, ProviderClass]] = {}
        self._running = False
        self._wake = asyncio.Event()

    async def rotated(
        self, volume: Volume, former: Mapping[str, str], provider_class: ProviderClass, content_changed: bool
    ) -> None:
        """A mounted volume was refreshed: ``former`` are the versions that it had, ``content_changed`` is whether its
        files differ."""
        if not await self._is_wanted(volume, provider_class) or not content_changed:
            return
        if dict(former) == dict(volume.objects):
            await self._say(volume, NOT_RESTARTED, "its files have changed, but the provider names the same versions")
            return
        volume.restart.former = (*volume.restart.former, versions_digest(former))[-MAX_FORMER:]
        volume.restart.not_before = 0.0
        self._ask(volume, provider_class)

    async def republished(self, volume: Volume, provider_class: ProviderClass) -> None:
        """Kubelet has asked for a mounted volume again: try what is still wanted."""
        state = volume.restart
        if not state.former or clock.now() < state.not_before or volume.target.path in self._waiting:
            return
        if await self._is_wanted(volume, provider_class):
            self._ask(volume, provider_class)
        else:
            state.former = ()

    @property
    def busy(self) -> bool:
        """Whether a request is waiting or being made."""
        return self._running or bool(self._waiting)

    async def run(self) -> None:
        """Make the requests, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._running = True
                try:
                    await self._restart(*self._waiting.pop(next(iter(self._waiting))))
                finally:
                    self._running = False

    def _ask(self, volume: Volume, provider_class: ProviderClass) -> None:
        self._waiting[volume.target.path] = (volume, provider_class)
        self._wake.set()

    async def _is_wanted(self, volume: Volume, provider_class: ProviderClass) -> bool:
        try:
            if not is_asked_for(provider_class.annotations):
                return False
            problem = NOT_ENABLED if self._workloads is None else ""
        except ValueError as error:
            problem = str(error)
        if problem:
            message = f"SecretProviderClass {provider_class.class_ref}: {problem}"
            await self._say(volume, NOT_RESTARTED, message, whole=True)
        return not problem

    async def _restart(self, volume: Volume, provider_class: ProviderClass) -> None:
        state, objects = volume.restart, dict(volume.objects)
        if self._workloads is None or not state.former:
            return
        request = Restart(
            volume.pod,
            provider_class.class_ref,
            provider_class.uid,
            volume.target.volume_name,
            objects,
            state.former,
            await self._interval(volume, provider_class),
        )
        try:
            async with asyncio.timeout(RESTART_SECONDS):
                result = await self._workloads.restart(request)
        except TimeoutError:
            log.warning("The API server does not answer; a workload is restarted later", pod=volume.pod)
            return
        if result.message:
            await self._say(volume, RESTARTED if result.restarted else NOT_RESTARTED, result.message)
        if result.retry_after is not None:
            state.not_before = clock.now() + result.retry_after
        elif objects == dict(volume.objects):  # else it was rotated meanwhile, and is asked for again
            state.former = ()

    async def _interval(self, volume: Volume, provider_class: ProviderClass) -> float:
        try:
            return schedule.interval_of(provider_class.annotations, INTERVAL_SECONDS, RESTART_INTERVAL_ANNOTATION)
        except ValueError as error:
            message = f"SecretProviderClass {provider_class.class_ref}: {error}; until it is corrected 10m applies"
            await self._say(volume, NOT_RESTARTED, message, whole=True)
            return INTERVAL_SECONDS

    async def _say(self, volume: Volume, reason: str, message: str, *, whole: bool = False) -> None:
        """An event, unless the volume's last one said the same."""
        name = volume.target.volume_name
        message = message if whole else f"volume {name} has new content: {message}"
        if volume.restart.said != message:
            volume.restart.said = message
            await self._cluster.event(PodEvent(volume.pod, reason == NOT_RESTARTED, reason, message, name))
