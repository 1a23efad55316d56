"""The shared table from which roles learn about each other."""

import json
import os
import re
import signal
from pathlib import Path

from tests.runtime.supervisor.rig import THREE, supervisor_rig


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
