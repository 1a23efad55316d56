"""When a server may be called again that has asked for a pause."""

import asyncio
import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from provider_kit import ResourceExhausted

LONGEST_WAIT = 5.0
LONGEST_PAUSE = 60.0
MAX_SERVERS = 1000


class Pacing:
    """The pauses that servers have asked for, by address. A call waits for a pause of up to ``longest`` seconds; a
    longer one is a failure at once, which frees the caller's place."""

    longest = LONGEST_WAIT

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def hold(self, address: str, seconds: float) -> None:
        """No calls to ``address`` for so long, at most a minute: then it is asked again, whatever it wanted."""
        if seconds <= 0:
            return
        if len(self._until) >= MAX_SERVERS:
            self._until.clear()
        self._until[address] = max(self._until.get(address, 0.0), time.monotonic() + min(seconds, LONGEST_PAUSE))

    async def turn(self, address: str) -> None:
        """Wait until ``address`` may be called; ResourceExhausted if that takes too long."""
        pause = self._until.get(address, 0.0) - time.monotonic()
        if pause <= 0:
            self._until.pop(address, None)
            return
        if pause > self.longest:
            raise ResourceExhausted(
                f"{address} asked for a pause of another {pause:.0f} s (Retry-After): nothing to do but wait; "
                "if it happens often, raise its quotas or --rotation-poll-interval"
            )
        # Not all at once afterwards.
        await asyncio.sleep(pause * random.uniform(1.0, 1.5))


def retry_after(value: str) -> float:
    """The header ``Retry-After`` in seconds, which it has as a number or as a date; 0 if it has neither."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
