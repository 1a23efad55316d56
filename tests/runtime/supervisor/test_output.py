"""The roles' output, passed through by the supervisor line by line."""

import json
from pathlib import Path

from tests.runtime.supervisor.rig import supervisor_rig
from tests.support.waiting import wait_until


def test_output_in_text(tmp_path: Path) -> None:
    """Each line is prefixed with its role, the supervisor's own lines too; an unfinished line is written when its role
    ends."""
    with supervisor_rig({"driver": "write_half_a_line"}, tmp_path) as rig:
        rig.wait_logged("[driver] half")
        assert "[driver] whole" in rig.lines
        rig.wait_logged("[supervisor] W")


def test_output_in_json(tmp_path: Path) -> None:
    """What a role prints past its log becomes JSON, also what is JSON already, and the supervisor's own lines are JSON
    with ``supervisor`` as the process."""
    with supervisor_rig({"driver": "write_half_a_line"}, tmp_path, as_json=True) as rig:
        rig.wait_logged("A role exited")
        parsed = [json.loads(line) for line in rig.lines]
        assert {line["process"] for line in parsed} == {"driver", "supervisor"}
        printed = {line["message"] for line in parsed if line["process"] == "driver"}
        assert printed == {"whole", "half", '{"json": true}'}


def test_endless_line(tmp_path: Path) -> None:
    """A role writes 200,000 bytes without a newline → they are passed on in pieces, each of them cut, so that no role
    can fill the supervisor's memory."""
    with supervisor_rig({"driver": "write_endless_line"}, tmp_path) as rig:
        wait_until(lambda: rig.lines.count("[driver] " + "x" * 8192 + "…") == 3, "three pieces")


def test_bug_in_json(tmp_path: Path) -> None:
    """A role ends with a bug while logs are JSON → the log line is JSON and names the role, not the supervisor."""
    with supervisor_rig({"driver": "bug"}, tmp_path, as_json=True) as rig:
        assert rig.exit_code() == 1
        logged = [json.loads(line) for line in rig.lines if "Unhandled exception in a role" in line]
        assert {line["process"] for line in logged} == {"driver"}
