"""What a forked role inherits, and how the ways to leave it become exit codes."""

import json
from pathlib import Path

from tests.runtime.supervisor.rig import THREE, supervisor_rig


def test_what_a_child_inherits(tmp_path: Path) -> None:
    """A role has its own name, default signal handlers, one thread and no descriptors but its three streams."""
    with supervisor_rig({"driver": "report_environment"}, tmp_path) as rig:
        rig.wait_logged('"comm"')
        found = json.loads(next(line for line in rig.lines if '"comm"' in line).removeprefix("[driver] "))
        assert found["comm"] == "driver" and found["handlers"] and found["threads"] == 1
        # 0, 1, 2, the copy of 0, the comm file and the listing itself
        assert len(found["fds"]) <= 6, found


def test_bug_in_a_role(tmp_path: Path) -> None:
    """An exception leaves a role → logged once with its stack but without its secrets; exit code 70 (EX_SOFTWARE)."""
    with supervisor_rig({**THREE, "driver": "bug"}, tmp_path) as rig:
        assert rig.exit_code() == 1
        assert rig.logged("[driver] E") and rig.logged("Unhandled exception in a role") and rig.logged("exit code 70")
        assert not rig.logged("[driver] [supervisor]")
        assert "hunter2" not in rig.output.read_text()


def test_roles_that_leave_by_sys_exit(tmp_path: Path) -> None:
    """``sys.exit(text)`` writes the text to stderr and is exit code 1, ``sys.exit()`` is 0; both roles are
    restarted."""
    with supervisor_rig({"driver": "exit_with_text", "probe": "exit_with_nothing"}, tmp_path) as rig:
        rig.wait_logged("[driver] no such thing", times=2)
        rig.wait_logged('role="driver" times=1 how="exit code 1"')
        rig.wait_logged('role="probe" deaths=1 how="exit code 0"')
