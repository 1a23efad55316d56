"""A role that hangs is restarted, one that is only slow or suspended with everything else is not."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from supervisor.states import ProcessStates

from runtime.supervisor import watchdog
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy
from tests.runtime.supervisor.rig import SupervisorRig, supervisor_rig

WORKING = {"driver": "work", "registrar": "work", "probe": "work"}
POLICY = {"hang_seconds": 1.5}


def stop_it(rig: SupervisorRig, pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def block_it(rig: SupervisorRig, pid: int) -> None:
    os.kill(pid, signal.SIGUSR1)


@pytest.mark.parametrize("how", [stop_it, block_it])
@pytest.mark.parametrize("role", ["registrar", "driver", "probe"])
def test_a_role_that_hangs(tmp_path: Path, role: str, how: Callable[[SupervisorRig, int], None]) -> None:
    """A role is stopped, or blocks in its event loop → it is killed and runs again soon; the others are left alone, and
    the container still ends in order."""
    with supervisor_rig(WORKING, tmp_path, policy=POLICY) as rig:
        rig.wait_up()
        before = {name: rig.pid_of(name) for name in WORKING}
        started = time.monotonic()
        how(rig, before[role])
        rig.wait_new_pid(role, before[role])
        print(f"restarted after {time.monotonic() - started:.1f} s")
        rig.wait_up([role], times=2)
        assert rig.logged("A role hangs: killing it, so that it is restarted") and rig.logged("killed by SIGKILL")
        assert {name: rig.pid_of(name) for name in WORKING if name != role} == {
            name: pid for name, pid in before.items() if name != role
        }
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_everything_is_suspended(tmp_path: Path) -> None:
    """The supervisor and all roles are stopped for longer than a role may hang, as when a container is frozen → nothing
    is killed when they go on."""
    with supervisor_rig(WORKING, tmp_path, policy=POLICY) as rig:
        rig.wait_up()
        pids = [rig.process.pid, *(rig.pid_of(name) for name in WORKING)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4.0)  # the time that passes is what is tested
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.0)
        assert [rig.process.pid, *(rig.pid_of(name) for name in WORKING)] == pids
        assert not rig.logged("A role hangs")


def test_roles_that_do_not_report_are_not_watched(tmp_path: Path) -> None:
    """Roles without an event loop live as long as they like, and the supervisor does not wake up for them."""
    with supervisor_rig({"driver": "serve"}, tmp_path, policy={"hang_seconds": 0.2}, verbosity=2) as rig:
        rig.wait_running(["driver"])
        pid = rig.pid_of("driver")
        supervisor = psutil.Process(rig.process.pid)
        before = supervisor.num_ctx_switches().voluntary
        time.sleep(1.5)  # what is measured is a rate
        assert supervisor.num_ctx_switches().voluntary - before <= 2
        assert rig.pid_of("driver") == pid


@dataclass
class FakeConfig:
    name: str = "driver"


class FakeProcess:
    """A role as supervisord sees it; counts how often it was killed."""

    def __init__(self) -> None:
        self.config = FakeConfig()
        self.pid, self.state, self.ending, self.kills = 1, ProcessStates.RUNNING, False, 0

    def end_now(self) -> None:
        self.ending = True
        self.kills += 1


class Clock:
    """A monotonic clock that is set by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "time", clock)
    monkeypatch.setattr("runtime.supervisor.role_table.time", clock)
    return clock


def make(process: FakeProcess) -> tuple[watchdog.Watchdog, RoleTable, list[str]]:
    table = RoleTable(["driver"])
    failures: list[str] = []
    policy = RestartPolicy(hang_seconds=60.0, max_hangs=2)
    return watchdog.Watchdog(table, policy, lambda: [process], failures.append), table, failures


def test_a_hanging_role_is_killed_once(clock: Clock) -> None:
    """A killed role that does not go, as in uninterruptible sleep → it is not killed over and over."""
    process = FakeProcess()
    dog, table, _ = make(process)
    table.report("driver")
    for _ in range(20):
        clock.now += 15.0
        dog.check()
    assert process.kills == 1


def test_a_role_that_hangs_again_and_again(clock: Clock) -> None:
    """After ``max_hangs`` the container ends, so that kubelet sees it."""
    process = FakeProcess()
    dog, table, failures = make(process)
    for _ in range(3):
        assert failures == []
        process.ending = False
        table.report("driver")
        for _ in range(6):
            clock.now += 15.0
            dog.check()
    assert process.kills == 3
    assert failures == ["driver has hung 3 times; see its log lines"]


def test_a_supervisor_that_did_not_run(clock: Clock) -> None:
    """The clock has jumped since the last check → the role has the whole time again, and not more than that."""
    process = FakeProcess()
    dog, table, _ = make(process)
    table.report("driver")
    clock.now += 3600.0
    dog.check()
    assert process.kills == 0
    for _ in range(5):
        clock.now += 15.0
        dog.check()
    assert process.kills == 1


def test_a_role_that_reports(clock: Clock) -> None:
    """A role that reports every ten seconds is never killed, and the supervisor sleeps fifteen at a time."""
    process = FakeProcess()
    dog, table, _ = make(process)
    assert dog.seconds_until_check() == float("inf")
    table.report("driver")
    assert dog.seconds_until_check() == 15.0
    for _ in range(100):
        clock.now += 10.0
        table.report("driver")
        dog.check()
    assert process.kills == 0
