"""Secrets are not synced: without an API server there is nowhere to put them."""

import asyncio
from collections.abc import Iterable

from driver.ports import ProviderClass, VolumeRecord
from runtime import logs

log = logs.get(__name__)


class DisabledSync:
    """Answers ``ports.SecretSync`` where Secrets cannot or shall not be written; says so once a class."""

    def __init__(self, why: str) -> None:
        self._why = why
        self._told: set[str] = set()

    async def run(self) -> None:
        """Nothing to do."""
        await asyncio.Event().wait()

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """Warn of secretObjects that nobody will write."""
        name = str(provider_class.class_ref)
        if provider_class.secret_objects and name not in self._told:
            self._told.add(name)
            log.warning("secretObjects are not synced", secretProviderClass=name, reason=self._why)

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """Nothing is synced."""

    def forget(self, target_path: str) -> None:
        """Nothing was remembered."""
