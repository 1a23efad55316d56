"""What the record in a volume (``driver.volume.record``) says of it, to and from the driver's own types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driver.limits import MAX_RECORDED_VERSIONS_BYTES
from driver.ports import ClassRef, Pod, RefreshFailure


@dataclass(frozen=True)
class VolumeDetails:
    """``pod``, ``class_ref`` and ``volume_name`` identify a volume and never change; ``objects``, ``fingerprint`` and
    ``failure`` are those of ``driver.registry.Volume``. ``status_name`` is the name of its pod status, empty if there
    is none yet; ``status_current`` is whether that says the same as this. ``restart`` is ``former`` of the restart that
    the volume wants."""

    pod: Pod
    class_ref: ClassRef
    volume_name: str
    provider: str = ""
    objects: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    failure: RefreshFailure | None = None
    status_name: str = ""
    status_current: bool = False
    restart: tuple[str, ...] = ()

    def encode(self) -> dict[str, Any]:
        """As JSON. Without the versions if they are too large: then the next refresh after a restart fetches the
        content in full and writes the pod status again."""
        failure = self.failure
        complete = len(json.dumps(dict(self.objects))) <= MAX_RECORDED_VERSIONS_BYTES
        return {
            "pod": {"namespace": self.pod.namespace, "name": self.pod.name, "uid": self.pod.uid},
            "class": {"namespace": self.class_ref.namespace, "name": self.class_ref.name},
            "volume": self.volume_name,
            "provider": self.provider,
            "objects": dict(self.objects) if complete else {},
            "fingerprint": self.fingerprint,
            "failure": failure and [failure.reason, failure.message, failure.count, failure.time],
            "status": {"name": self.status_name, "current": self.status_current and complete},
            **({"restart": list(self.restart)} if self.restart else {}),
        }


def decode(details: Mapping[str, Any]) -> VolumeDetails | None:
    """None if a field is missing or of another type."""
    try:
        pod, class_ref, failure, status = (details[key] for key in ("pod", "class", "failure", "status"))
        return VolumeDetails(
            pod=Pod(_text(pod["namespace"]), _text(pod["name"]), _text(pod["uid"])),
            class_ref=ClassRef(_text(class_ref["namespace"]), _text(class_ref["name"])),
            volume_name=_text(details["volume"]),
            provider=_text(details["provider"]),
            objects={key: _text(value) for key, value in details["objects"].items()},
            fingerprint=_text(details["fingerprint"]),
            failure=None if failure is None else _failure(*failure),
            status_name=_text(status["name"]),
            status_current=status["current"] is True,
            restart=tuple(map(_text, details.get("restart", ()))),
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _failure(reason: object, message: object, count: object, time: object) -> RefreshFailure:
    if not isinstance(count, int) or not isinstance(time, (int, float)):
        raise TypeError("not a number")
    return RefreshFailure(_text(reason), _text(message), count, float(time))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value
