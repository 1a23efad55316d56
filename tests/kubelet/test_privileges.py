"""What the processes of the driver's pod are allowed on a real node, as its kernel sees them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.container.test_privileges import DRIVER_CAPABILITIES, status_of
from tests.kubelet.rig import KubeletRig
from tests.kubelet.test_resilience import first_processes

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SUPERVISOR = "supervisor"
# Gives up every capability, so that only what the other process allows decides.
READ_MEMORY = """
import sys
from runtime.privileges.restrict import Privileges, restrict
assert restrict(Privileges(frozenset(), filtered=False)) == []
try:
    open(f"/proc/{sys.argv[1]}/mem", "rb").close()
except PermissionError:
    sys.exit(13)
"""
SLEEP = """
import os
from runtime.privileges.restrict import Privileges, restrict
assert restrict(Privileges(frozenset(), filtered=False)) == []
print("restricted", flush=True)
os.execvp("sleep", ["sleep", "60"])
"""


@pytest.fixture
def processes(rig: KubeletRig) -> Mapping[str, int]:
    """The process IDs on the node of the driver's pod: the supervisor and the three roles."""
    rig.node.until(lambda: rig.driver_ready(not_uid=""), "the driver to be ready")
    (supervisor,) = first_processes("/app/bin/secrets-store-csi")
    return {SUPERVISOR: supervisor.pid, **{each.name(): each.pid for each in psutil.Process(supervisor.pid).children()}}


@contextmanager
def unprivileged_sleep() -> Iterator[int]:
    """A process of root's without capabilities that allows to be traced."""
    with subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "restricted\n"
            psutil.Process(process.pid).children()  # it exists
            yield process.pid
        finally:
            process.kill()


def can_read_memory(pid: int) -> bool:
    """Whether a process of the same user, without capabilities, may open the memory of this one."""
    code = subprocess.run([sys.executable, "-c", READ_MEMORY, str(pid)], check=False, timeout=30).returncode
    assert code in (0, 13)
    return code == 0


@pytest.mark.parametrize(
    ("role", "capabilities", "filtered"),
    [("driver", DRIVER_CAPABILITIES, "0"), ("registrar", 0, "2"), ("probe", 0, "2")],
)
def test_a_role_has_what_it_needs(processes: Mapping[str, int], role: str, capabilities: int, filtered: str) -> None:
    """The chart's privileged pod on a node → each role has exactly its capabilities, in the effective, permitted and
    bounding set and none to pass on, no new privileges, its filter, and leaves no core dumps."""
    found = status_of(processes[role])
    sets = {name: int(found[name], 16) for name in SETS}
    print(f"{role}: {sets} NoNewPrivs={found['NoNewPrivs']} Seccomp={found['Seccomp']}")
    assert sets == {
        "CapInh": 0,
        "CapPrm": capabilities,
        "CapEff": capabilities,
        "CapBnd": capabilities,
        "CapAmb": 0,
    }
    assert found["NoNewPrivs"] == "1" and found["Seccomp"] == filtered
    assert "Max core file size        0 " in Path(f"/proc/{processes[role]}/limits").read_text()


def test_the_supervisor(processes: Mapping[str, int]) -> None:
    """The supervisor → it has all capabilities, which the driver would lack otherwise, and none is passed on by the
    files that it executes."""
    found = status_of(processes[SUPERVISOR])
    print(f"supervisor: { {name: found[name] for name in (*SETS, 'NoNewPrivs', 'Seccomp')} }")
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == int(found["CapBnd"], 16)
    assert int(found["CapEff"], 16) & DRIVER_CAPABILITIES == DRIVER_CAPABILITIES
    assert int(found["CapAmb"], 16) == 0 and found["NoNewPrivs"] == "1"


def test_memory_is_closed(processes: Mapping[str, int]) -> None:
    """A process of root's without capabilities, as a role that was taken over would be → it may open the memory of none
    of them, though it may open that of a process that is like the probe but for being traceable."""
    with unprivileged_sleep() as control:
        assert can_read_memory(control)
    assert {name: can_read_memory(pid) for name, pid in processes.items()} == dict.fromkeys(processes, False)
