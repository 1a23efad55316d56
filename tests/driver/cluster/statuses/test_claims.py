"""Which of the pod statuses with this node's label count as those of its volumes."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest

from driver.cluster.api import Api
from driver.cluster.statuses.claims import Claims
from driver.objects.pod_status import build_status, status_name
from driver.ports import ClassRef, Pod, VolumeRecord
from tests.driver.cluster.connecting import run
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import DRIVER, NODE


def confirmed(rig: FakeApiRig, targets: Sequence[str]) -> list[tuple[VolumeRecord, str]]:
    """The records for these target paths that count, with the names of their objects."""
    found = list[tuple[VolumeRecord, str]]()

    async def read(api: Api) -> None:
        found.extend(
            (record, item["metadata"]["name"]) for record, item in await Claims(api, NODE, DRIVER).confirmed(targets)
        )

    run(rig.kubeconfig(), read)
    return found


def claim(rig: FakeApiRig, record: VolumeRecord, name: str = "", node: str = NODE) -> None:
    """Somebody creates a pod status that says this."""
    rig.api.create(build_status(record, name or status_name(record), node))


def test_what_no_pod_confirms(rig: FakeApiRig, logged: io.StringIO) -> None:
    """Statuses of a pod that does not exist, of a class that the pod does not mount, and of a true volume → only the
    true one counts; one warning names the others."""
    true = rig.record(rig.make_pod())
    nobody = rig.record(Pod(rig.namespace, "nobody", "no-uid"))
    wrong_class = replace(rig.record(rig.make_pod("pod-2")), class_ref=ClassRef(rig.namespace, "other"))
    for record in (true, nobody, wrong_class):
        claim(rig, record)
    found = confirmed(rig, [record.target_path for record in (true, nobody, wrong_class)])
    assert found == [(true, status_name(true))]
    (warning,) = (line for line in logged.getvalue().splitlines() if "Ignoring pod statuses" in line)
    assert all(status_name(record) in warning for record in (nobody, wrong_class)) and status_name(true) not in warning


def test_what_is_not_asked_for(rig: FakeApiRig, logged: io.StringIO) -> None:
    """Another target path, another node's label, and an owner that is not the pod in the target path → they do not
    count, no pod is read for them, and no warning names them."""
    asked, other, elsewhere, stranger = (rig.record(rig.make_pod(f"pod-{number}")) for number in range(4))
    claim(rig, other)
    claim(rig, elsewhere, node="node-2")
    claim(rig, replace(stranger, target_path=asked.target_path))
    found = confirmed(rig, [asked.target_path, elsewhere.target_path])
    assert found == [] and rig.count()["get", "pods"] == 0 and "Ignoring" not in logged.getvalue()


@pytest.mark.parametrize("name", ["a-copy", "z-copy"])
def test_two_that_describe_one_volume(rig: FakeApiRig, name: str) -> None:
    """A copy of a status under another name, listed before or after it → the one with the volume's own name counts."""
    record = rig.record(rig.make_pod())
    claim(rig, record, name)
    claim(rig, record)
    assert confirmed(rig, [record.target_path]) == [(record, status_name(record))]
