"""Which pods confirm what a pod status claims."""

from typing import Any

import pytest

from driver.objects.pods import confirms
from driver.ports import ClassRef, Pod, VolumeRecord

DRIVER = "secrets-store.csi.k8s.io"
TARGET = "/k/pods/uid/volumes/kubernetes.io~csi/secrets/mount"
CLAIM = VolumeRecord(Pod("ns", "pod", "uid"), ClassRef("ns", "app"), "secrets", TARGET, {})


def volume(name: str = "secrets", driver: str = DRIVER, class_name: str = "app") -> dict[str, Any]:
    """A volume in a pod's spec."""
    return {"name": name, "csi": {"driver": driver, "volumeAttributes": {"secretProviderClass": class_name}}}


def pod(*volumes: Any, uid: str = "uid") -> dict[str, Any]:
    """A pod as the API server has it."""
    return {"metadata": {"name": "pod", "uid": uid}, "spec": {"volumes": list(volumes)}}


def test_confirmed() -> None:
    """The pod has the UID and mounts the class under the volume name; what else it mounts does not matter."""
    assert confirms(pod(volume()), CLAIM, DRIVER)
    others = [{"name": "x", "emptyDir": {}}, volume("other", class_name="x"), volume("y", "z")]
    assert confirms(pod(*others, volume()), CLAIM, DRIVER)


@pytest.mark.parametrize(
    "found",
    [
        {},
        pod(),
        pod(volume(), uid="another"),
        pod(volume("other")),
        pod(volume(driver="another.csi.k8s.io")),
        pod(volume(class_name="another")),
        pod({"name": "secrets", "emptyDir": {}}),
        pod({"name": "secrets", "csi": {"driver": DRIVER}}),
        pod({"name": "secrets", "csi": {"driver": DRIVER, "volumeAttributes": None}}),
        pod({"name": "secrets", "csi": None}),
        pod(volume(), volume(class_name="another")),
        pod("text"),
        {"metadata": {"uid": "uid"}, "spec": {"volumes": None}},
        {"metadata": None, "spec": None},
    ],
)
def test_not_confirmed(found: dict[str, Any]) -> None:
    """Another pod, class, driver or volume, or what is not a pod."""
    assert not confirms(found, CLAIM, DRIVER)
