"""The poller that sleeps until something happens."""

import time
from pathlib import Path

import psutil

from tests.runtime.supervisor.rig import THREE, supervisor_rig
from tests.support.waiting import wait_until

OBSERVED_SECONDS = 2.5


def test_nothing_wakes_it_while_nothing_happens(tmp_path: Path) -> None:
    """All roles run and nothing happens → the supervisor is woken at most once in the seconds it is observed."""
    with supervisor_rig(THREE, tmp_path, verbosity=2) as rig:
        rig.wait_running()
        supervisor = psutil.Process(rig.process.pid)
        wait_until(lambda: supervisor.status() == psutil.STATUS_SLEEPING, "the supervisor to sleep")
        before = supervisor.num_ctx_switches().voluntary
        time.sleep(OBSERVED_SECONDS)  # what is measured is a rate
        assert supervisor.num_ctx_switches().voluntary - before <= 1
