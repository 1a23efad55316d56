"""When a SecretSync is synced again. All times are the event loop's, which no change of the clock moves.

- A success: after the interval (of the class's annotation, else of the flag) ± 10 %; with the flag at 0 never.
- A failure: after FIRST to LAST seconds, doubled with each failure in a row, ± 25 %. A provider that is away or
  overloaded gets OVERLOAD_FACTOR times as long. A change of the SecretSync or its class ends the wait.
- In between, every CHECK_SECONDS, it is asked whether the Secret is still as it was written. With a watch of the
  Secrets it is not asked, and what others change is restored at once, but not within RESTORE_SECONDS of the last sync.
"""

import random
from collections.abc import Mapping

from driver.publish.schedule import interval_of

JITTER, RETRY_JITTER = 0.1, 0.25
FIRST, LAST = 5.0, 300.0
OVERLOAD_FACTOR = 2.0
CHECK_SECONDS = 45.0
# Somebody may change a Secret again and again, and each sync asks the store.
RESTORE_SECONDS = 15.0
NEVER = float("inf")


def next_sync(annotations: Mapping[str, str], poll_interval: float) -> float:
    """Seconds until the next sync after a success. An invalid annotation counts as none; ValueError never leaves."""
    try:
        interval = interval_of(annotations, poll_interval or NEVER)
    except ValueError:
        interval = poll_interval or NEVER
    return interval * random.uniform(1 - JITTER, 1 + JITTER)


def retry(failures: int, *, overloaded: bool) -> float:
    """Seconds until the next attempt after ``failures`` (≥ 1) in a row."""
    wait = FIRST * 2.0 ** min(failures - 1, 16) * (OVERLOAD_FACTOR if overloaded else 1.0)
    return min(wait, LAST) * random.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)


def next_check() -> float:
    """Seconds until the next look at the Secret."""
    return CHECK_SECONDS * random.uniform(1 - JITTER, 1 + JITTER)
