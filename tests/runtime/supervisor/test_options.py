"""Where the supervisor can run: a read-only root, an unprivileged user, PID 1 of a container."""

from pathlib import Path

import psutil

from tests.runtime.supervisor.rig import supervisor_rig
from tests.support.waiting import wait_until


def test_read_only_root(tmp_path: Path) -> None:
    """No directory is writable, not even for the temporary files that supervisord insists on → it runs all the
    same."""
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
    prefix = ("unshare", "--mount", "sh", "-ec", script, "sh")
    with supervisor_rig({"driver": "report_environment"}, tmp_path, prefix=prefix) as rig:
        rig.wait_logged('"tempdir": "/"')
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_not_root(tmp_path: Path) -> None:
    """The supervisor runs as an unprivileged user → so do its roles, and it ends with exit code 0."""
    mapped = Path("/proc/self/uid_map").read_text().split()[2]
    # In a user namespace with few users there is only root, who has no privileges outside it.
    user = 65534 if int(mapped) > 65534 else 0
    with supervisor_rig({"driver": "report_user"}, tmp_path, user=user) as rig:
        rig.wait_logged(f"[driver] driver is user {user}")
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_orphans_are_reaped_by_pid_1(tmp_path: Path) -> None:
    """As PID 1 of a namespace the supervisor reaps a grandchild that lost its parent."""
    prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    with supervisor_rig({"driver": "leave_orphan"}, tmp_path, prefix=prefix, verbosity=2) as rig:
        rig.wait_logged("driver up")
        rig.wait_logged("reaped unknown pid")


def test_sigterm_at_the_moment_of_a_fork(tmp_path: Path) -> None:
    """SIGTERM comes while a child is not yet its role → the child ends at once, without waiting to be killed."""
    with supervisor_rig({"driver": "serve"}, tmp_path, slow_fork=True) as rig:
        wait_until(lambda: bool(psutil.Process(rig.process.pid).children()), "the fork")
        rig.process.terminate()
        assert rig.exit_code() == 0
        assert not rig.logged("SIGKILL") and not rig.logged("driver up")
