"""Secrets are not synced: there is no API server, or a flag says so."""

import asyncio
from collections.abc import Iterable, Sequence

from driver import limits
from driver.ports import ClassRef, ProviderClass, SyncedSecret, VolumeRecord
from runtime import logs

log = logs.get(__name__)


class DisabledSync:
    """Implements ``ports.SecretSync`` without writing anything; warns once for each class that has secretObjects."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._warned_of: set[ClassRef] = set()

    async def run(self) -> None:
        """Do nothing until cancelled."""
        await asyncio.Event().wait()

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """Warn of secretObjects that are not synced."""
        class_ref = provider_class.class_ref
        if provider_class.secret_objects and class_ref not in self._warned_of:
            if len(self._warned_of) >= limits.MAX_REMEMBERED_WARNINGS:
                self._warned_of.clear()
            self._warned_of.add(class_ref)
            log.warning("secretObjects are not synced", secretProviderClass=class_ref, reason=self._reason)

    def recorded(self, target_path: str) -> None:
        """Do nothing."""

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """Do nothing."""

    def forget(self, target_path: str) -> None:
        """Do nothing."""

    def snapshot(self) -> tuple[Sequence[SyncedSecret], int]:
        """None."""
        return (), 0
