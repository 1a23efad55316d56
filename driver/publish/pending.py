"""First publishes that have not succeeded yet, for the status page: pods that do not start are what people look for.

Kubelet tries again for as long as the pod wants the volume. It does not say when it has given up, so a volume that
nobody has asked for in a while is forgotten.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from driver import limits
from driver.publish.request import Attempt
from driver.registry import VolumeRegistry
from runtime import clock, redact
from runtime.errors import Failure

# Kubelet waits two minutes and two seconds between two tries at most, and each of them may take two minutes.
FORGET_SECONDS = 300.0


@dataclass
class _Pending:
    """A volume since its first attempt; moments are those of ``runtime.clock``."""

    attempt: Attempt
    since: float = field(default_factory=clock.now)
    running: int = 0
    failures: int = 0
    reason: str = ""
    ended: float = 0.0


class PendingVolumes:
    """The volumes whose first publish is running or has failed."""

    def __init__(self, volumes: VolumeRegistry) -> None:
        self._volumes = volumes
        self._pending: dict[str, _Pending] = {}

    @contextmanager
    def publishing(self, attempt: Attempt) -> Iterator[None]:
        """An attempt to publish; a Failure that leaves the context is remembered."""
        path = attempt.request.target.path
        if path not in self._pending and self._volumes.get(path) is not None:
            yield
            return
        pending = self._pending.setdefault(path, _Pending(attempt))
        pending.attempt = attempt
        pending.running += 1
        self._forget_old()
        try:
            yield
        except Failure as failure:
            pending.failures, pending.reason = pending.failures + 1, redact.text(failure)
            raise
        else:
            self.forget(path)
        finally:
            pending.running, pending.ended = pending.running - 1, clock.now()

    def forget(self, target_path: str) -> None:
        """The volume is published, or nobody wants it any more."""
        self._pending.pop(target_path, None)

    def snapshot(self) -> list[Mapping[str, Any]]:
        """For the status socket; ``since`` is Unix time, ``reason`` that of the last failure."""
        self._forget_old()
        return [
            {
                "pod": str(item.attempt.request.pod),
                "class": str(item.attempt.request.class_ref),
                "volume": item.attempt.request.target.volume_name,
                "provider": item.attempt.provider,
                "target": path,
                "since": clock.wall_time(item.since),
                "running": item.running > 0,
                "failures": item.failures,
                "reason": item.reason,
            }
            for path, item in self._pending.items()
        ]

    def _forget_old(self) -> None:
        now = clock.now()
        ended = [path for path, item in self._pending.items() if not item.running]
        for index, path in enumerate(ended):
            too_many = len(self._pending) > limits.MAX_PENDING_SHOWN and index < len(ended) - 1
            if too_many or now - self._pending[path].ended > FORGET_SECONDS:
                del self._pending[path]
