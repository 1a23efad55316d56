"""A log of what happened: pod events with kubelet's reasons and texts, and further events for tests and people."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from runtime import logs, redact

log = logs.get(__name__)


class Reason(Enum):
    """The kind of an event; ``is_kubelet_event`` marks those that a real kubelet emits, with the same reason."""

    FAILED_MOUNT = "FailedMount"
    CONDITION_ABNORMAL = "VolumeConditionAbnormal"
    CONDITION_NORMAL = "VolumeConditionNormal"
    MOUNTED = "VolumeMounted"
    REPUBLISHED = "VolumeRepublished"
    FAILED_UNMOUNT = "FailedUnmount"
    UNMOUNTED = "VolumeUnmounted"
    FORGOTTEN = "VolumeForgotten"
    LEAKED = "VolumeLeaked"
    REGISTERED = "PluginRegistered"
    REGISTRATION_FAILED = "PluginRegistrationFailed"
    UNREACHABLE = "PluginUnreachable"
    DEREGISTERED = "PluginDeregistered"

    @property
    def is_kubelet_event(self) -> bool:
        """Whether kubelet emits a pod event; it only logs the others."""
        return self in (Reason.FAILED_MOUNT, Reason.CONDITION_ABNORMAL)


_WARNINGS = frozenset(
    {
        Reason.FAILED_MOUNT,
        Reason.CONDITION_ABNORMAL,
        Reason.FAILED_UNMOUNT,
        Reason.LEAKED,
        Reason.REGISTRATION_FAILED,
        Reason.UNREACHABLE,
    }
)


@dataclass(frozen=True)
class Event:
    """One event. ``subject`` is a pod as ``namespace/name``, or the name of a plugin, for which ``volume`` is empty."""

    reason: Reason
    subject: str
    message: str
    volume: str = ""
    at: float = field(default_factory=time.time, compare=False)

    @property
    def is_warning(self) -> bool:
        """Whether its Kubernetes type is Warning; it is Normal otherwise."""
        return self.reason in _WARNINGS


Hook = Callable[[Event], None]


class EventLog:
    """All events since the start; each is passed to ``hook``, if there is one, and can be waited for."""

    def __init__(self, hook: Hook | None = None) -> None:
        self.all: list[Event] = []
        self._hook = hook
        self._changed = asyncio.Event()

    def add(self, reason: Reason, subject: str, message: str, volume: str = "") -> None:
        """Record an event; its message, which may quote a driver, is redacted."""
        event = Event(reason, subject, redact.text(message), volume)
        self.all.append(event)
        (log.warning if event.is_warning else log.info)(
            event.message, reason=reason.value, object=subject, volume=volume
        )
        self._changed.set()
        self._changed = asyncio.Event()
        if self._hook is not None:
            self._hook(event)

    def of(self, reason: Reason, subject: str = "") -> list[Event]:
        """The events with this reason, of one pod or plugin or (empty) of all."""
        return [event for event in self.all if event.reason is reason and subject in ("", event.subject)]

    async def wait(self, reason: Reason, subject: str = "", count: int = 1) -> Event:
        """Wait for the ``count``-th event with this reason, counted from the start, and return it."""
        while len(found := self.of(reason, subject)) < count:
            await self._changed.wait()
        return found[count - 1]
