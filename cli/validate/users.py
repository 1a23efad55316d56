"""What uses a class: pods, the workloads that make pods, and SecretSyncs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli.findings import Level
from cli.validate.problems import Checked, Object
from driver.manifests.documents import FieldPath
from driver.manifests.schema import did_you_mean
from driver.objects.secret_syncs import KIND as SYNC_KIND

DRIVER = "secrets-store.csi.k8s.io"
CLASS_ATTRIBUTE = "secretProviderClass"
_TEMPLATE: FieldPath = ("spec", "template", "spec")
_PODS: Mapping[str, FieldPath] = {
    "Pod": ("spec",),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", *_TEMPLATE),
} | dict.fromkeys(("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), _TEMPLATE)


def pod_spec(item: Object) -> Mapping[str, Any]:
    """The ``spec`` of the pods that an object stands for; empty if it stands for none."""
    found: Any = item.value
    for name in _PODS.get(item.kind, ("",)):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def check(item: Object, classes: Sequence[Object], *, partial: bool) -> Iterator[Checked]:
    """What is wrong with an object that may use one of the classes; nothing for other kinds."""
    if item.kind == SYNC_KIND:
        yield from _sync(item, classes, partial)
    volumes = pod_spec(item).get("volumes")
    for number, volume in enumerate(volumes if isinstance(volumes, list) else ()):
        csi = volume.get("csi") if isinstance(volume, dict) else None
        if isinstance(csi, dict) and csi.get("driver") == DRIVER:
            path = (*_PODS[item.kind], "volumes", number, "csi")
            yield from _volume(path, csi, item, classes, partial)


def _volume(
    path: FieldPath, csi: Mapping[str, Any], item: Object, classes: Sequence[Object], partial: bool
) -> Iterator[Checked]:
    if csi.get("readOnly") is not True:
        yield Checked((*path, "readOnly"), "the driver mounts read-only volumes only: write readOnly: true")
    attributes = csi.get("volumeAttributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    name = attributes.get(CLASS_ATTRIBUTE)
    if not isinstance(name, str) or not name:
        hint = next((did_you_mean(str(other), [CLASS_ATTRIBUTE]) for other in attributes), "")
        where = (*path, "volumeAttributes")
        yield Checked(where, f"it has no {CLASS_ATTRIBUTE}{hint or ': name the class of the volume there'}")
        return
    yield from _class((*path, "volumeAttributes", CLASS_ATTRIBUTE), name, item, classes, partial)


def _sync(item: Object, classes: Sequence[Object], partial: bool) -> Iterator[Checked]:
    spec = item.value.get("spec")
    if spec is None:
        yield Checked(("spec",), "it is missing: name the class, the service account and the Secret's keys")
        return
    secret = spec["secretObject"]
    if not secret.get("data") and not secret.get("dataFrom"):
        yield Checked(("spec", "secretObject"), "set data, a list of sourcePath and targetKey, or dataFrom")
    keys: set[str] = set()
    for number, entry in enumerate(secret.get("data") or ()):
        if entry["targetKey"] in keys:
            path = ("spec", "secretObject", "data", number, "targetKey")
            yield Checked(path, f"targetKey {entry['targetKey']} is listed twice")
        keys.add(entry["targetKey"])
    for number, source in enumerate(secret.get("dataFrom") or ()):
        both = "objectName" in source or "format" in source
        if both if source.get("all") else not {"objectName", "format"} <= source.keys():
            yield Checked(("spec", "secretObject", "dataFrom", number), "set objectName and format, or all: true")
    yield from _class(("spec", "secretProviderClassName"), spec["secretProviderClassName"], item, classes, partial)


def _class(path: FieldPath, name: str, item: Object, classes: Sequence[Object], partial: bool) -> Iterator[Checked]:
    """A class that is not in the files is a problem only if there are classes in them."""
    near = [found for found in classes if _same_namespace(found, item)]
    if any(found.name == name for found in near):
        return
    elsewhere = sorted({found.namespace for found in classes if found.name == name})
    if elsewhere:
        yield Checked(
            path,
            f"class {name} is in namespace {', '.join(elsewhere)}, and this {item.kind} in {item.namespace}: both "
            "must be in the same namespace",
        )
        return
    hint = did_you_mean(name, [found.name for found in near])
    if hint or (classes and not partial):
        yield Checked(path, f"class {name} is not in the files{hint}", Level.WARNING if partial else Level.ERROR)


def _same_namespace(one: Object, other: Object) -> bool:
    return not one.namespace or not other.namespace or one.namespace == other.namespace
