"""Dynamic secrets: what the store made for one volume, kept until it is to be replaced.

The driver asks again every few minutes. Without this each time would make new database users or certificates. So a
response that ends at a known time, by its lease or by its certificate's ``expiration``, is the answer for that volume
until two thirds of its life have passed. Then its lease is renewed, or if that is not granted, it is replaced; the
former one is revoked a while later, when the pod has had time to notice. Nothing is shared between pods.

A volume that is not asked for may be in use, because rotation is off. So its lease is revoked only on evidence that it
has gone (``unpublished``), or that its class no longer has the call. All of it is in memory: after a restart new
secrets are fetched, and the old ones end with their leases.
"""

import json
import time
from collections.abc import Collection
from typing import Any

from provider_kit import Failure
from provider_openbao.client import Client
from provider_openbao.identity import Identity
from provider_openbao.lease import Lease, life_of
from provider_openbao.login import RENEW_AFTER, Token
from provider_openbao.objects import Call
from provider_openbao.revoking import Revocations
from provider_openbao.unpublished import Volume

REVOKE_AFTER_SECONDS = 300.0
"""How long a replaced secret stays valid, if its lease lasts that long: programs reopen files when they like."""


class Leases:
    """What is kept, by volume and call."""

    def __init__(self, client: Client, revocations: Revocations) -> None:
        self._client = client
        self._revocations = revocations
        self._kept: dict[Volume, dict[Call, Lease]] = {}

    @property
    def volumes(self) -> Collection[Volume]:
        """The volumes that have dynamic secrets."""
        return self._kept.keys()

    async def find(self, volume: Volume, call: Call, token: Token) -> dict[str, Any] | None:
        """The response that the volume has, if it need not be replaced yet."""
        lease = self._kept.get(volume, {}).get(call)
        if lease is None:
            return None
        if lease.due and not await self._renew(volume[0], lease, token):
            return None
        return lease.response

    def add(self, volume: Volume, call: Call, token: Token, response: dict[str, Any]) -> None:
        """Keep a new response, if it says when it ends; what it replaces is revoked later."""
        granted, lease_id = life_of(response)
        if granted <= 0:
            return
        kept = self._kept.setdefault(volume, {})
        if call in kept:
            self._revocations.add(volume[0], kept[call], REVOKE_AFTER_SECONDS)
        renewable = bool(lease_id) and bool(response.get("renewable"))
        # A token that lives shorter than the lease decides, and has not been renewed yet.
        life = min(granted, token.left) if lease_id else granted
        kept[call] = Lease(lease_id, token, renewable, granted, life, time.monotonic() + granted, response)

    def keep_only(self, volume: Volume, calls: set[Call]) -> None:
        """The volume's class has only these calls now: the others' secrets are revoked later."""
        kept = self._kept.get(volume, {})
        for call in set(kept) - calls:
            self._revocations.add(volume[0], kept.pop(call), REVOKE_AFTER_SECONDS)

    def release(self, volume: Volume) -> None:
        """The volume has gone: its secrets are revoked now."""
        for lease in self._kept.pop(volume, {}).values():
            self._revocations.add(volume[0], lease, 0.0)

    def forget_ended(self) -> None:
        """Forget what has ended; such a volume, if there is one, gets something new anyway."""
        for volume, kept in list(self._kept.items()):
            for call in [call for call, lease in kept.items() if lease.left <= 0]:
                del kept[call]
            if not kept:
                del self._kept[volume]

    async def _renew(self, identity: Identity, lease: Lease, token: Token) -> bool:
        # Another token cannot carry it on: the lease ends with its own.
        if not lease.renewable or lease.left <= 0 or lease.token is not token:
            return False
        body = json.dumps({"lease_id": lease.id, "increment": int(lease.granted)})
        try:
            answer = await self._client.call(
                identity.server, "PUT", "sys/leases/renew", token=lease.token.value, body=body
            )
        except Failure:
            return lease.left > 0  # the store is away: the secret is valid for now
        granted = float(answer.data.get("lease_duration") or 0) if answer.ok else 0.0
        if granted < lease.granted * RENEW_AFTER:  # near its greatest age the store shortens what it grants
            return False
        lease.ends = time.monotonic() + granted
        return not lease.due
