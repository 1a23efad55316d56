"""Pod status objects to and from records: nothing is lost on the way, and foreign objects are ignored."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from driver.objects.pod_status import (
    build_status,
    condition_of,
    merge_patch,
    names_its_pod,
    parse_status,
    status_name,
)
from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord

TARGET = "/pods/uid/volumes/kubernetes.io~csi/secrets/mount"
FAILURE = RefreshFailure("GRPCProviderError", "no", 3, 2000.0)
RECORD = VolumeRecord(
    Pod("ns", "pod", "uid"), ClassRef("ns", "app"), "secrets", TARGET, {"b": "2", "a": "1"}, 1000.0, FAILURE
)


@pytest.mark.parametrize(
    "fields", [{}, {"failure": None}, {"last_refresh": None}, {"last_refresh": None, "failure": None, "objects": {}}]
)
def test_round_trip(fields: dict[str, Any]) -> None:
    """A record is the same after it was written and read."""
    record = replace(RECORD, **fields)
    assert parse_status(build_status(record, status_name(record), "node")) == record


@pytest.mark.parametrize("hidden", ["\x1b[31m", "\0", "\r", "\u202e", "\u200b", "\x9b2J", "\u2028", "\U000e0041"])
def test_what_people_read_has_no_invisible_characters(hidden: str) -> None:
    """A provider's id or version has a character that moves the cursor or turns the text around → the status has the
    text without it, and is not refused by the API server for it."""
    record = replace(RECORD, objects={f"secret/{hidden}a": f"v{hidden}1"})
    (shown,) = build_status(record, "name")["status"]["objects"]
    assert hidden not in shown["id"] + shown["version"]
    assert shown["id"].startswith("secret/") and shown["version"].replace(" ", "").startswith("v")
    assert record.objects == {f"secret/{hidden}a": f"v{hidden}1"}


def test_a_patch_removes_what_is_over() -> None:
    """A patch names the fields that the record has not any more, so that a failure disappears."""
    status = merge_patch(build_status(replace(RECORD, failure=None), "name"))["status"]
    assert status["lastFailure"] is None and status["lastRefresh"] == "1970-01-01T00:16:40Z"


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    """Failure after failure is one state since the first; a success is another one."""
    first = build_status(RECORD, "name")
    again = replace(RECORD, failure=replace(FAILURE, count=4, time=3000.0))
    second = build_status(again, "name", former_condition=condition_of(first))
    assert condition_of(second)["lastTransitionTime"] == "1970-01-01T00:33:20Z"
    third = build_status(replace(RECORD, last_refresh=4000.0, failure=None), "name", "", condition_of(second))
    assert condition_of(third)["lastTransitionTime"] == "1970-01-01T01:06:40Z"


@pytest.mark.parametrize(
    "path, value",
    [
        ((), None),
        ((), []),
        ((), "text"),
        (("metadata",), None),
        (("metadata",), []),
        (("metadata", "namespace"), None),
        (("metadata", "ownerReferences"), None),
        (("metadata", "ownerReferences"), []),
        (("metadata", "ownerReferences"), ["text"]),
        (("metadata", "ownerReferences"), [{"kind": "ReplicaSet", "name": "pod", "uid": "uid"}]),
        (("metadata", "ownerReferences"), [{"kind": "Pod"}]),
        (("status", "lastFailure"), {"count": float("inf")}),
        (("status", "lastFailure"), {"count": float("nan")}),
        (("status", "lastFailure"), {"count": -float("inf"), "time": "soon"}),
        (("status",), None),
        (("status",), "text"),
        (("status", "targetPath"), None),
        (("status", "targetPath"), 5),
        (("status", "targetPath"), "short/path"),
        (("status", "secretProviderClassName"), 5),
        (("status", "objects"), ["text"]),
        (("status", "objects"), [{"id": ["a"]}]),
        (("status", "lastFailure"), "text"),
        (("status", "lastFailure"), {"count": "many"}),
    ],
)
def test_an_object_that_is_not_ours(path: tuple[str, ...], value: object) -> None:
    """Whatever somebody wrote there: it is not a record, and never an exception."""
    document: Any = copy.deepcopy(build_status(RECORD, "name"))
    if not path:
        document = value
    else:
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
    assert parse_status(document) is None


@pytest.mark.parametrize("document", [None, [], "text", {"status": None}, {"status": {"conditions": [5]}}])
def test_no_condition(document: object) -> None:
    """An object that says nothing of its condition has none."""
    assert condition_of(document) == {}


def test_an_object_of_the_trio() -> None:
    """Such an object has neither lastRefresh nor lastFailure; other owners do no harm."""
    found = build_status(RECORD, "name")
    for field in ("lastRefresh", "lastFailure", "conditions"):
        del found["status"][field]
    found["metadata"]["ownerReferences"].insert(0, {"kind": "ReplicaSet", "name": "web", "uid": "other"})
    assert parse_status(found) == replace(RECORD, last_refresh=None, failure=None)


def test_names() -> None:
    """The Go driver's name; of a second volume, and of one that would be too long, a unique one that stays the same."""
    assert status_name(RECORD) == "pod-ns-app"
    assert status_name(RECORD, unique=True) == status_name(replace(RECORD, objects={}), unique=True) != "pod-ns-app"
    long = [replace(RECORD, class_ref=ClassRef("ns", "c" * 250 + end)) for end in ("x", "y")]
    assert len({status_name(record) for record in long}) == 2
    assert all(len(status_name(record)) <= 253 for record in long)


@pytest.mark.parametrize(
    ("path", "uid", "expected"),
    [
        ("/k/pods/uid/volumes/kubernetes.io~csi/v/mount", "uid", True),
        ("/k/pods/uid/volumes/kubernetes.io~csi/v/mount", "UID", False),
        ("/k/pods/uid/volumes/kubernetes.io~csi/v/mount", "", False),
        ("/k/pods//volumes/kubernetes.io~csi/v/mount", "", True),
        ("/k/pods/uid/volumes/kubernetes.io~csi/v/mount/", "uid", False),
        ("/uid", "uid", False),
        ("/mount", "mount", False),
        ("/uid/pods/x/volumes/kubernetes.io~csi/v/mount", "uid", False),
    ],
)
def test_the_pod_in_the_target_path(path: str, uid: str, expected: bool) -> None:
    """The owner of a status is the pod in its target path, by UID."""
    assert names_its_pod(replace(RECORD, pod=Pod("ns", "pod", uid), target_path=path)) is expected


def test_unique_names() -> None:
    """Pods and classes that make one name together, and two volumes of a pod, get names of their own, always the same,
    which no pod's plain name is."""
    namespace, target = "t1", TARGET
    pairs = [("a", "t1-t1-b"), ("a-t1", "t1-b"), ("a-t1-t1", "b")]
    records = [
        VolumeRecord(Pod(namespace, pod, "uid"), ClassRef(namespace, class_name), volume, target, {})
        for pod, class_name in pairs
        for volume in ("one", "two")
    ]
    assert len({status_name(record) for record in records}) == 1
    unique = [status_name(record, unique=True) for record in records]
    assert len(set(unique)) == len(records) and unique == [status_name(record, unique=True) for record in records]
    moved = replace(records[0], pod=Pod(namespace, "a", "another"), target_path="/elsewhere")
    assert status_name(moved, unique=True) == unique[0]
