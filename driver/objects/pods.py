"""What of a Pod object says whose a volume is."""

from collections.abc import Mapping
from typing import Any

from driver.ports import VolumeRecord


def confirms(pod: Mapping[str, Any], record: VolumeRecord, driver: str) -> bool:
    """Whether the pod, as the API server has it, is that of the record and mounts the record's class under the record's
    volume name through this driver."""
    try:
        if pod["metadata"]["uid"] != record.pod.uid:
            return False
        volumes = [item for item in pod["spec"]["volumes"] if item["name"] == record.volume_name]
        return [_class_of(item["csi"], driver) for item in volumes] == [record.class_ref.name]
    except (KeyError, TypeError, AttributeError):
        return False


def _class_of(csi: Mapping[str, Any], driver: str) -> str | None:
    return csi["volumeAttributes"]["secretProviderClass"] if csi["driver"] == driver else None
