"""Kubernetes Secrets that are made from the files of volumes."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from driver.ports.classes import ProviderClass
from driver.ports.volumes import VolumeRecord


class SyncedSecret(NamedTuple):
    """The state of a Secret that a class wants: when it was last as the class wants it (Unix time; None: never since
    the driver's start), and why it is not now, empty if it is. ``class_ref`` and ``name`` are names for people."""

    class_ref: str
    name: str
    synced: float | None
    reason: str


class SecretSync(Protocol):
    """Copies the files of volumes into Kubernetes Secrets, with a schedule of its own; the publish path only reports
    what happened."""

    async def run(self) -> None:
        """Work in the background until cancelled."""

    async def published(self, record: VolumeRecord, provider_class: ProviderClass, changed: bool) -> None:
        """A volume was published or refreshed; ``changed`` is whether its content or versions have changed.

        If there is something new to sync, waits for the first attempt, but not longer than a second or two. Never
        raises.
        """

    def recorded(self, target_path: str) -> None:
        """The volume has its pod status, which may have to own a Secret. Does not block."""

    def restored(self, records: Iterable[VolumeRecord]) -> None:
        """The driver has restarted, and these volumes exist. Does not block."""

    def forget(self, target_path: str) -> None:
        """The volume is unpublished."""

    def snapshot(self) -> tuple[Sequence[SyncedSecret], int]:
        """The Secrets of all classes in use, for the status socket, and their number: of very many only the first are
        listed, failing ones before the others."""
