"""SecretProviderClassPodStatus objects to and from ``ports.VolumeRecord``; the only code that knows their shape."""

import hashlib
from collections.abc import Mapping
from typing import Any

from driver.objects import GROUP_VERSION
from driver.objects.names import LONGEST_NAME, is_label_value
from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord
from runtime import redact
from runtime.errors import ConfigurationError
from runtime.timestamps import parse_timestamp, timestamp

KIND, PLURAL = "SecretProviderClassPodStatus", "secretproviderclasspodstatuses"
NODE_LABEL = "internal.secrets-store.csi.k8s.io/node-name"

Object = dict[str, Any]


def check_node(name: str) -> None:
    """Refuse a node name that cannot be a label value. Raises ConfigurationError."""
    if not name or not is_label_value(name):
        raise ConfigurationError(
            f"--nodeid={name}: the node's name must be a label's value (1 to 63 letters, digits, '-', '_' or '.'), "
            "because pod statuses are found by it"
        )


def status_name(record: VolumeRecord, *, unique: bool = False) -> str:
    """``<pod>-<namespace>-<class>``, as the Go driver names it.

    ``unique``: where that is the name of another volume's: a second volume of one pod with one class, or another pod
    whose name ends where its namespace and class begin. Such a name, and one over 253 characters, ends in a digest of
    what makes it unique, always the same one.
    """
    name = f"{record.pod.name}-{record.pod.namespace}-{record.class_ref.name}"
    if unique:
        name += f"-{_digest(f'{record.pod.name}/{record.class_ref.name}/{record.volume_name}')}"
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 11].rstrip('.-')}-{_digest(name)}"
    return name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def build_status(
    record: VolumeRecord, name: str, node: str = "", former_condition: Mapping[str, Any] | None = None
) -> Object:
    """The object for a record; the API server prunes the fields that the trio's CRDs lack.

    ``former_condition`` is the condition in the object as it was before: while the status stays the same, so does the
    time of its transition.
    """
    metadata: Object = {
        "namespace": record.pod.namespace,
        "name": name,
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": record.pod.name, "uid": record.pod.uid}],
    }
    if node:
        metadata["labels"] = {NODE_LABEL: node}
    status: Object = {
        "podName": record.pod.name,
        "secretProviderClassName": record.class_ref.name,
        "mounted": True,
        "targetPath": record.target_path,
        "objects": [
            {"id": redact.visible(key), "version": redact.visible(version)}
            for key, version in sorted(record.objects.items())
        ],
        "conditions": [_build_condition(record, former_condition or {})],
    }
    if record.last_refresh is not None:
        status["lastRefresh"] = timestamp(record.last_refresh)
    if record.failure is not None:
        status["lastFailure"] = {
            "reason": record.failure.reason,
            "message": record.failure.message,
            "count": record.failure.count,
            "time": timestamp(record.failure.time),
        }
    return {"apiVersion": GROUP_VERSION, "kind": KIND, "metadata": metadata, "status": status}


def merge_patch(status: Object) -> Object:
    """A JSON merge patch (RFC 7386) that makes an older object say the same: null removes what is not set any more."""
    return {**status, "status": {"lastRefresh": None, "lastFailure": None, **status["status"]}}


def condition_of(document: Any) -> Mapping[str, Any]:
    """The condition in an object; empty if there is none."""
    try:
        return dict(document["status"]["conditions"][0])
    except (IndexError, KeyError, TypeError, ValueError):
        return {}


def _build_condition(record: VolumeRecord, former: Mapping[str, Any]) -> Object:
    failure = record.failure
    condition = {
        "type": "Refreshed",
        "status": "True" if failure is None else "False",
        "reason": "Refreshed" if failure is None else failure.reason,
        "message": "" if failure is None else failure.message,
    }
    if former.get("status") == condition["status"] and "lastTransitionTime" in former:
        return {**condition, "lastTransitionTime": former["lastTransitionTime"]}
    since = failure.time if failure is not None else record.last_refresh
    return condition if since is None else {**condition, "lastTransitionTime": timestamp(since)}


def parse_status(document: Any) -> VolumeRecord | None:
    """The record in an object; None if it is not the driver's: it has no pod as owner or no target path, or a field is
    not of the CRD's type.

    Anybody may have written the object: none of it is a fact before it is checked (``names_its_pod``, and
    ``driver.objects.pods`` with the pod itself).
    """
    try:
        metadata, status = document["metadata"], document["status"]
        owner = next(item for item in metadata["ownerReferences"] if item.get("kind") == "Pod")
        namespace, target_path = _text(metadata["namespace"]), _text(status["targetPath"])
        _, volume_name, _ = target_path.rsplit("/", 2)
        return VolumeRecord(
            pod=Pod(namespace, _text(owner["name"]), _text(owner["uid"])),
            class_ref=ClassRef(namespace, _text(status.get("secretProviderClassName", ""))),
            volume_name=volume_name,
            target_path=target_path,
            objects={_text(item.get("id", "")): _text(item.get("version", "")) for item in status.get("objects") or ()},
            last_refresh=parse_timestamp(status.get("lastRefresh")),
            failure=_parse_failure(status.get("lastFailure")),
        )
    except (ArithmeticError, AttributeError, KeyError, StopIteration, TypeError, ValueError):
        return None


def names_its_pod(record: VolumeRecord) -> bool:
    """Whether the pod that owns a pod status is the one in its target path, by UID."""
    return record.target_path.split("/")[-5:-4] == [record.pod.uid]


def _parse_failure(found: Mapping[str, Any] | None) -> RefreshFailure | None:
    if not found:
        return None
    return RefreshFailure(
        reason=_text(found.get("reason", "")),
        message=_text(found.get("message", "")),
        count=int(found.get("count", 1)),
        time=parse_timestamp(found.get("time")) or 0.0,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value
