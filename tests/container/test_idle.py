"""What the container does, and takes, while nothing happens."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import usage
from bench.processes import PYTHON, Child
from tests.container.test_whole import Container
from tests.support.waiting import wait_until

OBSERVED_SECONDS = 3.0
# Some three times what was measured, 0.2 to 0.6 a second: a loop that polls more often is a mistake. One process with
# gRPC's core has 7 to 11.
MOST_A_SECOND = 2.0
# Of what an empty process with grpc.aio takes: 27 MB beside others that share its libraries, alone 38. Measured beside
# them: registrar 0.49, probe 0.52, driver (without an API server) 0.64; with gRPC's core it was 1 and more.
MOST_MEMORY = {"registrar": 0.65, "probe": 0.65, "driver": 0.85}


def test_all_threads_sleep(container: Container) -> None:
    """No kubelet, no volumes, no calls → soon after the start all threads of each role are hardly ever woken."""
    rates: dict[str, float] = {}

    def asleep() -> bool:
        before = _wakeups(container)
        time.sleep(OBSERVED_SECONDS)  # what is measured is a rate
        after = _wakeups(container)
        assert set(before) == set(after) == {"driver", "registrar", "probe"}
        rates.update({role: (after[role] - before[role]) / OBSERVED_SECONDS for role in before})
        return all(rate <= MOST_A_SECOND for rate in rates.values())

    wait_until(asleep, lambda: f"the threads to sleep; woken a second: {rates}", 30)


def _wakeups(container: Container) -> dict[str, int]:
    return {role: usage.wakeups(process.pid) for role, process in container.roles().items()}


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Child]:
    """A process with an empty server of grpc.aio."""
    socket = tmp_path / "empty.sock"
    child = Child([PYTHON, "-m", "bench.empty_servers", "grpc", str(socket)], tmp_path / "empty.log")
    try:
        wait_until(socket.exists, "the socket of the empty server", 30)
        yield child
    finally:
        child.stop()


@pytest.mark.measured
def test_memory(container: Container, empty_server: Child) -> None:
    """Each role takes less memory than a process that only has an empty server of gRPC's own, on the same machine."""
    whole = usage.pss(empty_server.pid)

    def shares() -> dict[str, float]:
        return {role: usage.pss(process.pid) / whole for role, process in container.roles().items()}

    wait_until(lambda: container.fetch("/healthz")[0] == 200, "the container", 30)
    found = shares()
    print({role: round(share, 2) for role, share in found.items()}, f"of {whole:.1f} MB, Python {sys.version_info[:2]}")
    assert all(found[role] <= most for role, most in MOST_MEMORY.items()), found
