"""One lease: a response of the store that ends at a known time."""

import time
from dataclasses import dataclass, field
from typing import Any

from provider_openbao.login import RENEW_AFTER, Token


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


def life_of(response: dict[str, Any]) -> tuple[float, str]:
    """For how many seconds a response is valid, 0 if it does not say, and the id of its lease."""
    lease_id = response.get("lease_id")
    if isinstance(lease_id, str) and lease_id:
        return float(response.get("lease_duration") or 0), lease_id
    data = response.get("data")
    expiration = data.get("expiration") if isinstance(data, dict) and "certificate" in data else None
    # A certificate's end, in seconds since 1970: the only moment that the API gives by the wall clock.
    return (float(expiration) - time.time(), "") if isinstance(expiration, (int, float)) else (0.0, "")
