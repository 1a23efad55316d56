"""Step 10 of the publish path: a refresh that failed keeps the old content, and is told in four places until it works
again."""

import asyncio
import time

from driver.metrics import DriverMetrics
from driver.ports import Cluster, PodEvent, RefreshFailure
from driver.publish import schedule
from driver.registry import Volume
from runtime import logs, redact
from runtime.errors import Failure

log = logs.get(__name__)

# A failed refresh has its answer already; an API server that is away does not hold it back for long.
RECORD_SECONDS = 5.0
FAILED, RECOVERED = "SecretRefreshFailed", "SecretRefreshRecovered"


class Reporter:
    """Tells of failed refreshes and recoveries: log, metrics, event, pod status."""

    def __init__(self, cluster: Cluster, metrics: DriverMetrics) -> None:
        self._cluster = cluster
        self._metrics = metrics

    async def failed(self, volume: Volume, failure: Failure, error_type: str) -> None:
        """Count one more failure in a row, set the back-off, tell. The old content stays as it is."""
        now = time.time()
        count = volume.failure.count + 1 if volume.failure else 1
        message = redact.text(failure)
        volume.failure = RefreshFailure(error_type or "RefreshFailed", message, count, now)
        volume.retry_at = schedule.retry_time(failure, count, now)
        log.error(
            "Failed to refresh a volume; its old content stays",
            exc=failure,
            pod=volume.pod,
            target=volume.target.path,
            failures=count,
        )
        self._metrics.publish_failed(volume.provider, error_type)
        self._metrics.rotation_failed(volume.provider, error_type)
        await self._tell(volume, True, FAILED, f"volume {volume.target.volume_name} keeps its old content: {message}")

    async def recovered(self, volume: Volume) -> None:
        """The first success after failures; the pod status was written with the success itself."""
        log.info("A volume is refreshed again", pod=volume.pod, target=volume.target.path)
        await self._event(volume, False, RECOVERED, f"volume {volume.target.volume_name} is refreshed again")

    async def _tell(self, volume: Volume, warning: bool, reason: str, message: str) -> None:
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._cluster.record(volume.record)
        except (Failure, TimeoutError) as error:
            log.warning("The pod status could not be written", pod=volume.pod, err=error)
        await self._event(volume, warning, reason, message)

    async def _event(self, volume: Volume, warning: bool, reason: str, message: str) -> None:
        await self._cluster.event(PodEvent(volume.pod, warning, reason, message, volume.target.volume_name))
