"""When a volume is due for a refresh, and how long it is left alone after failures: the only place that decides so.

Due = last refresh + interval ± jitter. The jitter comes from the target and the time of the last refresh, so that a
volume keeps its moment until then, and volumes that were published together drift apart. A changed class makes its
volumes due at once. After a failure the wait doubles from BACKOFF_FIRST to BACKOFF_LAST; a provider that is overloaded
or away gets four times as long at first. The wait for a provider that was away ends when its socket answers again.

All times here are moments of ``runtime.clock``, which nobody can set. The time in the volume itself, by the wall clock,
counts only after a restart, and never if it lies in the future (``Volume.found_refreshed``): then the volume is due.
"""

import hashlib
from collections.abc import Mapping

from driver.ports import INTERVAL_ANNOTATION
from driver.registry import Volume
from runtime.errors import Failure
from runtime.flags import parse_duration
from runtime.rpc import code_of

# Kubelet republishes about once a minute: with a longer wait content would stay old after the cause is gone.
BACKOFF_FIRST, BACKOFF_LAST = 10.0, 60.0
OVERLOAD_FACTOR = 4.0
MIN_INTERVAL = 1.0


def interval_of(annotations: Mapping[str, str], default: float, annotation: str = INTERVAL_ANNOTATION) -> float:
    """The rotation interval of a class, or the one in another ``annotation``, in seconds; ``default`` if it has none.
    Raises ValueError, with a sentence for users, if its annotation is invalid."""
    text = annotations.get(annotation)
    if text is None:
        return default
    try:
        interval = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"annotation {annotation}: {error}") from None
    if interval < MIN_INTERVAL:
        raise ValueError(f"annotation {annotation}: it must be at least {MIN_INTERVAL:g}s")
    return interval


def due_time(target_path: str, refreshed_at: float, interval: float, jitter: float) -> float:
    """The moment at which a volume is due for a refresh; ``jitter`` is a fraction of the interval."""
    digest = hashlib.blake2b(f"{target_path}|{refreshed_at:.6f}".encode(), digest_size=4).digest()
    spread = int.from_bytes(digest) / 0xFFFFFFFF * 2 - 1
    return refreshed_at + interval * (1 + jitter * spread)


def due_moment(volume: Volume, interval: float, jitter: float) -> float:
    """The moment from which a volume is due, unless its class changes before."""
    if volume.failure is not None or volume.refreshed_at is None:
        return volume.retry_at
    return max(volume.retry_at, due_time(volume.target.path, volume.refreshed_at, interval, jitter))


def is_due(volume: Volume, fingerprint: str, interval: float, now: float, jitter: float) -> bool:
    """Whether a volume is due for a refresh; ``fingerprint`` is that of the class as it is now.

    A class that has changed since the last attempt ends the back-off: its author may have fixed the cause.
    """
    if volume.fingerprint and volume.fingerprint != fingerprint:
        return True
    return now >= due_moment(volume, interval, jitter)


def retry_time(failure: Failure, failures: int, now: float) -> float:
    """The moment at which the back-off ends after ``failures`` (≥ 1) failures in a row."""
    wait = BACKOFF_FIRST * 2.0 ** min(failures - 1, 16)
    if code_of(failure).name in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        wait *= OVERLOAD_FACTOR
    return float(now + min(wait, BACKOFF_LAST))
