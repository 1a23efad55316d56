"""The forking supervisor with real processes."""

import json
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.runtime.supervisor.running import THREE, supervised
from tests.support.waiting import wait_for


def test_ordered_end(tmp_path: Path) -> None:
    """SIGTERM: the registrar, then the driver, then the probe, each only after the one before; exit code 0."""
    with supervised(THREE, tmp_path) as it:
        for name in THREE:
            it.wait_said(f"[{name}] {name} up")
        it.process.terminate()
        assert it.end() == 0
        stops = [line for line in it.lines if "stopping" in line]
        assert stops == ["[registrar] registrar stopping", "[driver] driver stopping", "[probe] probe stopping"]


@pytest.mark.parametrize("settled", [True, False])
def test_killed_role_is_forked_again_at_once(tmp_path: Path, settled: bool) -> None:
    """kill -9 of a role, long after its start or right after it: a new process is up; the others were not touched."""
    with supervised(THREE, tmp_path) as it:
        for name in THREE:
            it.wait_said(f"{name} up")
        if settled:
            started = time.monotonic()
            wait_for(lambda: time.monotonic() > started + 0.5, "the start to count as one")
        others = (it.pid_of("registrar"), it.pid_of("probe"))
        first = it.pid_of("driver")
        killed = time.monotonic()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: it.pid_of("driver") not in (0, first), "a new driver")
        print(f"forked again after {(time.monotonic() - killed) * 1000:.0f} ms")
        assert time.monotonic() - killed < 0.5
        assert (it.pid_of("registrar"), it.pid_of("probe")) == others
        it.process.terminate()
        assert it.end() == 0


def test_all_killed_again_and_again(tmp_path: Path) -> None:
    """Five rounds of kill -9 of all three, within the bound: all come back each time, and no descriptor is lost."""
    with supervised(THREE, tmp_path) as it:
        for name in THREE:
            it.wait_said(f"{name} up")
        descriptors = psutil.Process(it.process.pid).num_fds()
        for round_ in range(2, 5):
            for name in THREE:
                os.kill(it.pid_of(name), signal.SIGKILL)
            for name in THREE:
                it.wait_said(f"{name} up", times=round_)
        assert psutil.Process(it.process.pid).num_fds() == descriptors
        it.process.terminate()
        assert it.end() == 0


def test_a_role_that_cannot_start_ends_the_container(tmp_path: Path) -> None:
    """A role that always dies at once: growing pauses, then the others are stopped in order, exit code 1, and the
    reason is left."""
    note = tmp_path / "termination-log"
    note.touch()
    with supervised({**THREE, "driver": "die"}, tmp_path, termination_log=str(note)) as it:
        assert it.end() == 1
        assert it.said("driver up", times=5)
        assert [line for line in it.lines if "stopping" in line] == [
            "[registrar] registrar stopping",
            "[probe] probe stopping",
        ]
        assert note.read_text().startswith("driver could not be kept running (exit code 3)")


def test_a_role_that_dies_just_after_its_start_ends_the_container(tmp_path: Path) -> None:
    """The case that supervisord has no bound for: dead at startsecs + 0.1 s, again and again, also with exit code 0."""
    with supervised({**THREE, "driver": "die_late"}, tmp_path) as it:
        assert it.end(20) == 1
        assert it.said("driver died 6 times within 30 s")


def test_sigterm_during_back_off(tmp_path: Path) -> None:
    """A role in back-off when the end is asked for does not make the exit code lie."""
    with supervised({**THREE, "driver": "die"}, tmp_path) as it:
        it.wait_said("driver up", times=2)
        it.process.terminate()
        assert it.end() == 0


def test_second_signal_forces(tmp_path: Path) -> None:
    """A role that ignores SIGTERM is killed by the second signal, long before its own time is up."""
    with supervised({**THREE, "probe": "stubborn"}, tmp_path) as it:
        it.wait_said("probe up")
        it.process.terminate()
        it.wait_said("driver stopping")
        it.process.terminate()
        assert it.end() == 0


def test_stubborn_role_is_killed_in_time(tmp_path: Path) -> None:
    """Without a second signal it is killed after its stop_seconds."""
    with supervised({**THREE, "probe": "stubborn"}, tmp_path) as it:
        it.wait_said("probe up")
        started = time.monotonic()
        it.process.terminate()
        assert it.end() == 0
        assert 0.9 < time.monotonic() - started < 4


def test_sighup_is_ignored(tmp_path: Path) -> None:
    """SIGHUP, which means restart to supervisord, changes nothing."""
    with supervised(THREE, tmp_path) as it:
        it.wait_said("driver up")
        before = it.pid_of("driver")
        it.process.send_signal(signal.SIGHUP)
        os.kill(it.pid_of("probe"), signal.SIGKILL)
        it.wait_said("probe up", times=2)
        assert it.pid_of("driver") == before


def test_output_in_text(tmp_path: Path) -> None:
    """Each line has its role before it, the supervisor's own too; a half line is written when its role ends."""
    with supervised({"driver": "mumble"}, tmp_path) as it:
        it.wait_said("[driver] half")
        assert "[driver] whole" in it.lines
        it.wait_said("[supervisor] W")


def test_output_in_json(tmp_path: Path) -> None:
    """JSON lines of a role pass untouched; the supervisor's own are JSON with its name as the process."""
    with supervised({"driver": "mumble"}, tmp_path, as_json=True) as it:
        it.wait_said("A role ended")
        assert '{"json": true}' in it.lines
        own = [json.loads(line) for line in it.lines if line.startswith('{"level"')]
        assert {line["process"] for line in own} == {"supervisor"}


def test_what_a_child_inherits(tmp_path: Path) -> None:
    """Its own name, default signal handlers, and no descriptor but its three streams."""
    with supervised({"driver": "env"}, tmp_path) as it:
        it.wait_said('"comm"')
        told = json.loads(next(line for line in it.lines if '"comm"' in line).removeprefix("[driver] "))
        assert told["comm"] == "driver" and told["handlers"] and told["threads"] == 1
        # 0, 1, 2, the copy of 0, the comm file and the listing itself
        assert len(told["fds"]) <= 6, told


def test_bug_in_a_role(tmp_path: Path) -> None:
    """An exception that leaves a role is logged with its stack and without its secrets; the exit code says bug."""
    with supervised({**THREE, "driver": "bug"}, tmp_path) as it:
        assert it.end() == 1
        assert it.said("[driver] E") and it.said("A role ended with a bug") and it.said("exit code 70")
        assert not it.said("[driver] [supervisor]")
        assert "hunter2" not in it.output.read_text()


def test_the_roles_end_with_the_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor ends the roles."""
    with supervised(THREE, tmp_path) as it:
        for name in THREE:
            it.wait_said(f"{name} up")
        children = psutil.Process(it.process.pid).children()
        it.process.kill()
        it.process.wait()
        psutil.wait_procs(children, timeout=5)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_board(tmp_path: Path) -> None:
    """A role reads how often each was restarted, how its last life ended, and its present pid."""
    with supervised({**THREE, "probe": "role_table_reader"}, tmp_path) as it:
        for name in THREE:
            it.wait_said(f"{name} up")
        os.kill(it.pid_of("driver"), signal.SIGKILL)
        it.wait_said("driver up", times=2)
        os.kill(it.pid_of("probe"), signal.SIGUSR1)
        it.wait_said('"restarts"')
        states = {
            item["name"]: item
            for item in json.loads(re.sub(r"^\[probe\] ", "", next(line for line in it.lines if '"restarts"' in line)))
        }
        assert (states["driver"]["restarts"], states["driver"]["last_exit"]) == (1, -9)
        assert states["driver"]["pid"] == it.pid_of("driver")
        assert (states["registrar"]["restarts"], states["registrar"]["last_exit"]) == (0, None)


def test_orphans_are_reaped_by_pid_1(tmp_path: Path) -> None:
    """As PID 1 of a namespace the supervisor reaps a grandchild that lost its parent."""
    prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with supervised({"driver": "orphan"}, tmp_path, prefix=prefix, verbosity=2) as it:
        it.wait_said("driver up")
        it.wait_said("reaped unknown pid")
