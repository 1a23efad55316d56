"""The shared table from which roles learn about each other."""

import json
import os
import re
import signal
from pathlib import Path

import psutil

from runtime.supervisor.role_table import RoleTable
from tests.runtime.supervisor.rig import THREE, supervisor_rig
from tests.support.waiting import wait_until


def test_a_role_reads_the_table(tmp_path: Path) -> None:
    """The driver is killed and restarted → the probe reads its number of restarts, its last exit and its new pid."""
    with supervisor_rig({**THREE, "probe": "role_table_reader"}, tmp_path) as rig:
        rig.wait_up()
        os.kill(rig.pid_of("driver"), signal.SIGKILL)
        rig.wait_up(["driver"], times=2)
        os.kill(rig.pid_of("probe"), signal.SIGUSR1)
        rig.wait_logged('"restarts"')
        table = next(line for line in rig.lines if '"restarts"' in line)
        states = {item["name"]: item for item in json.loads(re.sub(r"^\[probe\] ", "", table))}
        assert (states["driver"]["restarts"], states["driver"]["last_exit"]) == (1, -9)
        assert states["driver"]["pid"] == rig.pid_of("driver")
        assert (states["registrar"]["restarts"], states["registrar"]["last_exit"]) == (0, None)


def test_memory(tmp_path: Path) -> None:
    """Roles and supervisor report their part of the memory, less than what is resident of each; a role that never
    reports, or that is down, has none."""
    roles = {"registrar": "work", "driver": "work", "probe": "role_table_reader"}
    with supervisor_rig(roles, tmp_path, policy={"hang_seconds": 1.5}) as rig:
        rig.wait_up()

        def memory() -> dict[str, int | None]:
            count = len(rig.lines)
            os.kill(rig.pid_of("probe"), signal.SIGUSR1)
            wait_until(lambda: any('"restarts"' in line for line in rig.lines[count:]), "the table")
            table = next(line for line in rig.lines[count:] if '"restarts"' in line)
            return {item["name"]: item["memory"] for item in json.loads(re.sub(r"^\[probe\] ", "", table))}

        wait_until(lambda: memory()["supervisor"], "the supervisor's own")
        found = memory()
        assert found["probe"] is None
        for name in ("registrar", "driver"):
            assert 0 < (found[name] or 0) < psutil.Process(rig.pid_of(name)).memory_info().rss
    table = RoleTable(["driver"])
    table.record_start("driver", 1, 0.0)
    table.report("driver", 5)
    table.report_own(7)
    assert (table.states()[0].memory, table.own_memory) == (5, 7) and table.last_report("driver")
    table.record_exit("driver", 0)
    assert (table.states()[0].memory, table.own_memory, table.last_report("driver")) == (None, 7, 0.0)
