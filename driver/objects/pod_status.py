"""Kubernetes objects in our own types and back: paths, names, times, the pod status' shape."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from driver.objects.names import LONGEST_NAME
from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord
from runtime.errors import ConfigurationError

GROUP_VERSION = "secrets-store.csi.x-k8s.io/v1"
NODE_LABEL = "internal.secrets-store.csi.k8s.io/node-name"
LONGEST_LABEL = 63
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def classes_path(class_ref: ClassRef | None = None) -> str:
    """The path of one class, or of all."""
    if class_ref is None:
        return f"/apis/{GROUP_VERSION}/secretproviderclasses"
    return f"/apis/{GROUP_VERSION}/namespaces/{class_ref.namespace}/secretproviderclasses/{class_ref.name}"


def statuses_path(namespace: str = "", name: str = "") -> str:
    """The path of one pod status, of a namespace's, or of all."""
    prefix = f"/apis/{GROUP_VERSION}" + (f"/namespaces/{namespace}" if namespace else "")
    return f"{prefix}/secretproviderclasspodstatuses" + (f"/{name}" if name else "")


def is_label_value(text: str) -> bool:
    """Whether the API server takes ``text`` as a label's value."""
    return len(text) <= LONGEST_LABEL and _LABEL.fullmatch(text) is not None


def check_node(name: str) -> None:
    """Refuse a node's name that no label can hold. Raises ConfigurationError."""
    if not name or not is_label_value(name):
        raise ConfigurationError(
            f"--nodeid={name}: the node's name must be a label's value (1 to 63 letters, digits, '-', '_' or '.'), "
            "because pod statuses are found by it"
        )


def status_name(record: VolumeRecord, *, of_its_own: bool = False) -> str:
    """``<pod>-<namespace>-<class>``, as the Go driver names it.

    ``of_its_own``: for a second volume of one pod with one class. That, and a name over 253 characters, ends in a
    digest of what makes it unique, always the same one.
    """
    name = f"{record.pod.name}-{record.pod.namespace}-{record.class_ref.name}"
    if of_its_own:
        name += f"-{_digest(record.volume_name)}"
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 11].rstrip('.-')}-{_digest(name)}"
    return name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def timestamp(seconds: float) -> str:
    """Unix time as Kubernetes writes it: RFC 3339 in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: object) -> float | None:
    """The reverse; None for what is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def status_object(record: VolumeRecord, node: str) -> dict[str, Any]:
    """The whole pod status but for its name; the server prunes the fields that the trio's CRDs lack."""
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "SecretProviderClassPodStatus",
        "metadata": {
            "labels": {NODE_LABEL: node},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": record.pod.name, "uid": record.pod.uid}],
        },
        "status": {
            "podName": record.pod.name,
            "secretProviderClassName": record.class_ref.name,
            "mounted": True,
            "targetPath": record.target_path,
            "objects": [{"id": key, "version": version} for key, version in sorted(record.objects.items())],
            "lastRefresh": timestamp(record.last_refresh) if record.last_refresh is not None else None,
            "lastFailure": _failure(record.failure),
            "conditions": [_condition(record)],
        },
    }


def _failure(failure: RefreshFailure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "reason": failure.reason,
        "message": failure.message,
        "count": failure.count,
        "time": timestamp(failure.time),
    }


def _condition(record: VolumeRecord) -> dict[str, Any]:
    failure = record.failure
    since = failure.time if failure is not None else record.last_refresh
    condition = {
        "type": "Refreshed",
        "status": "True" if failure is None else "False",
        "reason": "Refreshed" if failure is None else failure.reason,
        "message": "" if failure is None else failure.message,
    }
    return condition if since is None else {**condition, "lastTransitionTime": timestamp(since)}


def record_of(document: Mapping[str, Any]) -> VolumeRecord | None:
    """A pod status as a record; None for one that is none of ours (no pod as owner, no target path)."""
    metadata, status = document.get("metadata") or {}, document.get("status") or {}
    owners = [item for item in metadata.get("ownerReferences") or () if item.get("kind") == "Pod"]
    parts = str(status.get("targetPath", "")).split("/")
    if not owners or len(parts) < 3:
        return None
    return VolumeRecord(
        pod=Pod(metadata["namespace"], owners[0]["name"], owners[0]["uid"]),
        class_ref=ClassRef(metadata["namespace"], status.get("secretProviderClassName", "")),
        volume_name=parts[-2],
        target_path=status["targetPath"],
        objects={item.get("id", ""): item.get("version", "") for item in status.get("objects") or ()},
        last_refresh=parse_timestamp(status.get("lastRefresh")),
        failure=_failure_of(status.get("lastFailure")),
    )


def _failure_of(found: Mapping[str, Any] | None) -> RefreshFailure | None:
    if not found:
        return None
    return RefreshFailure(
        found.get("reason", ""),
        found.get("message", ""),
        int(found.get("count", 1)),
        parse_timestamp(found.get("time")) or 0.0,
    )
