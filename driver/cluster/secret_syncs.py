"""The SecretSyncs of the cluster: listed in pages, watched, and their status written."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from driver.cluster.api import JSON, MERGE_PATCH, WATCH_IDLE_SECONDS, Api
from driver.cluster.follow import Follower
from driver.cluster.listing import pages
from driver.objects.secret_syncs import API_PATH, PLURAL, Object, SecretSync, SyncRef, parse_secret_sync
from runtime import logs
from runtime.errors import NotFound

log = logs.get(__name__)

PATH = f"{API_PATH}/{PLURAL}"
# An object may have 1.5 MB, and the controller's container has 128 MiB.
PAGE = 25
FORBIDDEN = (
    "SecretSyncs cannot be watched: their CRD must be installed, and the controller's account needs get, list and "
    "watch on secretsyncs"
)
WRITE_SECONDS = 30.0


class Listener(Protocol):
    """Learns which SecretSyncs exist. The methods must not block."""

    def listed(self, found: Sequence[SecretSync]) -> None:
        """These exist, and no others."""

    def changed(self, sync: SecretSync) -> None:
        """One was created or changed; perhaps only its status was."""

    def deleted(self, ref: SyncRef) -> None:
        """One was deleted."""


class SecretSyncStore:
    """Tells listeners which SecretSyncs exist, and implements ``secretsync.ports.Statuses``."""

    def __init__(self, api: Api, idle_seconds: float = WATCH_IDLE_SECONDS) -> None:
        self._api = api
        self._listeners: list[Listener] = []
        self._follower = Follower(
            api, PATH, JSON, idle_seconds, on_list=self._list, on_event=self._handle, forbidden=FORBIDDEN
        )

    def tell(self, listener: Listener) -> None:
        """Tell a listener which SecretSyncs exist."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._follower.run()

    async def write(self, ref: SyncRef, status: Object) -> None:
        """Merge into the status."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._api.call("PATCH", f"{ref.path}/status", body={"status": status}, content_type=MERGE_PATCH)
        except NotFound:
            pass  # it was deleted, and its Secret with it
        except TimeoutError:
            log.warning("The status of a SecretSync could not be written", secretSync=ref)

    async def _list(self) -> str:
        found, version = list[SecretSync](), ""
        async for page in pages(self._api, PATH, PAGE):
            found += map(parse_secret_sync, page.items)
            version = page.version
        for listener in self._listeners:
            listener.listed(found)
        return version

    async def _handle(self, event: Mapping[str, Any]) -> None:
        sync = parse_secret_sync(event["object"])
        for listener in self._listeners:
            if event["type"] == "DELETED":
                listener.deleted(sync.ref)
            else:
                listener.changed(sync)
