"""What a volume's record says: the same after it was written and read, and nothing if it is malformed."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from driver.limits import MAX_RECORD_BYTES
from driver.objects.volume_details import VolumeDetails, decode
from driver.ports import ClassRef, Pod, RefreshFailure

FAILURE = RefreshFailure("GRPCProviderError", "no", 3, 2000.5)
DETAILS = VolumeDetails(
    Pod("ns", "pod", "uid"), ClassRef("ns", "app"), "secrets", "stub", {"a": "1"}, "f", FAILURE, "pod-ns-app", True
)


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**309])
def test_a_time_that_no_float_can_hold(number: int) -> None:
    """As if there were no record."""
    assert decode({**DETAILS.encode(), "failure": ["reason", "message", 1, number]}) is None


@pytest.mark.parametrize("fields", [{}, {"failure": None}, {"objects": {}, "status_name": "", "status_current": False}])
def test_round_trip(fields: dict[str, Any]) -> None:
    """Nothing is lost on the way through JSON."""
    details = replace(DETAILS, **fields)
    assert decode(json.loads(json.dumps(details.encode()))) == details


@pytest.mark.parametrize("objects", [{"a": "v" * 33_000}, {f"{n}": "ü" * 10 for n in range(1000)}])
def test_versions_that_are_too_large(objects: dict[str, str]) -> None:
    """They are left out, and the pod status does not count as current; the rest is there."""
    details = replace(DETAILS, objects=objects)
    assert decode(details.encode()) == replace(DETAILS, objects={}, status_current=False)
    assert len(json.dumps(details.encode())) < MAX_RECORD_BYTES


@pytest.mark.parametrize(
    "path", [*((key,) for key in DETAILS.encode()), ("pod", "uid"), ("class", "name"), ("status", "name")]
)
@pytest.mark.parametrize("value", [5, [], ["x"], True, {"x": 1}])
def test_malformed(path: tuple[str, ...], value: Any) -> None:
    """A field of another type, or missing: as if there were no record."""
    document = copy.deepcopy(DETAILS.encode())
    *parents, last = path
    holder: Any = document
    for key in parents:
        holder = holder[key]
    holder[last] = value
    assert decode(document) is None
    del holder[last]
    assert decode(document) is None
