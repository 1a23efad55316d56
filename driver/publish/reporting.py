"""What the publish path reports besides its answer: events on the pod, the pod status, metrics, the log."""

import asyncio
import time
from collections.abc import Iterable

from driver import limits
from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Cluster, Pod, PodEvent, RefreshFailure
from driver.publish import schedule
from driver.registry import Volume
from runtime import logs, redact
from runtime.errors import Failure

log = logs.get(__name__)

# The answer to a failed refresh is known already; an API server that is away must not delay it for long.
STATUS_SECONDS = 5.0
REFRESH_FAILED, REFRESH_RECOVERED = "SecretRefreshFailed", "SecretRefreshRecovered"
RESERVED_PARAMETER, INVALID_INTERVAL = "ReservedParameter", "InvalidInterval"


class Reporter:
    """Reports failed refreshes and their recovery, and mistakes in classes."""

    def __init__(self, cluster: Cluster, metrics: DriverMetrics) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._invalid_intervals: dict[ClassRef, str] = {}

    async def refresh_failed(self, volume: Volume, failure: Failure) -> None:
        """Count one more failure in a row, start the back-off and report it everywhere. The content is untouched."""
        now = time.time()
        count = volume.failure.count + 1 if volume.failure else 1
        message = redact.text(failure)
        volume.failure = RefreshFailure(failure.error_type or "RefreshFailed", message, count, now)
        volume.retry_at = schedule.retry_time(failure, count, now)
        log.error(
            "Failed to refresh a volume; its old content stays",
            exc=failure,
            pod=volume.pod,
            target=volume.target.path,
            failures=count,
        )
        self._metrics.publish_failed(volume.provider, failure.error_type)
        self._metrics.rotation_failed(volume.provider, failure.error_type)
        await self._write_status(volume)
        name = volume.target.volume_name
        await self._event(volume.pod, True, REFRESH_FAILED, f"volume {name} keeps its old content: {message}", name)

    async def refresh_recovered(self, volume: Volume) -> None:
        """Report the first success after failures; the pod status was written with the success itself."""
        log.info("A volume is refreshed again", pod=volume.pod, target=volume.target.path)
        name = volume.target.volume_name
        await self._event(volume.pod, False, REFRESH_RECOVERED, f"volume {name} is refreshed again", name)

    async def reserved_parameters(self, pod: Pod, class_ref: ClassRef, names: Iterable[str]) -> None:
        """Report that a class sets parameters which only kubelet may set."""
        message = (
            f"SecretProviderClass {class_ref} sets {', '.join(names)}, which only kubelet may set; "
            "remove it from spec.parameters"
        )
        await self._event(pod, True, RESERVED_PARAMETER, message, class_ref.name)

    async def invalid_interval(self, pod: Pod, class_ref: ClassRef, problem: str) -> None:
        """Report an invalid rotation interval of a class, once for each ``problem``."""
        if self._invalid_intervals.get(class_ref) == problem:
            return
        self._invalid_intervals[class_ref] = problem
        if len(self._invalid_intervals) > limits.MAX_REMEMBERED_WARNINGS:
            del self._invalid_intervals[next(iter(self._invalid_intervals))]
        message = f"SecretProviderClass {class_ref}: {problem}; until it is corrected the driver's own interval applies"
        await self._event(pod, True, INVALID_INTERVAL, message, class_ref.name)

    async def _write_status(self, volume: Volume) -> None:
        volume.status_current = False
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                volume.has_status(await self._cluster.record(volume.record))
        except (Failure, TimeoutError) as error:
            log.warning("The pod status could not be written", pod=volume.pod, err=error)

    async def _event(self, pod: Pod, warning: bool, reason: str, message: str, subject: str) -> None:
        await self._cluster.event(PodEvent(pod, warning, reason, message, subject))
