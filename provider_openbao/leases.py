"""Dynamic secrets: what the store made for one volume, kept until it is to be replaced.

The driver asks again every few minutes. Without this each time would make new database users or certificates. So a
response that ends at a known time, by its lease or by its certificate's ``expiration``, is the answer for that volume
until two thirds of its life have passed. Then its lease is renewed, or if that is not granted, it is replaced; the
former one is revoked a while later, when the pod has had time to notice. Nothing is shared between pods.

The contract with the driver has no call for the end of a volume, and a volume that is not asked for may be in use,
because rotation is off. So what belongs to a pod that is gone is not revoked but ends with its lease; only a call that
the class no longer has is evidence enough. All of it is in memory: after a restart new secrets are fetched, and the old
ones end with their leases.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from provider_kit import Failure, get_log
from provider_openbao.client import Client
from provider_openbao.login import RENEW_AFTER, Identity, Token
from provider_openbao.objects import Call

log = get_log(__name__)

Volume = tuple[Identity, str, str]
MAX_LEASES = 50_000
REVOKE_AFTER_SECONDS = 300.0
"""How long a replaced secret stays valid, if its lease lasts that long: programs reopen files when they like."""


@dataclass
class Lease:
    """``ends`` on the monotonic clock; ``granted`` are the seconds that it got, and ``life`` those that it would last
    without any renewal. A certificate without a lease has an empty ``id``."""

    id: str
    token: Token
    renewable: bool
    granted: float
    life: float
    ends: float
    response: dict[str, Any] = field(repr=False)

    @property
    def left(self) -> float:
        """Seconds until it ends; a lease ends with the token that it was made with, too."""
        left = self.ends - time.monotonic()
        return min(left, self.token.left) if self.id else left

    @property
    def due(self) -> bool:
        """Whether it is to be renewed or replaced."""
        return self.left <= self.life * (1 - RENEW_AFTER)


class Leases:
    """What is kept, by volume and call."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[Volume, dict[Call, Lease]] = {}
        self._retired: list[tuple[float, Identity, Lease]] = []

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
        granted, lease_id = _life(response)
        if granted <= 0:
            return
        if sum(map(len, self._kept.values())) >= MAX_LEASES:
            self._forget_ended()
        kept = self._kept.setdefault(volume, {})
        self._retire(volume[0], kept.get(call))
        renewable = bool(lease_id) and bool(response.get("renewable"))
        # A token that lives shorter than the lease decides, and has not been renewed yet.
        life = min(granted, token.left) if lease_id else granted
        kept[call] = Lease(lease_id, token, renewable, granted, life, time.monotonic() + granted, response)

    async def keep_only(self, volume: Volume, calls: set[Call]) -> None:
        """The volume's class has only these calls now: the others' secrets are revoked later, and those whose time has
        come now."""
        kept = self._kept.get(volume, {})
        for call in set(kept) - calls:
            self._retire(volume[0], kept.pop(call))
        now = time.monotonic()
        due = [(identity, lease) for when, identity, lease in self._retired if when <= now]
        self._retired = [item for item in self._retired if item[0] > now]
        for identity, lease in due:
            await self._revoke(identity, lease)

    def _retire(self, identity: Identity, lease: Lease | None) -> None:
        if lease is not None and lease.id and lease.left > 0:
            self._retired.append((time.monotonic() + REVOKE_AFTER_SECONDS, identity, lease))

    def _forget_ended(self) -> None:
        for volume, kept in list(self._kept.items()):
            self._kept[volume] = {call: lease for call, lease in kept.items() if lease.left > 0}
            if not self._kept[volume]:
                del self._kept[volume]

    async def _renew(self, identity: Identity, lease: Lease, token: Token) -> bool:
        # Another token cannot carry it on: the lease ends with its own.
        if not lease.renewable or lease.left <= 0 or lease.token is not token:
            return False
        try:
            answer = await self._call(identity, "sys/leases/renew", lease)
        except Failure:
            return lease.left > 0  # the store is away: the secret is valid for now
        granted = float(answer.data.get("lease_duration") or 0) if answer.ok else 0.0
        if granted < lease.granted * RENEW_AFTER:  # near its greatest age the store shortens what it grants
            return False
        lease.ends = time.monotonic() + granted
        return not lease.due

    async def _revoke(self, identity: Identity, lease: Lease) -> None:
        if lease.left <= 0:
            return
        try:
            answer = await self._call(identity, "sys/leases/revoke", lease)
        except Failure as failure:
            log.warning("A replaced secret could not be revoked: it ends with its lease", error=failure)
            return
        if not answer.ok:
            log.warning(
                "A replaced secret may not be revoked: it ends with its lease; allow update of sys/leases/revoke",
                status=answer.status,
            )

    async def _call(self, identity: Identity, path: str, lease: Lease) -> Any:
        body = json.dumps(
            {"lease_id": lease.id, "increment": int(lease.granted)} if "renew" in path else {"lease_id": lease.id}
        )
        return await self._client.call(identity.server, "PUT", path, token=lease.token.value, body=body)


def _life(response: dict[str, Any]) -> tuple[float, str]:
    """For how many seconds a response is valid, 0 if it does not say, and the id of its lease."""
    lease_id = response.get("lease_id")
    if isinstance(lease_id, str) and lease_id:
        return float(response.get("lease_duration") or 0), lease_id
    data = response.get("data")
    expiration = data.get("expiration") if isinstance(data, dict) and "certificate" in data else None
    # A certificate's end, in seconds since 1970: the only moment that the API gives by the wall clock.
    return (float(expiration) - time.time(), "") if isinstance(expiration, (int, float)) else (0.0, "")
