"""What the status socket says of the volumes. It contains no secret, token or volume attribute."""

from collections.abc import Iterable, Mapping
from typing import Any

from driver import limits
from driver.config import DriverConfig
from driver.publish import schedule
from driver.registry import Volume
from runtime import clock, redact

_LONGEST_VERSION = 80


def snapshot(volumes: Iterable[Volume], config: DriverConfig) -> list[Mapping[str, Any]]:
    """The volumes. Times are Unix time; ``next_refresh``, from which on kubelet's next republish refreshes the volume,
    is None without rotation. ``objects`` are the versions of the first objects, of ``object_count`` in all."""
    return [_volume(volume, config) for volume in volumes]


def _volume(volume: Volume, config: DriverConfig) -> Mapping[str, Any]:
    failure = volume.failure
    return {
        "pod": str(volume.pod),
        "class": str(volume.class_ref),
        "volume": volume.target.volume_name,
        "provider": volume.provider,
        "target": volume.target.path,
        "last_refresh": volume.last_refresh,
        "last_known_good": volume.stale,
        "next_refresh": _next_refresh(volume, config),
        "failures": failure.count if failure else 0,
        "reason": failure.message if failure else "",
        "failed": failure.time if failure else None,
        "objects": {
            redact.visible(key)[:_LONGEST_VERSION]: redact.visible(volume.objects[key])[:_LONGEST_VERSION]
            for key in sorted(volume.objects)[: limits.SHOWN_OBJECTS]
        },
        "object_count": len(volume.objects),
    }


def _next_refresh(volume: Volume, config: DriverConfig) -> float | None:
    if not config.enable_secret_rotation:
        return None
    interval = config.rotation_poll_interval if volume.interval is None else volume.interval
    return clock.wall_time(schedule.due_moment(volume, interval, config.rotation_jitter_percent / 100))
