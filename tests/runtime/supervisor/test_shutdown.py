"""How the supervisor ends: the order of the roles, the exit code, and what may happen meanwhile."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.runtime.supervisor.rig import THREE, supervisor_rig


def test_stop_order(tmp_path: Path) -> None:
    """SIGTERM → registrar, driver and probe stop in this order, each after the one before; exit code 0."""
    with supervisor_rig(THREE, tmp_path) as rig:
        rig.wait_up()
        rig.process.terminate()
        assert rig.exit_code() == 0
        stops = [line for line in rig.lines if "stopping" in line]
        assert stops == ["[registrar] registrar stopping", "[driver] driver stopping", "[probe] probe stopping"]


@pytest.mark.parametrize("first", THREE)
def test_sigterm_while_roles_are_starting(tmp_path: Path, first: str) -> None:
    """SIGTERM as soon as one role is up and the others may not be → each role that came up stops in order, none is
    started any more, exit code 0."""
    with supervisor_rig(THREE, tmp_path) as rig:
        rig.wait_up([first])
        rig.process.terminate()
        assert rig.exit_code() == 0
        stopped = [line.split()[1] for line in rig.lines if line.endswith(" stopping")]
        assert stopped == [name for name in ("registrar", "driver", "probe") if name in stopped]
        assert {name for name in THREE if rig.logged(f"[{name}] {name} up")} <= set(stopped)
        assert not rig.logged("A role exited") and not rig.logged("SIGKILL")


def test_second_signal_forces(tmp_path: Path) -> None:
    """A role ignores SIGTERM → a second signal kills it, long before its own time to stop is over."""
    with supervisor_rig({**THREE, "probe": "ignore_sigterm"}, tmp_path, stop_seconds=60.0) as rig:
        rig.wait_up()
        rig.process.terminate()
        rig.wait_logged("driver stopping")
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_stubborn_role_is_killed_in_time(tmp_path: Path) -> None:
    """A role ignores SIGTERM and no second signal comes → it is killed after its ``stop_seconds``, here one."""
    with supervisor_rig({**THREE, "probe": "ignore_sigterm"}, tmp_path) as rig:
        rig.wait_up()
        started = time.monotonic()
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert 0.9 < time.monotonic() - started < 15.0


@pytest.mark.parametrize("frozen", [("driver",), ("probe",), tuple(THREE)])
def test_frozen_roles_take_no_longer(tmp_path: Path, frozen: tuple[str, ...]) -> None:
    """Roles are stopped (SIGSTOP) when SIGTERM comes → they go on and end in order like any other, long before their
    time to stop is over."""
    with supervisor_rig(THREE, tmp_path, stop_seconds=60.0) as rig:
        rig.wait_up()
        for role in frozen:
            os.kill(rig.pid_of(role), signal.SIGSTOP)
        rig.process.terminate()
        assert rig.exit_code() == 0
        stops = [line for line in rig.lines if "stopping" in line]
        assert stops == ["[registrar] registrar stopping", "[driver] driver stopping", "[probe] probe stopping"]


def test_sigterm_during_back_off(tmp_path: Path) -> None:
    """SIGTERM while a role waits for its next start → exit code 0: that role's failures do not count any more."""
    with supervisor_rig({**THREE, "driver": "die"}, tmp_path) as rig:
        rig.wait_logged("driver up", times=2)
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_sigterm_while_one_role_waits_and_one_is_slow(tmp_path: Path) -> None:
    """SIGTERM while the driver waits for its next start and the probe takes longer than that wait to stop → exit code
    0, no further start, and no CPU time wasted meanwhile."""
    policy = {"start_seconds": 0.1, "first_delay": 1.2, "max_delay": 1.2}
    roles = {"driver": "die_once_up", "probe": "ignore_sigterm"}
    with supervisor_rig(roles, tmp_path, policy=policy, stop_seconds=3.0, report_usage=True) as rig:
        rig.wait_up(["probe"])
        rig.wait_logged("A role exited", times=2)
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert rig.logged("driver up", times=2) and not rig.logged("driver up", times=3)
        used = float(next(line for line in rig.lines if line.startswith("supervisor used")).split()[2])
        print(f"CPU time: {used} s, most of it imports")
        assert used < 1.0


def test_first_sigterm_while_giving_up_does_not_force(tmp_path: Path) -> None:
    """The container is ending by itself when kubelet's SIGTERM comes → it counts as the first signal, and a role that
    takes its time to stop is not killed."""
    with supervisor_rig({"driver": "die", "probe": "stop_slowly"}, tmp_path) as rig:
        rig.wait_logged("probe stopping")
        rig.process.terminate()
        assert rig.exit_code() == 1
        assert rig.logged("probe stopped")


def test_a_role_that_had_ended_costs_no_time(tmp_path: Path) -> None:
    """SIGTERM while the driver is stopped already and waits a minute for its next start → the others stop without
    delay."""
    policy = {"start_seconds": 0.1, "first_delay": 60.0, "max_delay": 60.0}
    with supervisor_rig({**THREE, "driver": "die_once_up"}, tmp_path, policy=policy) as rig:
        rig.wait_logged("A role exited", times=2)
        started = time.monotonic()
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert time.monotonic() - started < 15.0  # it would be a minute if they waited for the driver
