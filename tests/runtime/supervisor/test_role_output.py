"""Reading a role's output, when reading fails."""

import errno
from pathlib import Path

import pytest

from tests.runtime.supervisor.rig import supervisor_rig


@pytest.mark.parametrize("error", [errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.EIO, 0])
def test_a_read_that_fails_once(tmp_path: Path, error: int) -> None:
    """One read of the driver's pipe fails (0: a MemoryError of Python's) → the next ones do not, and nothing that the
    driver has written is missing."""
    with supervisor_rig({"driver": "speak_twice"}, tmp_path, failing_reads=[[error, 1]]) as rig:
        rig.wait_logged("driver up")
        rig.wait_logged("[driver] and up still")
        rig.process.terminate()
        assert rig.exit_code() == 0


def test_reads_that_fail_for_ever(tmp_path: Path) -> None:
    """No read of the driver's pipe succeeds → after a while the driver is killed and starts again; meanwhile the
    supervisor does not spin, and stops when told to."""
    with supervisor_rig(
        {"driver": "speak_twice"}, tmp_path, failing_reads=[[errno.EIO, 1_000_000]], read_failure_seconds=0.5
    ) as rig:
        rig.wait_logged("A role's output cannot be read; trying again")
        first = rig.pid_of("driver")
        rig.wait_logged('"Ending a role whose output cannot be read, so that it is restarted" role="driver"')
        rig.wait_new_pid("driver", first)
        rig.process.terminate()
        assert rig.exit_code() == 0
