"""The forking supervisor with real processes."""

import json
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.runtime.supervisor.rig import THREE, supervisor_rig
from tests.support.waiting import wait_until


def test_ordered_end(tmp_path: Path) -> None:
    """SIGTERM: the registrar, then the driver, then the probe, each only after the one before; exit code 0."""
    with supervisor_rig(THREE, tmp_path) as rig:
        for name in THREE:
            rig.wait_logged(f"[{name}] {name} up")
        rig.process.terminate()
        assert rig.exit_code() == 0
        stops = [line for line in rig.lines if "stopping" in line]
        assert stops == ["[registrar] registrar stopping", "[driver] driver stopping", "[probe] probe stopping"]


@pytest.mark.parametrize("settled", [True, False])
def test_killed_role_is_forked_again_at_once(tmp_path: Path, settled: bool) -> None:
    """kill -9 of a role, long after its start or right after rig: a new process is up; the others were not touched."""
    with supervisor_rig(THREE, tmp_path) as rig:
        for name in THREE:
            rig.wait_logged(f"{name} up")
        if settled:
            started = time.monotonic()
            wait_until(lambda: time.monotonic() > started + 0.5, "the start to count as one")
        others = (rig.pid_of("registrar"), rig.pid_of("probe"))
        first = rig.pid_of("driver")
        killed = time.monotonic()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: rig.pid_of("driver") not in (0, first), "a new driver")
        print(f"forked again after {(time.monotonic() - killed) * 1000:.0f} ms")
        assert time.monotonic() - killed < 0.5
        assert (rig.pid_of("registrar"), rig.pid_of("probe")) == others
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_all_killed_again_and_again(tmp_path: Path) -> None:
    """Five rounds of kill -9 of all three, within the bound: all come back each time, and no descriptor is lost."""
    with supervisor_rig(THREE, tmp_path) as rig:
        for name in THREE:
            rig.wait_logged(f"{name} up")
        descriptors = psutil.Process(rig.process.pid).num_fds()
        for round_ in range(2, 5):
            for name in THREE:
                os.kill(rig.pid_of(name), signal.SIGKILL)
            for name in THREE:
                rig.wait_logged(f"{name} up", times=round_)
        assert psutil.Process(rig.process.pid).num_fds() == descriptors
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_a_role_that_cannot_start_ends_the_container(tmp_path: Path) -> None:
    """A role that always dies at once: growing pauses, then the others are stopped in order, exit code 1, and the
    reason is left."""
    note = tmp_path / "termination-log"
    note.touch()
    with supervisor_rig({**THREE, "driver": "die"}, tmp_path, termination_log=str(note)) as rig:
        assert rig.exit_code() == 1
        assert rig.logged("driver up", times=5)
        assert [line for line in rig.lines if "stopping" in line] == [
            "[registrar] registrar stopping",
            "[probe] probe stopping",
        ]
        assert note.read_text().startswith("driver could not be kept running (exit code 3)")


def test_a_role_that_dies_just_after_its_start_ends_the_container(tmp_path: Path) -> None:
    """The case that supervisord has no bound for: dead at startsecs + 0.1 s, again and again, also with exit code 0."""
    with supervisor_rig({**THREE, "driver": "die_late"}, tmp_path) as rig:
        assert rig.exit_code(20) == 1
        assert rig.logged("driver died 6 times within 30 s")


def test_sigterm_during_back_off(tmp_path: Path) -> None:
    """A role in back-off when the end is asked for does not make the exit code lie."""
    with supervisor_rig({**THREE, "driver": "die"}, tmp_path) as rig:
        rig.wait_logged("driver up", times=2)
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_second_signal_forces(tmp_path: Path) -> None:
    """A role that ignores SIGTERM is killed by the second signal, long before its own time is up."""
    with supervisor_rig({**THREE, "probe": "stubborn"}, tmp_path) as rig:
        rig.wait_logged("probe up")
        rig.process.terminate()
        rig.wait_logged("driver stopping")
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_stubborn_role_is_killed_in_time(tmp_path: Path) -> None:
    """Without a second signal it is killed after its stop_seconds."""
    with supervisor_rig({**THREE, "probe": "stubborn"}, tmp_path) as rig:
        rig.wait_logged("probe up")
        started = time.monotonic()
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert 0.9 < time.monotonic() - started < 4


def test_sighup_is_ignored(tmp_path: Path) -> None:
    """SIGHUP, which means restart to supervisord, changes nothing."""
    with supervisor_rig(THREE, tmp_path) as rig:
        rig.wait_logged("driver up")
        before = rig.pid_of("driver")
        rig.process.send_signal(signal.SIGHUP)
        os.kill(rig.pid_of("probe"), signal.SIGKILL)
        rig.wait_logged("probe up", times=2)
        assert rig.pid_of("driver") == before


def test_output_in_text(tmp_path: Path) -> None:
    """Each line has its role before it, the supervisor's own too; a half line is written when its role ends."""
    with supervisor_rig({"driver": "mumble"}, tmp_path) as rig:
        rig.wait_logged("[driver] half")
        assert "[driver] whole" in rig.lines
        rig.wait_logged("[supervisor] W")


def test_output_in_json(tmp_path: Path) -> None:
    """JSON lines of a role pass untouched; the supervisor's own are JSON with its name as the process."""
    with supervisor_rig({"driver": "mumble"}, tmp_path, as_json=True) as rig:
        rig.wait_logged("A role ended")
        assert '{"json": true}' in rig.lines
        own = [json.loads(line) for line in rig.lines if line.startswith('{"level"')]
        assert {line["process"] for line in own} == {"supervisor"}


def test_what_a_child_inherits(tmp_path: Path) -> None:
    """Its own name, default signal handlers, and no descriptor but its three streams."""
    with supervisor_rig({"driver": "env"}, tmp_path) as rig:
        rig.wait_logged('"comm"')
        told = json.loads(next(line for line in rig.lines if '"comm"' in line).removeprefix("[driver] "))
        assert told["comm"] == "driver" and told["handlers"] and told["threads"] == 1
        # 0, 1, 2, the copy of 0, the comm file and the listing itself
        assert len(told["fds"]) <= 6, told


def test_bug_in_a_role(tmp_path: Path) -> None:
    """An exception that leaves a role is logged with its stack and without its secrets; the exit code says bug."""
    with supervisor_rig({**THREE, "driver": "bug"}, tmp_path) as rig:
        assert rig.exit_code() == 1
        assert rig.logged("[driver] E") and rig.logged("A role ended with a bug") and rig.logged("exit code 70")
        assert not rig.logged("[driver] [supervisor]")
        assert "hunter2" not in rig.output.read_text()


def test_the_roles_end_with_the_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor ends the roles."""
    with supervisor_rig(THREE, tmp_path) as rig:
        for name in THREE:
            rig.wait_logged(f"{name} up")
        children = psutil.Process(rig.process.pid).children()
        rig.process.kill()
        rig.process.wait()
        psutil.wait_procs(children, timeout=5)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_board(tmp_path: Path) -> None:
    """A role reads how often each was restarted, how its last life ended, and its present pid."""
    with supervisor_rig({**THREE, "probe": "board_reader"}, tmp_path) as rig:
        for name in THREE:
            rig.wait_logged(f"{name} up")
        os.kill(rig.pid_of("driver"), signal.SIGKILL)
        rig.wait_logged("driver up", times=2)
        os.kill(rig.pid_of("probe"), signal.SIGUSR1)
        rig.wait_logged('"restarts"')
        states = {
            item["name"]: item
            for item in json.loads(re.sub(r"^\[probe\] ", "", next(line for line in rig.lines if '"restarts"' in line)))
        }
        assert (states["driver"]["restarts"], states["driver"]["last_exit"]) == (1, -9)
        assert states["driver"]["pid"] == rig.pid_of("driver")
        assert (states["registrar"]["restarts"], states["registrar"]["last_exit"]) == (0, None)


def test_orphans_are_reaped_by_pid_1(tmp_path: Path) -> None:
    """As PID 1 of a namespace the supervisor reaps a grandchild that lost its parent."""
    prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with supervisor_rig({"driver": "orphan"}, tmp_path, prefix=prefix, verbosity=2) as rig:
        rig.wait_logged("driver up")
        rig.wait_logged("reaped unknown pid")
