"""When a volume is due for a refresh, and how long it is left alone after failures.

Due = last refresh + interval ± 10 %. The jitter comes from the target and the time of the last refresh, so that a
volume keeps its moment until then, and volumes that were published together drift apart. A changed class makes its
volumes due at once. After a failure the wait doubles from BACKOFF_FIRST to BACKOFF_LAST; a provider that is
overloaded or away gets four times as long.
"""

import hashlib
from collections.abc import Mapping

from driver.ports import INTERVAL_ANNOTATION
from driver.registry import Volume
from runtime.errors import Failure
from runtime.flags import parse_duration
from runtime.rpc import code_of

JITTER = 0.1
BACKOFF_FIRST, BACKOFF_LAST = 10.0, 600.0
OVERLOAD_FACTOR = 4.0
MIN_INTERVAL = 1.0


def interval_of(annotations: Mapping[str, str], default: float) -> float:
    """The rotation interval of a class in seconds, or ``default`` if it has none. Raises ValueError, with a sentence
    for users, if its annotation is invalid."""
    text = annotations.get(INTERVAL_ANNOTATION)
    if text is None:
        return default
    try:
        interval = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"annotation {INTERVAL_ANNOTATION}: {error}") from None
    if interval < MIN_INTERVAL:
        raise ValueError(f"annotation {INTERVAL_ANNOTATION}: it must be at least {MIN_INTERVAL:g}s")
    return interval


def due_time(target_path: str, last_refresh: float, interval: float) -> float:
    """The Unix time at which a volume is due for a refresh."""
    digest = hashlib.blake2b(f"{target_path}|{last_refresh:.6f}".encode(), digest_size=4).digest()
    spread = int.from_bytes(digest) / 0xFFFFFFFF * 2 - 1
    return last_refresh + interval * (1 + JITTER * spread)


def is_due(volume: Volume, fingerprint: str, interval: float, now: float) -> bool:
    """Whether a volume is due for a refresh; ``fingerprint`` is that of the class as it is now.

    A class that has changed since the last attempt ends the back-off: its author may have fixed the cause.
    """
    if volume.fingerprint and volume.fingerprint != fingerprint:
        return True
    if now < volume.retry_at:
        return False
    if volume.failure is not None or volume.last_refresh is None:
        return True
    return now >= due_time(volume.target.path, volume.last_refresh, interval)


def retry_time(failure: Failure, failures: int, now: float) -> float:
    """The Unix time at which the back-off ends after ``failures`` (≥ 1) failures in a row."""
    wait = min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 16), BACKOFF_LAST)
    if code_of(failure).name in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        wait *= OVERLOAD_FACTOR
    return float(now + wait)
