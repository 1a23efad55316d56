"""What of pods, ReplicaSets and workloads says what a restart on rotation has to restart, and the annotations that
restart it.

In the pod template, as Kubernetes rolls a workload out when that changes: ``CONTENT``, with ``VOLUME=HASH`` for each
volume whose rotation has restarted the workload. The hash is a keyed one (HMAC-SHA256) of the ids and versions of the
volume's objects, never of their content, and the key is the UID of the class: all nodes have it, so that they write
the same value and the first write is the only one. The UID of the workload is part of what is hashed. So nobody who
reads a Deployment, or finds it in a repository or a dashboard, can look versions up in a table or compare workloads.
Whoever may read the class as well can try versions; pod statuses show them anyway.

On the workload itself: ``RESTARTED_AT``, the time of the last restart by the API server's clock.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from runtime import redact
from runtime.timestamps import parse_timestamp, timestamp

CONTENT = "secrets-store.csi.k8s.io/content"
RESTARTED_AT = "secrets-store.csi.k8s.io/restarted-at"
# The resource in the API group apps for each kind that can be restarted.
WORKLOADS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
REPLICA_SET = "ReplicaSet"
MAX_ENTRIES = 64
_ENTRY = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)=([0-9a-f]{32})")
_DIGEST_CHARACTERS = 16
# A time that is further ahead than clocks of API servers differ was set by hand; it would prevent restarts.
MAX_CLOCK_DIFFERENCE = 300.0

Object = dict[str, Any]


class Controller(NamedTuple):
    """The owner that an owner reference marks as the controller. ``kind`` is empty if it is not one of the group apps;
    ``described`` is for people."""

    kind: str
    name: str
    uid: str
    described: str


def controller_of(document: Mapping[str, Any]) -> Controller | None:
    """The controller of an object; None if it has none."""
    for item in document["metadata"].get("ownerReferences") or ():
        if item.get("controller") is True:
            kind, name = str(item["kind"]), str(item["name"])
            known = str(item["apiVersion"]).startswith("apps/") and kind in (*WORKLOADS, REPLICA_SET)
            return Controller(kind if known else "", name, str(item["uid"]), f"{kind} {name}")
    return None


def is_being_deleted(document: Mapping[str, Any]) -> bool:
    """Whether the object is gone but for its finalizers."""
    return bool(document["metadata"].get("deletionTimestamp"))


def versions_digest(objects: Mapping[str, str]) -> str:
    """A short name for the ids and versions of a volume's objects, as its pod status shows them."""
    shown = sorted((redact.visible(key), redact.visible(version)) for key, version in objects.items())
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:_DIGEST_CHARACTERS]


def content_hash(class_uid: str, workload_uid: str, volume: str, objects: Mapping[str, str]) -> str:
    """The hash for ``CONTENT``."""
    text = json.dumps([workload_uid, volume, sorted(objects.items())])
    return hmac.new(class_uid.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def restarted_for(workload: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each volume in ``CONTENT``; what somebody else has written there counts as nothing."""
    metadata = workload["spec"]["template"].get("metadata") or {}
    text = str((metadata.get("annotations") or {}).get(CONTENT, ""))
    entries = [_ENTRY.fullmatch(item) for item in text.split(",")]
    return {entry[1]: entry[3] for entry in entries if entry}


def seconds_since_restart(workload: Mapping[str, Any], now: float) -> float:
    """How long ago the driver restarted the workload last; infinite if it never did."""
    found = parse_timestamp((workload["metadata"].get("annotations") or {}).get(RESTARTED_AT))
    if found is None or found > now + MAX_CLOCK_DIFFERENCE:
        return float("inf")
    return max(0.0, now - found)


def restart_patch(workload: Mapping[str, Any], volume: str, value: str, now: float) -> Object:
    """The JSON merge patch that restarts exactly this version of the workload."""
    others = {key: item for key, item in restarted_for(workload).items() if key != volume}
    entries = {**dict(list(others.items())[: MAX_ENTRIES - 1]), volume: value}
    content = ",".join(f"{key}={entries[key]}" for key in sorted(entries))
    return {
        "metadata": {
            "resourceVersion": workload["metadata"]["resourceVersion"],
            "annotations": {RESTARTED_AT: timestamp(now)},
        },
        "spec": {"template": {"metadata": {"annotations": {CONTENT: content}}}},
    }


def why_not(kind: str, workload: Mapping[str, Any]) -> tuple[str, bool]:
    """Why a changed pod template would replace no pods, and whether that may change by itself; empty if it does."""
    spec = workload["spec"]
    if kind == "Deployment" and spec.get("paused") is True:
        return "its rollouts are paused: kubectl rollout resume, and it is restarted", True
    if kind != "Deployment" and (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return "its updateStrategy is OnDelete: delete the pod yourself, or set RollingUpdate", False
    return "", False
