"""What happened, in order: pod events with kubelet's reasons and texts, and the stub's own story beside them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from runtime import logs, redact

log = logs.get(__name__)


class Reason(Enum):
    """Why an event was made; ``of_kubelet`` ones are pod events that a real kubelet makes under the same name."""

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
    def of_kubelet(self) -> bool:
        """kubelet writes the others to its log only."""
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
    """One event; ``subject`` is ``namespace/name`` of a pod, or a plugin's name; ``volume`` is empty for a plugin."""

    reason: Reason
    subject: str
    message: str
    volume: str = ""
    at: float = field(default_factory=time.time, compare=False)

    @property
    def is_warning(self) -> bool:
        """Kubernetes knows two types, Warning and Normal."""
        return self.reason in _WARNINGS


Hook = Callable[[Event], None]


class EventLog:
    """All events since the start; a hook hears each as it happens, and a test awaits the one it needs."""

    def __init__(self, hook: Hook | None = None) -> None:
        self.all: list[Event] = []
        self._hook = hook
        self._changed = asyncio.Event()

    def add(self, reason: Reason, subject: str, message: str, volume: str = "") -> None:
        """Record one; texts of others are redacted here."""
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
        """Those with this reason, of one pod or plugin or of all."""
        return [event for event in self.all if event.reason is reason and subject in ("", event.subject)]

    async def wait(self, reason: Reason, subject: str = "", count: int = 1) -> Event:
        """The ``count``-th event with this reason, now or when it comes."""
        while len(found := self.of(reason, subject)) < count:
            await self._changed.wait()
        return found[count - 1]
