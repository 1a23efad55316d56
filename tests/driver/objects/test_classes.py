"""Classes, and what their authors may ask for."""

import time
import tracemalloc
from typing import Any

import pytest

from driver import limits
from driver.objects.classes import parse_class

MOST = limits.MAX_CLASS_ENTRIES
TINY = 483_000  # of such entries the API server takes, as "{}"


def document(**spec: Any) -> dict[str, Any]:
    """A class."""
    return {"metadata": {"namespace": "ns", "name": "app"}, "spec": {"provider": "stub", **spec}}


@pytest.mark.parametrize("count", [MOST + 1, TINY])
@pytest.mark.parametrize(
    "part", ["parameters", "secretObjects", "data", "dataFrom", "labels", "annotations", "files", "objects"]
)
def test_too_many_entries(part: str, count: int) -> None:
    """Scenario: a class of the size that the API server takes, full of the smallest entries. Expected: refused with
    a sentence, in little time and memory: 137 MiB and three seconds were possible, at each change of the class."""
    entries: Any = (
        {f"{number:x}": "" for number in range(count)}
        if part in ("parameters", "labels", "annotations")
        else [{}] * count
    )
    spec: dict[str, Any] = {part: entries}
    if part in ("data", "dataFrom", "labels", "annotations"):
        spec = {"secretObjects": [{part: entries}]}
    elif part == "objects":
        spec = {"files": [{part: entries}]}
    tracemalloc.start()
    try:
        began = time.process_time()
        with pytest.raises(ValueError, match=f"more than {MOST}: divide them among several classes"):
            parse_class(document(**spec))
        assert time.process_time() - began < 1.0
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_many_entries() -> None:
    """Scenario: as many Secrets of as many keys as are possible. Expected: all of them."""
    data = [{"objectName": f"object-{number}", "key": "key"} for number in range(63)]
    found = parse_class(document(secretObjects=[{"secretName": f"s{n}", "data": data} for n in range(256)]))
    assert sum(1 + len(item.data) for item in found.secret_objects) == MOST


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("secrets-store.csi.k8s.io/refresh", True),
        ("secrets-store.csi.k8s.io/rotation-poll-interval", True),
        ("kubectl.kubernetes.io/last-applied-configuration", False),
        ("secrets-store.csi.k8s.io.example.org/refresh", False),
        ("note", False),
    ],
)
def test_annotations_of_others(name: str, kept: bool) -> None:
    """Scenario: an annotation changes. Expected: the class is another one only if the annotation is the driver's."""
    changed = document()
    changed["metadata"]["annotations"] = {name: "1"}
    assert (parse_class(changed) != parse_class(document())) == kept
