"""The guard that keeps a process from being forked while it has more than its one thread and plain descriptors."""

from pathlib import Path

import pytest

from tests.runtime.supervisor.rig import THREE, supervisor_rig


@pytest.mark.parametrize(("wrong", "found"), [("thread", "2 threads"), ("channel", "threads"), ("loop", "event loop")])
def test_what_must_not_be_forked(tmp_path: Path, wrong: str, found: str) -> None:
    """The supervisor has a second thread, a gRPC channel or an event loop → nothing is forked; the log and the
    termination message name the cause and the remedy."""
    note = tmp_path / "termination-log"
    note.touch()
    with supervisor_rig(THREE, tmp_path, wrong=[wrong], termination_log=str(note)) as rig:
        assert rig.exit_code() == 1
        assert not rig.logged("driver up")
        assert rig.logged("create gRPC channels, servers and event loops in the roles only")
        assert "cannot fork" in note.read_text() and found in note.read_text()
