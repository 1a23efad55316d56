"""The supervisor keeps its roles running, and gives up on one that cannot be kept running."""

import os
import signal
import statistics
import time
from pathlib import Path

import psutil
import pytest

from tests.runtime.supervisor.rig import THREE, supervisor_rig

# In seconds, on a machine that may be busy.
AT_ONCE = 5.0


@pytest.mark.parametrize("settled", [True, False])
def test_killed_role_is_forked_again_at_once(tmp_path: Path, settled: bool) -> None:
    """kill -9 of a role, long after its start or right after it → a new process at once; the others are untouched."""
    # Nothing but the signal of the death would wake the supervisor: for a minute, or until the start is a success.
    policy = {} if settled else {"start_seconds": 60.0}
    with supervisor_rig(THREE, tmp_path, policy=policy, verbosity=2) as rig:
        rig.wait_up()
        if settled:
            rig.wait_running()
        others = (rig.pid_of("registrar"), rig.pid_of("probe"))
        first = rig.pid_of("driver")
        killed = time.monotonic()
        os.kill(first, signal.SIGKILL)
        rig.wait_new_pid("driver", first)
        took = time.monotonic() - killed
        print(f"forked again after {took * 1000:.0f} ms")
        assert took < AT_ONCE
        assert (rig.pid_of("registrar"), rig.pid_of("probe")) == others
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_all_killed_again_and_again(tmp_path: Path) -> None:
    """kill -9 of all three, three times, which the policy allows → all come back each time; no descriptor leaks."""
    with supervisor_rig(THREE, tmp_path) as rig:
        rig.wait_up()
        descriptors = psutil.Process(rig.process.pid).num_fds()
        for round_ in range(2, 5):
            for name in THREE:
                os.kill(rig.pid_of(name), signal.SIGKILL)
            rig.wait_up(times=round_)
        assert psutil.Process(rig.process.pid).num_fds() == descriptors
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_twenty_kills_in_a_row(tmp_path: Path) -> None:
    """kill -9 of the driver as soon as it runs, twenty times → a new process at once each time; the others live on."""
    policy = {"start_seconds": 0.05, "max_restarts": 25, "max_delay": 0.2}
    with supervisor_rig(THREE, tmp_path, policy=policy, verbosity=2) as rig:
        rig.wait_running()
        others = (rig.pid_of("registrar"), rig.pid_of("probe"))
        took = []
        for round_ in range(2, 22):
            old = rig.pid_of("driver")
            killed = time.monotonic()
            os.kill(old, signal.SIGKILL)
            rig.wait_new_pid("driver", old)
            took.append(time.monotonic() - killed)
            rig.wait_running(["driver"], times=round_)
        print(f"forked again after {statistics.median(took[:2]) * 1000:.0f} ms (first two), worst {max(took):.2f} s")
        assert max(took[:2]) < AT_ONCE
        assert max(took) < 0.2 + AT_ONCE
        assert (rig.pid_of("registrar"), rig.pid_of("probe")) == others
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_a_role_that_cannot_start_ends_the_container(tmp_path: Path) -> None:
    """A role dies at once whenever it starts → after growing delays the others are stopped in order, exit code 1, and
    the termination message has the reason."""
    note = tmp_path / "termination-log"
    note.touch()
    with supervisor_rig({**THREE, "driver": "die"}, tmp_path, termination_log=str(note)) as rig:
        assert rig.exit_code() == 1
        assert rig.logged("driver up", times=5)
        assert [line for line in rig.lines if "stopping" in line] == [
            "[registrar] registrar stopping",
            "[probe] probe stopping",
        ]
        # On a busy machine supervisord takes a start for a success before the role has died.
        assert note.read_text().startswith(
            ("driver could not be kept running (exit code 3)", "driver died 6 times within 30 s")
        )


def test_a_role_that_dies_just_after_its_start_ends_the_container(tmp_path: Path) -> None:
    """A role dies again and again 0.1 s after supervisord takes its start for a success, for which supervisord has no
    limit → the container ends with exit code 1, although the role's own exit code is 0."""
    with supervisor_rig({**THREE, "driver": "die_late"}, tmp_path) as rig:
        assert rig.exit_code(30) == 1
        assert rig.logged("driver died 6 times within 30 s")


def test_sighup_is_ignored(tmp_path: Path) -> None:
    """SIGHUP, which makes supervisord restart its programs, has no effect: the driver's process stays the same."""
    with supervisor_rig(THREE, tmp_path) as rig:
        rig.wait_up()
        before = rig.pid_of("driver")
        rig.process.send_signal(signal.SIGHUP)
        os.kill(rig.pid_of("probe"), signal.SIGKILL)
        rig.wait_up(["probe"], times=2)
        assert rig.pid_of("driver") == before


def test_the_roles_end_with_the_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor → the roles end."""
    with supervisor_rig(THREE, tmp_path) as rig:
        rig.wait_up()
        children = psutil.Process(rig.process.pid).children()
        rig.process.kill()
        rig.process.wait()
        psutil.wait_procs(children, timeout=5)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
