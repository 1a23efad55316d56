"""The annotations of a restart, and whose controller is whose."""

from typing import Any

import pytest

from driver.objects import workloads
from driver.objects.workloads import CONTENT, RESTARTED_AT, content_hash

NOW = 1_790_000_000.0
HASH = "0123456789abcdef" * 2


def workload(content: str | None = None, time: str | None = None, **spec: Any) -> dict[str, Any]:
    """A workload whose annotations are those of a former restart."""
    template = {} if content is None else {"metadata": {"annotations": {CONTENT: content}}}
    annotations = {} if time is None else {RESTARTED_AT: time}
    return {"metadata": {"resourceVersion": "7", "annotations": annotations}, "spec": {"template": template, **spec}}


def test_all_nodes_write_the_same() -> None:
    """The order of the objects does not matter; class, workload, volume, ids and versions do."""
    same = content_hash("class", "workload", "v", {"a": "1", "b": "2"})
    assert content_hash("class", "workload", "v", {"b": "2", "a": "1"}) == same and len(same) == 32
    others = [
        ("other", "workload", "v", {"a": "1", "b": "2"}),
        ("class", "other", "v", {"a": "1", "b": "2"}),
        ("class", "workload", "w", {"a": "1", "b": "2"}),
        ("class", "workload", "v", {"a": "1", "b": "3"}),
        ("class", "workload", "v", {"a": "1", "c": "2"}),
        ("class", "workload", "v", {"a": "1"}),
        ("class", "workload", "v", {"a": "2", "b": "1"}),
    ]
    assert len({content_hash(*other) for other in others} | {same}) == len(others) + 1


def test_a_patch_keeps_the_other_volumes() -> None:
    """Only the entry of the volume changes, nothing else of the workload, and for the version that was read."""
    found = workload(f"a={HASH},b={HASH}")
    assert workloads.restart_patch(found, "b", "f" * 32, NOW) == {
        "metadata": {"resourceVersion": "7", "annotations": {RESTARTED_AT: "2026-09-21T14:13:20Z"}},
        "spec": {"template": {"metadata": {"annotations": {CONTENT: f"a={HASH},b={'f' * 32}"}}}},
    }


def written(found: dict[str, Any], volume: str) -> str:
    """The content that a restart for the volume writes."""
    patch = workloads.restart_patch(found, volume, HASH, NOW)
    return str(patch["spec"]["template"]["metadata"]["annotations"][CONTENT])


@pytest.mark.parametrize(
    "content", [None, "", "nonsense", "a", "a=1", f"A={HASH}", f"-a={HASH}", f"a={HASH}0", f"a={HASH.upper()}", "=,=,"]
)
def test_what_somebody_else_has_written(content: str | None) -> None:
    """It counts as nothing, and a restart replaces it."""
    assert workloads.restarted_for(workload(content)) == {}
    assert written(workload(content), "v") == f"v={HASH}"


def test_the_entries_are_bounded() -> None:
    """However many volumes the template has had, the annotation stays small, and has the newest."""
    found = workload(",".join(f"v{number}={HASH}" for number in range(500)))
    assert written(found, "new").count("=") == workloads.MAX_ENTRIES and f"new={HASH}" in written(found, "new")


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (None, float("inf")),
        ("", float("inf")),
        ("soon", float("inf")),
        ("2026-09-21T14:13:20Z", 0.0),
        ("2026-09-21T14:03:20Z", 600.0),
        ("2026-09-21T14:13:30Z", 0.0),
        ("2099-01-01T00:00:00Z", float("inf")),
    ],
)
def test_time_since_the_last_restart(time: str | None, seconds: float) -> None:
    """A time that is a little ahead is now, as clocks differ; one that is far ahead, or is none, prevents nothing."""
    assert workloads.seconds_since_restart(workload(time=time), NOW) == seconds


@pytest.mark.parametrize(
    ("kind", "spec", "words", "may_change"),
    [
        ("Deployment", {}, "", False),
        ("Deployment", {"paused": False}, "", False),
        ("Deployment", {"paused": True}, "kubectl rollout resume", True),
        ("Deployment", {"strategy": {"type": "Recreate"}}, "", False),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate"}}, "", False),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete", False),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete", False),
        ("DaemonSet", {}, "", False),
    ],
)
def test_a_template_that_would_replace_no_pods(kind: str, spec: dict[str, Any], words: str, may_change: bool) -> None:
    """The reason, and whether it may pass."""
    reason, changes = workloads.why_not(kind, workload(**spec))
    assert words in reason and bool(reason) is bool(words) and changes is may_change


def reference(version: str, kind: str, **fields: bool) -> dict[str, Any]:
    """An owner reference."""
    return {"apiVersion": version, "kind": kind, "name": "x", "uid": "1", **fields}


@pytest.mark.parametrize(
    ("references", "kind"),
    [
        ([], None),
        ([reference("apps/v1", "ReplicaSet")], None),
        ([reference("apps/v1", "ReplicaSet", controller=False)], None),
        ([reference("v1", "Node"), reference("apps/v1", "ReplicaSet", controller=True)], "ReplicaSet"),
        ([reference("apps/v1", "DaemonSet", controller=True)], "DaemonSet"),
        ([reference("batch/v1", "Job", controller=True)], ""),
        ([reference("apps.example.org/v1", "Deployment", controller=True)], ""),
        ([reference("example.org/v1", "StatefulSet", controller=True)], ""),
    ],
)
def test_controllers(references: list[dict[str, Any]], kind: str | None) -> None:
    """Only what is marked as the controller is one, and only those of Kubernetes' own group are known."""
    found = workloads.controller_of({"metadata": {"ownerReferences": references}})
    assert (None if found is None else found.kind) == kind
