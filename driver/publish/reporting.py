"""What the publish path reports besides its answer: events on the pod, the pod status, metrics, the log."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum

from driver import limits
from driver.metrics import DriverMetrics
from driver.ports import (
    LAST_KNOWN_GOOD_ANNOTATION,
    SHARE_ANNOTATION,
    ClassRef,
    Cluster,
    Pod,
    PodEvent,
    RefreshFailure,
)
from driver.publish import schedule
from driver.publish.failures import METHOD
from driver.publish.request import SERVICE_ACCOUNT_TOKENS
from driver.publish.stopping import Stopping
from driver.registry import Volume
from runtime import clock, logs, redact, rpc
from runtime.errors import Failure
from runtime.flags import format_value
from runtime.timestamps import timestamp

log = logs.get(__name__)

# The answer to a failed refresh is known already; an API server that is away must not delay it for long. Longer than
# the backend waits for one that is slow: giving up a write does not take it back, and it would be made twice.
STATUS_SECONDS = 12.0
REFRESH_FAILED, REFRESH_RECOVERED = "SecretRefreshFailed", "SecretRefreshRecovered"
RESERVED_PARAMETER, RESERVED_ATTRIBUTE = "ReservedParameter", "ReservedAttribute"
INVALID_INTERVAL, REPEATED_PATH = "InvalidInterval", "RepeatedInReply"
INVALID_ANNOTATION, ANNOTATION_IGNORED = "InvalidAnnotation", "AnnotationIgnored"
SERVED_LAST_KNOWN_GOOD = "ServedLastKnownGood"


class Content(StrEnum):
    """What a volume contains after a refresh that failed, as an event says it. A failure after the commit, such as a
    pod status that cannot be written, leaves the new content; a provider that writes the files itself leaves nobody
    knows what."""

    OLD = "keeps its old content"
    NEW = "has its new content, but the refresh was not completed"
    UNKNOWN = "was not refreshed"


class Reporter:
    """Reports failed refreshes and their recovery, and mistakes in classes."""

    def __init__(self, cluster: Cluster, metrics: DriverMetrics, stopping: Stopping) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._stopping = stopping
        # What an event has said of a class, by its reason.
        self._said: dict[tuple[ClassRef, str], str] = {}

    async def refresh_failed(self, volume: Volume, failure: Failure, content: Content) -> None:
        """Count one more failure in a row, start the back-off and report it everywhere."""
        count = volume.failure.count + 1 if volume.failure else 1
        message = redact.text(failure)
        volume.failure = RefreshFailure(failure.error_type or "RefreshFailed", message, count, time.time())
        volume.retry_at = schedule.retry_time(failure, count, clock.now())
        log.error(
            f"Failed to refresh a volume: it {content}",
            exc=failure,
            pod=volume.pod,
            target=volume.target.path,
            failures=count,
        )
        self._metrics.publish_failed(volume.provider, failure.error_type)
        self._metrics.rotation_failed(volume.provider, failure.error_type)
        await self._write_status(volume)
        name = volume.target.volume_name
        await self._event(volume.pod, True, REFRESH_FAILED, f"volume {name} {content}: {message}", name)

    def rotated(self, volume: Volume, former: Mapping[str, str]) -> None:
        """Log that a mounted volume has new content, and which objects have changed since the ``former`` versions."""
        changed = sorted(dict(former.items() ^ volume.objects.items()))
        shown = ", ".join(changed[: limits.SHOWN_OBJECTS]) + (", …" if len(changed) > limits.SHOWN_OBJECTS else "")
        log.info(
            "Rotated a volume",
            pod=volume.pod,
            secretProviderClass=volume.class_ref,
            volume=volume.target.volume_name,
            objects=shown or "files have changed, versions have not",
        )

    async def refresh_recovered(self, volume: Volume) -> None:
        """Report the first success after failures; the pod status was written with the success itself."""
        log.info("A volume is refreshed again", pod=volume.pod, target=volume.target.path)
        name = volume.target.volume_name
        await self._event(volume.pod, False, REFRESH_RECOVERED, f"volume {name} is refreshed again", name)

    async def reserved_parameters(self, pod: Pod, class_ref: ClassRef, names: Sequence[str]) -> None:
        """Report that a class sets parameters which only kubelet may set."""
        shown = redact.text(", ".join(name[:80] for name in names[: limits.SHOWN_OBJECTS]))
        message = (
            f"SecretProviderClass {class_ref} sets {shown}, which only kubelet may set; remove it from spec.parameters"
        )
        await self._event(pod, True, RESERVED_PARAMETER, message, class_ref.name)

    async def reserved_attributes(self, pod: Pod, volume_name: str, names: Sequence[str]) -> None:
        """Report that a pod sets volume attributes which only kubelet may set."""
        shown = redact.text(", ".join(name[:80] for name in names[: limits.SHOWN_OBJECTS]))
        hint = (
            "; if the tokens are kubelet's, because the CSIDriver object has tokenRequests, set tokenRequests in the "
            "chart's values or --accept-context-tokens=true"
        )
        message = (
            f"volume {volume_name} sets {shown}, which only kubelet may set; remove it from its volumeAttributes"
            f"{hint if SERVICE_ACCOUNT_TOKENS in names else ''}"
        )
        await self._event(pod, True, RESERVED_ATTRIBUTE, message, volume_name)

    async def invalid_interval(self, pod: Pod, class_ref: ClassRef, problem: str) -> None:
        """Report an invalid rotation interval of a class, once for each ``problem``."""
        message = f"SecretProviderClass {class_ref}: {problem}; until it is corrected the driver's own interval applies"
        await self._event_once(pod, class_ref, INVALID_INTERVAL, message)

    async def invalid_annotation(self, pod: Pod, class_ref: ClassRef, problem: str) -> None:
        """Report annotations of a class about fetching that are invalid, once for each ``problem``."""
        message = f"SecretProviderClass {class_ref}: {problem}; until it is corrected it is as if it were not there"
        await self._event_once(pod, class_ref, INVALID_ANNOTATION, message)

    async def annotation_ignored(self, pod: Pod, class_ref: ClassRef, why: str) -> None:
        """Report that the annotations of a class about fetching cannot have an effect, once for each reason."""
        message = (
            f"SecretProviderClass {class_ref} has {SHARE_ANNOTATION} or {LAST_KNOWN_GOOD_ANNOTATION}, which has no "
            f"effect: {why}"
        )
        await self._event_once(pod, class_ref, ANNOTATION_IGNORED, message)

    def served_stale(self, fetched_at: float, failure: Failure) -> RefreshFailure:
        """What is reported of a volume whose content this node asked for at the moment ``fetched_at``, because the
        provider is away now."""
        age, when = format_value(float(round(clock.now() - fetched_at))), timestamp(clock.wall_time(fetched_at))
        message = f"serving content that was fetched {age} ago, at {when}, because {redact.text(failure)}"
        return RefreshFailure(SERVED_LAST_KNOWN_GOOD, message, 1, time.time())

    async def last_known_good(self, volume: Volume, failure: RefreshFailure) -> None:
        """Report that a new pod starts with such content."""
        log.warning("A pod starts with last known good content", pod=volume.pod, target=volume.target.path)
        name = volume.target.volume_name
        message = f"volume {name}: {failure.message}; it is replaced within seconds of the provider's return"
        await self._event(volume.pod, True, SERVED_LAST_KNOWN_GOOD, message, name)

    async def repeated_paths(self, volume: Volume, paths: Sequence[str]) -> None:
        """Report, once for each class, that a reply lists paths twice: the last file counts, as with the Go driver."""
        if paths:
            shown = ", ".join(path[:80] for path in paths[: limits.SHOWN_OBJECTS])
            message = (
                f"the provider's reply for SecretProviderClass {volume.class_ref} lists paths twice, and the last file "
                f"counts: {redact.text(shown)}. Give each object of the class a file name of its own"
            )
            await self._event_once(volume.pod, volume.class_ref, REPEATED_PATH, message)

    async def _event_once(self, pod: Pod, class_ref: ClassRef, reason: str, message: str) -> None:
        if self._said.get((class_ref, reason)) == message:
            return
        self._said[class_ref, reason] = message
        if len(self._said) > limits.MAX_REMEMBERED_WARNINGS:
            del self._said[next(iter(self._said))]
        await self._event(pod, True, reason, message, class_ref.name)

    async def _write_status(self, volume: Volume) -> None:
        volume.status_current = False
        try:
            async with self._stopping.interruptible(), asyncio.timeout(STATUS_SECONDS):
                volume.has_status(await self._cluster.record(volume.record))
        except TimeoutError:
            log.warning("The pod status could not be written: the API server does not answer", pod=volume.pod)
        except Exception as error:  # a bug, too, must not become the answer: kubelet would take the volume away
            log.warning("The pod status could not be written", pod=volume.pod, err=rpc.as_failure(error, METHOD))

    async def _event(self, pod: Pod, warning: bool, reason: str, message: str, subject: str) -> None:
        await self._cluster.event(PodEvent(pod, warning, reason, message, subject))
