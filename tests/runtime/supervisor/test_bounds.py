"""How often and how fast roles are started again, and how the whole ends when something else goes on as well."""

import json
import os
import signal
import statistics
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from runtime.supervisor.roles import RestartPolicy
from tests.runtime.supervisor.rig import THREE, supervisor_rig
from tests.support.waiting import wait_until


@pytest.mark.parametrize("lived", [1.05, 1.2, 2.0, 3.0])
def test_the_default_bound_can_be_reached(lived: float) -> None:
    """With the policy that ship, a role that always dies soon after it counts as up ends the container, within two
    minutes: pauses that grow must not keep the window from filling."""
    policy = RestartPolicy()
    now, deaths = 0.0, list[float]()
    while len(deaths) <= policy.restarts:
        now += lived
        deaths = [death for death in deaths if death >= now - policy.window_seconds] + [now]
        now += policy.remaining_delay(len(deaths), lived)
        assert now < 120, f"{len(deaths)} deaths in the window, {policy.restarts} allowed"
    print(f"living {lived} s: ends after {now:.0f} s")


def test_pauses() -> None:
    """None after the first death, doubling to a longest one; for a role that was up its life is taken off."""
    policy = replace(RestartPolicy(), first_pause=0.05, longest_pause=2.0)
    assert [policy.delay(deaths) for deaths in (1, 2, 3, 4, 50)] == [0.0, 0.05, 0.1, 0.2, 2.0]
    assert policy.remaining_delay(50, lived=10.0) == 0.0
    assert policy.remaining_delay(50, lived=0.5) == 1.5


def test_twenty_kills_in_a_row(tmp_path: Path) -> None:
    """kill -9 of the driver as soon as it is up, twenty times: a new one each time, at once; nobody else dies."""
    policy = {"start_seconds": 0.05, "restarts": 25, "longest_pause": 0.2}
    with supervisor_rig(THREE, tmp_path, policy=policy, verbosity=2) as rig:
        for name in THREE:
            rig.wait_logged(f"{name} entered RUNNING")
        others = (rig.pid_of("registrar"), rig.pid_of("probe"))
        took = []
        for round_ in range(2, 22):
            old = rig.pid_of("driver")
            lived = time.monotonic()
            wait_until(lambda: time.monotonic() > lived + 0.1, "a life")  # noqa: B023
            killed = time.monotonic()
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: rig.pid_of("driver") not in (0, old), "a new driver")  # noqa: B023
            took.append(time.monotonic() - killed)
            rig.wait_logged("driver entered RUNNING", times=round_)
        print(f"forked again after {statistics.median(took[:2]) * 1000:.0f} ms (first two), worst {max(took):.2f} s")
        assert max(took[:2]) < 1.0
        assert max(took) < 0.2 + 1.0
        assert (rig.pid_of("registrar"), rig.pid_of("probe")) == others
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_sigterm_while_one_waits_and_one_is_slow(tmp_path: Path) -> None:
    """The driver waits for its next start, the probe takes longer than that to stop: exit code 0, no new start, and no
    processor time burnt meanwhile."""
    policy = {"start_seconds": 0.1, "first_pause": 1.2, "longest_pause": 1.2}
    roles = {"driver": "die_once_up", "probe": "stubborn"}
    with supervisor_rig(roles, tmp_path, policy=policy, stop_seconds=3.0) as rig:
        rig.wait_logged("A role ended", times=2)
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert rig.logged("driver up", times=2) and not rig.logged("driver up", times=3)
        used = float(next(line for line in rig.lines if line.startswith("supervisor used")).split()[2])
        print(f"processor time: {used} s, most of it imports")
        assert used < 1.0


def test_first_sigterm_while_giving_up_does_not_force(tmp_path: Path) -> None:
    """The container ends by itself and kubelet's SIGTERM comes meanwhile: it is the first, the roles stop in peace."""
    with supervisor_rig({"driver": "die", "probe": "tidy"}, tmp_path) as rig:
        rig.wait_logged("probe stopping")
        rig.process.terminate()
        assert rig.exit_code() == 1
        assert rig.logged("probe tidy")


def test_sigterm_at_the_moment_of_a_fork(tmp_path: Path) -> None:
    """SIGTERM reaches a child that is not yet its role: it ends at once, and is not waited for and killed."""
    with supervisor_rig({"driver": "serve"}, tmp_path, slow_fork=True) as rig:
        wait_until(lambda: bool(psutil.Process(rig.process.pid).children()), "the fork")
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert not rig.logged("SIGKILL") and not rig.logged("driver up")


def test_end_with_a_role_that_had_ended_before(tmp_path: Path) -> None:
    """Roles that are stopped already cost no time when the others are stopped."""
    policy = {"start_seconds": 0.1, "first_pause": 8.0, "longest_pause": 8.0}
    with supervisor_rig({**THREE, "driver": "die_once_up"}, tmp_path, policy=policy) as rig:
        rig.wait_logged("A role ended", times=2)
        started = time.monotonic()
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert time.monotonic() - started < 0.8


def test_nothing_wakes_it_while_nothing_happens(tmp_path: Path) -> None:
    """No polls while all are up."""
    with supervisor_rig(THREE, tmp_path, verbosity=2) as rig:
        for name in THREE:
            rig.wait_logged(f"{name} entered RUNNING")
        supervisor = psutil.Process(rig.process.pid)
        wait_until(lambda: supervisor.status() == psutil.STATUS_SLEEPING, "rest")
        before, since = supervisor.num_ctx_switches().voluntary, time.monotonic()
        wait_until(lambda: time.monotonic() > since + 2.5, "a while")
        assert supervisor.num_ctx_switches().voluntary - before <= 1


@pytest.mark.parametrize(("wrong", "found"), [("thread", "2 threads"), ("channel", "threads"), ("loop", "event loop")])
def test_what_must_not_be_forked(tmp_path: Path, wrong: str, found: str) -> None:
    """A thread, a gRPC channel or an event loop in the supervisor: no fork, and the sentence that names the remedy in
    the log and in the termination message."""
    note = tmp_path / "termination-log"
    note.touch()
    with supervisor_rig(THREE, tmp_path, wrong=[wrong], termination_log=str(note)) as rig:
        assert rig.exit_code() == 1
        assert not rig.logged("driver up")
        assert rig.logged("create gRPC channels, servers and event loops in the roles only")
        assert "cannot fork" in note.read_text() and found in note.read_text()


def test_a_line_without_end(tmp_path: Path) -> None:
    """It is written in pieces, so that no role can fill the supervisor's memory."""
    with supervisor_rig({"driver": "flood"}, tmp_path) as rig:
        wait_until(lambda: rig.logged("[driver] " + "x" * 60_000, times=3), "three pieces")


def test_roles_that_leave_by_sys_exit(tmp_path: Path) -> None:
    """A text goes to stderr with exit code 1; nothing at all is exit code 0; both are restarted."""
    with supervisor_rig({"driver": "leave_with_text", "probe": "leave_with_nothing"}, tmp_path) as rig:
        rig.wait_logged("[driver] no such thing", times=2)
        rig.wait_logged('role="driver" times=1 how="exit code 1"')
        rig.wait_logged('role="probe" deaths=1 how="exit code 0"')


def test_bug_in_json(tmp_path: Path) -> None:
    """What a role's last breath says is a JSON line of that role, not of the supervisor."""
    with supervisor_rig({"driver": "bug"}, tmp_path, as_json=True) as rig:
        assert rig.exit_code() == 1
        told = [json.loads(line) for line in rig.lines if "ended with a bug" in line]
        assert {line["process"] for line in told} == {"driver"}


def test_read_only_root(tmp_path: Path) -> None:
    """Nowhere to write, not even for temporary files, which supervisord insists on."""
    script = """
        for directory in /tmp /var/tmp; do
            mount --bind "$directory" "$directory"
            mount -o remount,bind,ro,nosuid,nodev "$directory"
        done
        unset TMPDIR TEMP TMP
        export PYTHONPATH="$PWD"
        cd /proc
        exec "$@"
    """
    with supervisor_rig({"driver": "env"}, tmp_path, prefix=("unshare", "--mount", "sh", "-ec", script, "sh")) as rig:
        rig.wait_logged('"tempdir": "/"')
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_not_root(tmp_path: Path) -> None:
    """Without privileges everything is the same (inside a user namespace this process has none outside anyway)."""
    mapped = Path("/proc/self/uid_map").read_text().split()[2]
    user = 65534 if int(mapped) > 65534 else 0
    with supervisor_rig({"driver": "whoami"}, tmp_path, user=user) as rig:
        rig.wait_logged(f"[driver] driver is user {user}")
        rig.process.terminate()
        assert rig.exit_code() == 0
