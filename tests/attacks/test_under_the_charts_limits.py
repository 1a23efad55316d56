"""The whole container in a cgroup with the memory that the chart gives it: attacks on memory end nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.attacks.attacker import MANY
from tests.attacks.test_neighbours import Place, place_in, program
from tests.support.cgroups import MemoryCgroup, memory_cgroup
from tests.support.waiting import wait_until

pytestmark = pytest.mark.measured

ROOT = Path(__file__).resolve().parents[2]


def limit() -> int:
    """The container's limit of memory in bytes: the sum of the three that the chart adds up."""
    values = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())["linux"]
    texts = [values[part]["resources"]["limits"]["memory"] for part in ("driver", "registrar", "livenessProbe")]
    assert all(text.endswith("Mi") for text in texts)
    return sum(int(text.removesuffix("Mi")) for text in texts) << 20


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[Place, MemoryCgroup]]:
    """The container, in a cgroup since its start."""
    with memory_cgroup(limit()) as cgroup, place_in(tmp_path, cgroup) as place:
        yield place, cgroup


@pytest.mark.parametrize(
    ("attack", "rounds"), [("memory", MANY), ("connections", 5), ("large_replies", 40)], ids=lambda value: str(value)
)
def test_nothing_is_killed(limited: tuple[Place, MemoryCgroup], attack: str, rounds: int) -> None:
    """A hundred volumes of 4 MiB at once, connections whose replies nobody reads, or the largest replies without a
    pause → the same processes as before answer, and a well-behaved pod's volume goes and comes if there is room."""
    place, cgroup = limited
    before = {name: role.pid for name, role in place.container.roles().items()}
    ports = [str(place.container.port), str(place.container.metrics_port)]
    with program("tests.attacks.attacker", attack, str(place.container.directory), *ports) as attacker:
        assert attacker.stdout is not None
        assert [attacker.stdout.readline() for _ in range(rounds)] == ["round\n"] * rounds
        wait_until(lambda: place.container.fetch("/healthz") == (200, "ok"), "healthz")
    print(f"{attack}: at most {(cgroup.peak or 0) >> 20} MiB of {limit() >> 20} MiB")
    assert cgroup.kills == 0
    assert {name: role.pid for name, role in place.container.roles().items()} == before
