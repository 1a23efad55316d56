"""Leases that nobody needs any more: each is revoked when its time comes, and if the store is away, later."""

import json
import time

from provider_kit import Failure, get_log
from provider_openbao.client import Client
from provider_openbao.identity import Identity
from provider_openbao.lease import Lease

log = get_log(__name__)


class Revocations:
    """The leases that wait. They are in memory only: after a restart they end by themselves."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[tuple[float, Identity, Lease]] = []

    def add(self, identity: Identity, lease: Lease, seconds: float) -> None:
        """Revoke ``lease`` in so many seconds; nothing to do for a certificate, or if it has ended."""
        if lease.id and lease.left > 0:
            self._waiting.append((time.monotonic() + seconds, identity, lease))

    async def run_due(self) -> None:
        """Revoke those whose time has come. A server that is away is asked once, and its leases wait on."""
        now = time.monotonic()
        due = [item for item in self._waiting if item[0] <= now]
        self._waiting = [item for item in self._waiting if item[0] > now]
        away: set[str] = set()
        for when, identity, lease in due:
            address = identity.server.address
            if lease.left > 0 and (address in away or not await self._revoke(identity, lease)):
                away.add(address)
                self._waiting.append((when, identity, lease))

    async def _revoke(self, identity: Identity, lease: Lease) -> bool:
        """Whether the server has answered."""
        body = json.dumps({"lease_id": lease.id})
        try:
            answer = await self._client.call(
                identity.server, "PUT", "sys/leases/revoke", token=lease.token.value, body=body
            )
        except Failure as failure:
            log.warning("A secret that is no longer needed could not be revoked yet", error=failure)
            return False
        if not answer.ok:
            log.warning(
                "A secret that is no longer needed may not be revoked: it ends with its lease; allow update of "
                "sys/leases/revoke",
                status=answer.status,
                role=identity.role,
            )
        return True
